"""The same behaviours on a real containerd, where only a real runtime can tell."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.objects import Json
from tests.edge_pods.device import OBEYS, SHARED, WAITS, Device, a_device, a_script, a_sharer
from tests.parts.containerd import Containerd
from tests.parts.looking import looked_up
from tests.parts.patience import PATIENCE


@pytest.fixture
async def device(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Device]:
    async with a_device(containerd, tmp_path) as one:
        yield one


def a_probe(**fields: object) -> Json:
    return {"periodSeconds": 1, "failureThreshold": 1, **fields}


async def test_a_pod_runs_is_deleted_and_leaves_nothing(device: Device) -> None:
    uid = device.apply(a_script("trap 'exit 7' TERM; echo hello; sleep 3600 & wait"))
    await device.until(lambda: device.runs(uid))
    assert device.status(uid)["phase"] == "Running"
    assert device.status(uid)["podIP"]
    # The sandbox, which says that there is no cluster DNS, and the image are made at once.
    of_container = [one for one in device.reasons(uid) if one != "MissingClusterDNS"]
    assert of_container[-3:] == ["Pulled", "Created", "Started"]
    await device.until(lambda: device.log(uid) == "hello")
    pod = device.desired.wanted[uid].pod
    device.delete(uid, grace=10)
    await device.until(lambda: device.finished(uid))
    assert device.ended(uid)["exitCode"] == 7
    device.drop(uid)
    await device.until(lambda: uid not in device.facts.records)
    assert await device.sandboxes() == []
    assert not device.paths.pod(uid).exists()
    assert not device.paths.log_directory(pod).exists()


async def test_a_container_that_crashes_is_restarted(device: Device) -> None:
    uid = device.apply(a_script("sleep 0.3; exit 3"))
    await device.until(lambda: device.container(uid).get("restartCount") == 1)
    await device.until(
        lambda: (
            device.container(uid)["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff"
        )
    )
    assert device.container(uid)["lastState"]["terminated"]["exitCode"] == 3
    assert "BackOff" in device.reasons(uid)


async def test_init_containers_finish_one_after_the_other(device: Device) -> None:
    inits = [a_script("echo one", "one"), a_script("echo two", "two")]
    uid = device.apply(a_script(OBEYS), initContainers=inits)
    await device.until(lambda: device.runs(uid))
    first, second = device.ended(uid, "one"), device.ended(uid, "two")
    assert first["reason"] == second["reason"] == "Completed"
    assert first["finishedAt"] <= second["startedAt"]


async def test_a_container_says_why_it_ended(device: Device) -> None:
    script = "echo out of luck > /dev/termination-log; exit 4"
    uid = device.apply(a_script(script), restartPolicy="Never")
    await device.until(lambda: device.status(uid).get("phase") == "Failed")
    assert device.ended(uid)["message"] == "out of luck\n"


async def test_the_end_of_the_log_serves_when_a_container_said_nothing(device: Device) -> None:
    container = a_script("echo broken; exit 4", terminationMessagePolicy="FallbackToLogsOnError")
    uid = device.apply(container, restartPolicy="Never")
    await device.until(lambda: device.status(uid).get("phase") == "Failed")
    assert device.ended(uid)["message"] == "broken\n"


async def test_a_command_that_is_not_there_is_told(device: Device) -> None:
    container = {**a_script(""), "command": ["/no/such/program"]}
    uid = device.apply(container, restartPolicy="Never")
    await device.until(lambda: device.status(uid).get("phase") == "Failed")
    assert "no such file" in str(device.container(uid))
    assert "Failed" in device.reasons(uid)


async def test_hooks_run_inside_the_container(device: Device) -> None:
    def writes(word: str) -> Json:
        return {"exec": {"command": ["/bin/sh", "-c", f"echo {word} > /proc/1/fd/1"]}}

    lifecycle = {"postStart": writes("welcome"), "preStop": writes("farewell")}
    uid = device.apply(a_script(OBEYS, lifecycle=lifecycle))
    await device.until(lambda: device.runs(uid) and device.log(uid) == "welcome")
    device.delete(uid, grace=10)
    await device.until(lambda: device.finished(uid))
    assert device.log(uid) == "welcome\nfarewell"


@pytest.mark.parametrize("kind", ["exec", "http", "tcp"])
async def test_a_readiness_probe_reaches_the_container(device: Device, kind: str) -> None:
    script = "mkdir /www; echo ok > /www/health; exec httpd -f -p 8080 -h /www"
    probes: dict[str, Json] = {
        "exec": {"exec": {"command": ["test", "-e", "/www/health"]}},
        "http": {"httpGet": {"path": "/health", "port": "web"}},
        "tcp": {"tcpSocket": {"port": 8080}},
    }
    container = a_sharer(f"{WAITS}; {script}", ports=[{"name": "web", "containerPort": 8080}])
    container["readinessProbe"] = a_probe(**probes[kind])
    uid = device.apply(container, volumes=SHARED)
    await device.until(lambda: "Unhealthy" in device.reasons(uid))
    assert device.container(uid)["ready"] is False
    device.go_on(uid)
    await device.until(lambda: device.container(uid)["ready"])


async def test_a_failed_liveness_probe_restarts_the_container(device: Device) -> None:
    container = a_script("touch /ok; sleep 1.5; rm /ok; sleep 3600")
    container["livenessProbe"] = a_probe(exec={"command": ["test", "-e", "/ok"]})
    uid = device.apply(container, terminationGracePeriodSeconds=0)
    await device.until(lambda: device.container(uid).get("restartCount") == 1)
    assert device.container(uid)["lastState"]["terminated"]["exitCode"] == 137
    assert "Unhealthy" in device.reasons(uid)


async def test_sidecars_outlive_the_containers_and_end_the_pod(device: Device) -> None:
    sidecar = a_script(OBEYS, "proxy", restartPolicy="Always")
    uid = device.apply(a_script("sleep 1"), initContainers=[sidecar], restartPolicy="Never")
    await device.until(lambda: device.status(uid).get("phase") == "Succeeded")
    assert device.ended(uid, "proxy")["exitCode"] == 7


async def test_a_new_agent_finds_everything_as_it_was(device: Device) -> None:
    uid = device.apply(a_script(OBEYS))
    await device.until(lambda: device.runs(uid))
    before = device.container(uid)["containerID"]
    await device.kill_agent()
    device.facts.records.clear()
    device.start_agent()
    device.reports.by_uid.clear()
    await device.until(lambda: device.runs(uid))
    await asyncio.sleep(1)
    assert device.container(uid)["containerID"] == before
    assert device.container(uid)["restartCount"] == 0


async def test_a_pod_that_ended_without_an_agent_has_its_true_exit_code(device: Device) -> None:
    uid = device.apply(a_sharer(f"{WAITS}; exit 42"), restartPolicy="Never", volumes=SHARED)
    await device.until(lambda: device.runs(uid))
    await device.ended_without_agent(uid)
    device.start_agent()
    await device.until(lambda: device.status(uid)["phase"] == "Failed")
    assert device.ended(uid)["exitCode"] == 42


async def test_a_sandbox_that_died_is_replaced(device: Device) -> None:
    uid = device.apply(a_script(OBEYS))
    await device.until(lambda: device.runs(uid))
    [sandbox] = await device.sandboxes()
    await device.runtime.stop_sandbox(sandbox.id)
    await device.until(lambda: "SandboxChanged" in device.reasons(uid) and device.runs(uid))
    assert device.container(uid)["restartCount"] >= 1


async def test_an_end_is_seen_in_well_under_a_second(device: Device) -> None:
    """The middle one of five, so that a busy moment of the machine does not matter."""
    late = []
    for _ in range(5):
        uid = device.apply(a_script("sleep 0.3; exit 3"), restartPolicy="Never")
        await device.until(lambda uid=uid: bool(device.ended(uid)))  # type: ignore[misc]
        seen = time.time()
        container_id = device.ended(uid)["containerID"].partition("://")[2]
        ended = await looked_up(device.runtime, container_id)
        assert ended is not None
        late.append(seen - ended.finished_at / 1e9)
        assert device.reports.by_uid[uid].within < 0.1, "the report does not wait either"
    assert 0 < sorted(late)[2] < 0.5 * PATIENCE
