"""How long a pod may take to stop, in which order, and what it ended with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.objects import Json
from tests.edge_pods.device import OBEYS, SHARED, WAITS, Device, a_device, a_script, a_sharer
from tests.parts.containerd import Containerd
from tests.parts.patience import PATIENCE

IGNORES = "trap '' TERM; while :; do sleep 0.1; done"
LATE = 10 * PATIENCE
"""Seconds that a busy machine may be late; a grace period that is not the right one is more."""


@pytest.fixture
async def device(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Device]:
    async with a_device(containerd, tmp_path) as one:
        yield one


def writes_at_its_end(name: str, *, after: float = 0.0, **fields: object) -> Json:
    text = f"trap 'sleep {after}; echo {name} >> /v/order; exit 0' TERM; sleep 3600 & wait"
    return a_sharer(text, name, **fields)


async def running(device: Device, *containers: Json, **spec: object) -> str:
    uid = device.apply(*containers, **spec)
    inits: list[Json] = spec.get("initContainers", [])  # type: ignore[assignment]
    for one in (*inits, *containers):
        is_up = device.obeys if "trap" in one["command"][-1] else device.runs
        await device.until(lambda one=one, is_up=is_up: is_up(uid, one["name"]))  # type: ignore[misc]
    return uid


async def seconds_to_finish(device: Device, uid: str) -> float:
    began = time.monotonic()
    await device.until(lambda: device.finished(uid))
    return time.monotonic() - began


def stamp(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()


# The grace period


async def test_a_grace_period_of_zero_kills_at_once(device: Device) -> None:
    uid = await running(device, a_script(OBEYS), terminationGracePeriodSeconds=30)
    device.delete(uid, grace=0)
    assert await seconds_to_finish(device, uid) < LATE
    assert device.ended(uid)["exitCode"] == 137


async def test_a_grace_period_of_a_second_is_two_as_on_a_kubelet(device: Device) -> None:
    uid = await running(
        device, a_script("trap 'sleep 1.3; exit 7' TERM; echo up; sleep 999 & wait")
    )
    device.delete(uid, grace=1)
    await device.until(lambda: device.finished(uid))
    assert device.ended(uid)["exitCode"] == 7


@pytest.mark.parametrize("ended", [False, True])
async def test_a_deletion_is_a_generation_that_the_status_has_observed(
    device: Device, ended: bool
) -> None:
    """The API server counts it; the device has the pod as it was before."""
    uid = "uid-generation"
    script = a_script("exit 0" if ended else IGNORES)
    metadata = {"name": uid, "namespace": "default", "uid": uid, "generation": 3}
    device.put({"metadata": metadata, "spec": {"containers": [script], "restartPolicy": "Never"}})
    await device.until(lambda: bool(device.ended(uid)) if ended else device.runs(uid))
    assert device.status(uid)["observedGeneration"] == 3
    device.delete(uid, grace=4)
    await device.until(lambda: device.status(uid)["observedGeneration"] == 4)
    assert device.finished(uid) is ended, "it is said while the pod still stops"
    await device.until(lambda: device.finished(uid))
    assert device.status(uid)["observedGeneration"] == 4


async def test_a_deletion_says_how_long_a_pod_may_take_whatever_its_spec_says(
    device: Device,
) -> None:
    uid = await running(device, a_script(IGNORES), terminationGracePeriodSeconds=600)
    device.delete(uid, grace=2)
    assert 1.5 < await seconds_to_finish(device, uid) < 2 + LATE
    assert device.ended(uid)["exitCode"] == 137


async def test_a_grace_period_can_be_shortened_while_the_pod_stops(device: Device) -> None:
    uid = await running(device, a_script(IGNORES))
    device.delete(uid, grace=600)
    await device.until(lambda: "Killing" in device.reasons(uid))
    await asyncio.sleep(1)
    assert device.runs(uid)
    device.delete(uid, grace=2)
    assert 1.5 < await seconds_to_finish(device, uid) < 2 + LATE
    uid = await running(device, a_script(IGNORES))
    device.delete(uid, grace=2)
    await device.until(lambda: "Killing" in device.reasons(uid))
    device.delete(uid, grace=600)
    assert await seconds_to_finish(device, uid) < 2 + LATE, "it is never made longer"


async def test_a_pod_that_nobody_wants_has_the_grace_period_of_its_spec(device: Device) -> None:
    uid = await running(device, a_script(IGNORES), terminationGracePeriodSeconds=2)
    began = time.monotonic()
    device.drop(uid)
    await device.until(lambda: uid not in device.facts.records)
    assert 1.5 < time.monotonic() - began < 2 + LATE


async def test_a_probe_has_a_grace_period_of_its_own(device: Device) -> None:
    probe = {
        "exec": {"command": ["test", "-e", "/ok"]},
        "periodSeconds": 1,
        "failureThreshold": 1,
        "terminationGracePeriodSeconds": 1,
    }
    text = f"touch /ok; sleep 1.5; rm /ok; {IGNORES}"
    uid = await running(
        device, a_script(text, livenessProbe=probe), terminationGracePeriodSeconds=600
    )
    await device.until(lambda: "Unhealthy" in device.reasons(uid))
    began = time.monotonic()
    await device.until(lambda: device.container(uid).get("restartCount") == 1)
    assert time.monotonic() - began < 1 + LATE
    assert device.container(uid)["lastState"]["terminated"]["exitCode"] == 137


@pytest.mark.parametrize("asked", ["SIGUSR1", ""])
async def test_a_stop_signal_is_the_one_that_is_asked_for_or_an_event_says_that_it_is_not(
    device: Device, asked: str
) -> None:
    """containerd 2.3 says of a container by which signal it is stopped, older ones do not know."""
    await device.meet_runtime()
    version = device.node.runtime_version
    text = "trap 'exit 5' USR1; trap 'exit 7' TERM; echo on; sleep 3600 & wait"
    lifecycle = {"lifecycle": {"stopSignal": asked}} if asked else {}
    uid = device.apply(a_script(text, **lifecycle))
    await device.until(lambda: device.runs(uid) and device.log(uid) == "on")
    device.delete(uid, grace=30)
    await device.until(lambda: device.finished(uid))
    said = device.container(uid).get("stopSignal", "")
    assert device.ended(uid)["exitCode"] == (5 if said else 7)
    assert said in ("", asked)
    words = (
        f"spec.containers[0].lifecycle.stopSignal: containerd {version} goes by the signal of the"
        " image; containerd 2.3 and cri-o 1.33 and newer can"
    )
    assert device.messages(uid, "UnsupportedField") == ([words] if asked and not said else [])


# Sidecars


async def test_sidecars_stop_after_the_containers_in_reverse_order(device: Device) -> None:
    sidecars = [writes_at_its_end(name, restartPolicy="Always") for name in ("first", "second")]
    reads = a_script(
        "trap 'cat /v/order; exit 0' TERM; sleep 3600 & wait",
        "reads",
        restartPolicy="Always",
        volumeMounts=[{"name": "shared", "mountPath": "/v"}],
    )
    uid = await running(
        device,
        writes_at_its_end("main", after=1.0),
        initContainers=[reads, *sidecars],
        volumes=SHARED,
    )
    device.delete(uid, grace=20)
    await device.until(lambda: device.finished(uid))
    assert device.log(uid, "reads") == "main\nsecond\nfirst"


async def test_pre_stop_hooks_of_sidecars_run_at_once_and_their_end_comes_in_turn(
    device: Device,
) -> None:
    hook = {"exec": {"command": ["/bin/sh", "-c", "echo hooked >> /v/order"]}}
    proxy = writes_at_its_end("proxy", restartPolicy="Always", lifecycle={"preStop": hook})
    main = a_script(
        "trap 'sleep 2; cat /v/order; exit 0' TERM; sleep 3600 & wait",
        volumeMounts=[{"name": "shared", "mountPath": "/v"}],
    )
    uid = await running(device, main, initContainers=[proxy], volumes=SHARED)
    device.delete(uid, grace=20)
    await device.until(lambda: device.finished(uid))
    assert device.log(uid) == "hooked", "once, while the container still ran"
    assert device.ended(uid, "proxy")["exitCode"] == 0
    assert len(device.messages(uid, "Killing")) == 2


async def test_what_still_runs_at_the_end_of_the_grace_period_is_stopped_together(
    device: Device,
) -> None:
    sidecars = [a_script(IGNORES, name, restartPolicy="Always") for name in ("a", "b", "c")]
    uid = await running(device, a_script(IGNORES), initContainers=sidecars)
    device.delete(uid, grace=2)
    await device.until(lambda: device.finished(uid))
    assert {device.ended(uid, name)["exitCode"] for name in ("main", "a", "b", "c")} == {137}
    ends = [stamp(device.ended(uid, name)["finishedAt"]) for name in ("a", "b", "c")]
    assert max(ends) - min(ends) < 4, "two seconds more for all of them, not each"


# The deadline


async def test_a_pod_past_its_active_deadline_is_stopped_and_failed(device: Device) -> None:
    uid = await running(device, a_script(OBEYS), activeDeadlineSeconds=3)
    await device.until(lambda: device.status(uid)["phase"] == "Failed")
    status = device.status(uid)
    words = "Pod was active on the node longer than the specified deadline"
    assert (status["reason"], status["message"]) == ("DeadlineExceeded", words)
    assert device.messages(uid, "DeadlineExceeded") == [words]
    early = [one for one in device.reports.by_uid[uid].history if one["phase"] != "Failed"]
    assert not [one for one in early if "reason" in one], "said when its containers have ended"
    assert device.ended(uid)["exitCode"] == 7, "it was asked to stop"
    lived = stamp(device.ended(uid)["finishedAt"]) - stamp(status["startTime"])
    assert 2 <= lived < 3 + LATE


async def test_a_deadline_may_be_set_and_come_nearer_while_the_pod_runs(device: Device) -> None:
    """It counts from the start of the pod all the same."""
    uid = await running(device, a_script(OBEYS))
    device.change(uid, activeDeadlineSeconds=600)
    await device.until(lambda: device.status(uid).get("observedGeneration") == 2)
    await asyncio.sleep(2)
    assert device.runs(uid)
    device.change(uid, activeDeadlineSeconds=1)
    await device.until(lambda: device.status(uid)["phase"] == "Failed")
    assert device.status(uid)["reason"] == "DeadlineExceeded"
    assert device.ended(uid)["exitCode"] == 7


async def test_init_containers_and_restarts_count_for_the_deadline(device: Device) -> None:
    inits = [a_script("sleep 1; exit 1", "init")]
    uid = device.apply(a_script(OBEYS), initContainers=inits, activeDeadlineSeconds=4)
    await device.until(lambda: device.status(uid).get("phase") == "Failed")
    assert device.status(uid)["reason"] == "DeadlineExceeded"
    assert not device.container(uid).get("containerID"), "it never started"


async def test_a_deadline_that_passed_without_an_agent_counts(device: Device) -> None:
    uid = await running(device, a_script(OBEYS), activeDeadlineSeconds=600)
    await device.kill_agent()
    device.facts.records[uid]["started_at"] -= 601
    device.start_agent()
    await device.until(lambda: device.status(uid)["phase"] == "Failed")
    assert device.status(uid)["reason"] == "DeadlineExceeded"


# Ended while nobody looked


@pytest.mark.parametrize(
    ("text", "phase", "code", "reason"),
    [
        ("exit 0", "Succeeded", 0, "Completed"),
        ("exit 42", "Failed", 42, "Error"),
        ("exit 137", "Failed", 137, "Error"),
    ],
)
async def test_what_ended_without_an_agent_has_its_true_code_reason_and_times(
    device: Device, text: str, phase: str, code: int, reason: str
) -> None:
    uid = await running(device, a_sharer(f"{WAITS}; {text}"), restartPolicy="Never", volumes=SHARED)
    before = device.container(uid)["state"]["running"]["startedAt"]
    await device.ended_without_agent(uid)
    await asyncio.sleep(2)
    seen = time.time()
    device.start_agent()
    await device.until(lambda: device.status(uid)["phase"] == phase)
    ended = device.ended(uid)
    assert (ended["exitCode"], ended["reason"]) == (code, reason)
    assert ended["startedAt"] == before
    assert stamp(before) <= stamp(ended["finishedAt"]) < seen - 1, "its own, not when it was seen"


async def test_what_ran_out_of_memory_without_an_agent_says_so(device: Device) -> None:
    eats = f"{WAITS}; x=x; while :; do x=$x$x; done"
    hungry = a_sharer(eats, resources={"limits": {"memory": "16Mi"}})
    uid = await running(device, hungry, restartPolicy="Never", volumes=SHARED)
    await device.ended_without_agent(uid)
    device.start_agent()
    await device.until(lambda: device.status(uid)["phase"] == "Failed")
    assert (device.ended(uid)["exitCode"], device.ended(uid)["reason"]) == (137, "OOMKilled")


async def test_a_container_that_vanished_without_an_agent_has_an_unknown_status(
    device: Device,
) -> None:
    uid = await running(device, a_script(OBEYS), a_script(OBEYS, "other"), restartPolicy="Never")
    await device.kill_agent()
    container_id = device.container(uid)["containerID"].partition("://")[2]
    await device.runtime.stop_container(container_id, 0)
    await device.runtime.remove_container(container_id)
    device.start_agent()
    await device.until(lambda: bool(device.ended(uid)))
    ended = device.ended(uid)
    assert (ended["exitCode"], ended["reason"]) == (137, "ContainerStatusUnknown")
    assert device.status(uid)["phase"] == "Running", "the other one goes on"


@pytest.mark.parametrize(("policy", "phase"), [("Never", "Failed"), ("Always", "Running")])
async def test_a_pod_whose_sandbox_died_without_an_agent_goes_by_its_restart_policy(
    device: Device, policy: str, phase: str
) -> None:
    """As after a power cut: the runtime has only ended containers in a dead sandbox."""
    uid = await running(device, a_script(IGNORES), restartPolicy=policy)
    await device.kill_agent()
    (sandbox,) = await device.sandboxes()
    await device.runtime.stop_sandbox(sandbox.id)
    device.reports.by_uid.clear()
    device.start_agent()
    await device.until(lambda: device.status(uid).get("phase") == phase)
    if policy == "Never":
        assert device.ended(uid)["exitCode"] == 137
        assert device.container(uid)["restartCount"] == 0
    else:
        await device.until(lambda: device.container(uid)["restartCount"] == 1)
        assert device.container(uid)["lastState"]["terminated"]["exitCode"] == 137


@pytest.mark.parametrize(("policy", "phase"), [("Never", "Succeeded"), ("OnFailure", "Running")])
async def test_what_is_stopped_because_its_sandbox_died_has_not_finished_if_it_may_restart(
    device: Device, containerd: Containerd, policy: str, phase: str
) -> None:
    """Though it ends with 0; its sandbox is lost with its pause process."""
    uid = await running(
        device, a_script("trap 'exit 0' TERM; sleep 3600 & wait"), restartPolicy=policy
    )
    (sandbox,) = await device.sandboxes()
    containerd.ctr("tasks", "kill", "--signal", "SIGKILL", sandbox.id)
    if policy == "Never":
        await device.until(lambda: device.status(uid)["phase"] == phase)
        return
    await device.until(lambda: device.container(uid)["restartCount"] == 1 and device.runs(uid))
    assert device.status(uid)["phase"] == phase
    history = [one["phase"] for one in device.reports.by_uid[uid].history]
    assert {"Succeeded", "Failed"}.isdisjoint(history)


async def test_a_pod_that_was_being_stopped_when_the_agent_died_is_stopped_by_the_next(
    device: Device,
) -> None:
    uid = await running(device, a_script(IGNORES))
    device.delete(uid, grace=600)
    await device.until(lambda: "Killing" in device.reasons(uid))
    await device.kill_agent()
    device.facts.records[uid]["stopping"]["at"] -= 599
    device.start_agent()
    await device.until(lambda: device.finished(uid))  # The grace period does not begin again.
    assert device.ended(uid)["exitCode"] == 137
