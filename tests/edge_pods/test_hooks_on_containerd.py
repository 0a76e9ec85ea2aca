"""postStart and preStop hooks, and what follows when they fail, on a real containerd."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from shared.objects import Json
from tests.edge_pods.device import OBEYS, Device, a_device, a_script
from tests.parts.containerd import Containerd
from tests.parts.patience import PATIENCE


@pytest.fixture
async def device(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Device]:
    async with a_device(containerd, tmp_path) as one:
        yield one


SERVES = "trap 'exit 7' TERM; mkdir /www; httpd -p 8080 -h /www; echo serving; sleep 3600 & wait"
"""Answers every path with 404, from when it has said so."""
LATE = 10 * PATIENCE
"""Seconds that a busy machine may be late; what a wrong grace period costs is more."""
AT_ONCE = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1}
"""For hooks that fail at once: a shell that has not set its trap yet ignores SIGTERM, being
process 1."""


def by_exec(script: str) -> Json:
    return {"exec": {"command": ["/bin/sh", "-c", script]}}


def by_http(path: str = "/absent", port: int | str = 8080, **fields: str) -> Json:
    return {"httpGet": {"path": path, "port": port, **fields}}


def hooked(kind: str, hook: Json, text: str = OBEYS, **fields: object) -> Json:
    return a_script(text, lifecycle={kind: hook}, **fields)


async def test_a_container_is_not_called_running_before_its_post_start_hook_is_over(
    device: Device,
) -> None:
    mounts = [{"name": "v", "mountPath": "/v"}]
    first = hooked("postStart", by_exec("sleep 2; touch /v/hooked"), volumeMounts=mounts)
    volumes = [{"name": "v", "emptyDir": {}}]
    uid = device.apply(first, a_script(OBEYS, "second"), volumes=volumes)
    await device.until(lambda: "Started" in device.reasons(uid))
    assert device.waits_for(uid) == "ContainerCreating"
    assert device.waits_for(uid, "second") == "ContainerCreating", "it waits for the hook too"
    await device.until(lambda: device.runs(uid))
    assert (device.paths.volume(uid, "v") / "hooked").exists()
    await device.until(lambda: device.runs(uid, "second"))


async def test_any_answer_is_success_for_an_http_hook(device: Device) -> None:
    """The request names the container's port, and goes from the device to the pod's address."""
    ports = [{"name": "web", "containerPort": 8080}]
    uid = device.apply(hooked("preStop", by_http(port="web"), SERVES, ports=ports))
    await device.until(lambda: device.log(uid) == "serving" and device.runs(uid))
    device.delete(uid, grace=10)
    await device.until(lambda: device.finished(uid))
    assert "FailedPreStopHook" not in device.reasons(uid), "404 is an answer"
    assert device.ended(uid)["exitCode"] == 7


async def test_an_http_hook_asks_the_host_that_it_names_with_its_headers(device: Device) -> None:
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        get: Json = {"host": "127.0.0.1", "port": server.sockets[0].getsockname()[1]}
        get |= {"path": "/up?full=1", "httpHeaders": [{"name": "X-Tag", "value": "a"}]}
        uid = device.apply(hooked("postStart", {"httpGet": get}))
        await device.until(lambda: device.runs(uid))
    (request,) = asked
    line, *headers = request.decode().split("\r\n")
    assert line == "GET /up?full=1 HTTP/1.1"
    expected = {f"Host: 127.0.0.1:{get['port']}", "X-Tag: a", "User-Agent: kube-lifecycle/1.34"}
    assert expected <= set(headers)


async def test_an_http_hook_that_gets_no_answer_fails(device: Device) -> None:
    uid = device.apply(hooked("postStart", by_http()), **AT_ONCE)
    await device.until(lambda: device.status(uid).get("phase") == "Failed")
    assert device.messages(uid, "FailedPostStartHook") == ["PostStartHook failed"]


async def test_an_https_hook_that_meets_plain_http_is_tried_again_without_tls(
    device: Device,
) -> None:
    uid = device.apply(hooked("preStop", by_http(scheme="HTTPS"), SERVES))
    await device.until(lambda: device.log(uid) == "serving" and device.runs(uid))
    address = device.status(uid)["podIP"]
    device.delete(uid, grace=10)
    await device.until(lambda: device.finished(uid))
    words = (
        f"request to HTTPS lifecycle hook {address}:8080 got HTTP response,"
        " retry with HTTP succeeded"
    )
    assert device.messages(uid, "LifecycleHTTPFallback") == [words]
    assert "FailedPreStopHook" not in device.reasons(uid)


async def test_a_failed_post_start_hook_kills_the_container_and_is_told(device: Device) -> None:
    """What the hook said is in the status, not in the Event: it may be a secret."""
    hook = by_exec("sleep 0.5; echo s3cret; echo no luck >&2; exit 3")
    uid = device.apply(hooked("postStart", hook), restartPolicy="OnFailure")
    await device.until(lambda: device.container(uid).get("restartCount") == 1)
    assert device.container(uid)["lastState"]["terminated"]["exitCode"] == 7
    assert device.messages(uid, "FailedPostStartHook") == ["PostStartHook failed"]
    assert "FailedPostStartHook" in device.messages(uid, "Killing")
    shown = [
        one["state"]["waiting"]
        for status in device.reports.by_uid[uid].history
        for one in status["containerStatuses"]
        if one["state"].get("waiting", {}).get("reason") == "PostStartHookError"
    ]
    assert shown
    for waiting in shown:
        words = 'exited with 3: no luck\n, message: "s3cret\\nno luck\\n"'
        assert words in waiting["message"]
    await device.until(lambda: device.waits_for(uid) == "CrashLoopBackOff")


async def test_a_sidecar_whose_post_start_hook_fails_holds_up_what_comes_after_it(
    device: Device,
) -> None:
    """It has not started, and is never called ready, though its process runs until it is killed."""
    hook = by_exec("sleep 1; exit 3")
    sidecar = hooked("postStart", hook, name="proxy", restartPolicy="Always")
    uid = device.apply(a_script(OBEYS), initContainers=[sidecar])
    await device.until(lambda: device.container(uid, "proxy").get("restartCount") == 1)
    for status in device.reports.by_uid[uid].history:
        (main,) = status["containerStatuses"]
        assert main["state"] == {"waiting": {"reason": "PodInitializing"}}
        (proxy,) = status["initContainerStatuses"]
        assert not proxy["started"] and not proxy["ready"]
    assert device.messages(uid, "Started") == ["Container started"] * 2


async def test_a_deletion_does_not_wait_for_a_post_start_hook(device: Device) -> None:
    """Nor is it one that failed: it was given up."""
    text = "trap 'exit 7' TERM; echo on; sleep 3600 & wait"
    uid = device.apply(hooked("postStart", by_exec("sleep 600"), text))
    await device.until(lambda: device.log(uid) == "on" and "Started" in device.reasons(uid))
    began = time.monotonic()
    device.delete(uid, grace=60)
    await device.until(lambda: device.finished(uid))
    assert time.monotonic() - began < LATE
    assert device.ended(uid)["exitCode"] == 7
    assert "FailedPostStartHook" not in device.reasons(uid)


@pytest.mark.parametrize(
    ("policy", "text", "phase"),
    [
        ("Never", OBEYS, "Failed"),
        ("OnFailure", "trap 'exit 0' TERM; sleep 3600 & wait", "Succeeded"),
    ],
)
async def test_after_a_failed_post_start_hook_the_restart_policy_decides(
    device: Device, policy: str, text: str, phase: str
) -> None:
    fails = by_exec("sleep 0.5; exit 3")  # The container has set its trap by then.
    uid = device.apply(hooked("postStart", fails, text), restartPolicy=policy)
    await device.until(lambda: device.status(uid).get("phase") == phase)
    await asyncio.sleep(1)
    assert device.container(uid)["restartCount"] == 0


async def test_a_tcp_socket_is_no_hook(device: Device) -> None:
    """The API keeps the field, and documents that it fails."""
    hook = {"tcpSocket": {"port": 8080}}
    uid = device.apply(hooked("postStart", hook, SERVES), **AT_ONCE)
    await device.until(lambda: device.status(uid).get("phase") == "Failed")
    assert device.messages(uid, "FailedPostStartHook") == ["PostStartHook failed"]


async def test_a_failed_pre_stop_hook_is_told_and_the_container_is_stopped(device: Device) -> None:
    uid = device.apply(hooked("preStop", by_exec("echo s3cret; exit 1")))
    await device.until(lambda: device.obeys(uid))
    device.delete(uid, grace=10)
    await device.until(lambda: device.finished(uid))
    assert device.messages(uid, "FailedPreStopHook") == ["PreStopHook failed"]
    assert device.ended(uid)["exitCode"] == 7


async def test_the_pre_stop_hook_takes_its_time_from_the_grace_period(device: Device) -> None:
    """What is left of it is for the container itself, and that is killed then."""
    ignores = "trap '' TERM; sleep 3600"
    uid = device.apply(hooked("preStop", by_exec("sleep 4"), ignores))
    await device.until(lambda: device.runs(uid))
    began = time.monotonic()
    device.delete(uid, grace=6)
    await device.until(lambda: device.finished(uid))
    assert device.ended(uid)["exitCode"] == 137
    assert 5.5 < time.monotonic() - began < 4 + 6


async def test_a_pre_stop_hook_beyond_the_grace_period_leaves_two_more_seconds(
    device: Device,
) -> None:
    says = "trap 'sleep 0.3; exit 9' TERM; while :; do sleep 0.1; done"
    uid = device.apply(hooked("preStop", by_exec("sleep 60"), says))
    await device.until(lambda: device.runs(uid))
    began = time.monotonic()
    device.delete(uid, grace=3)
    await device.until(lambda: device.finished(uid))
    assert device.ended(uid)["exitCode"] == 9, "it had time after the signal"
    assert 3.2 < time.monotonic() - began < 3 + LATE
    assert device.messages(uid, "FailedPreStopHook") == ["PreStopHook failed"]


async def test_a_pre_stop_hook_has_no_longer_than_the_probe_that_kills_gives(
    device: Device,
) -> None:
    probe = {"exec": {"command": ["test", "-e", "/ok"]}, "periodSeconds": 1}
    probe |= {"failureThreshold": 1, "terminationGracePeriodSeconds": 3}
    ill = f"touch /ok; sleep 1.5; rm /ok; {OBEYS}"
    one = hooked("preStop", by_exec("sleep 60"), ill, livenessProbe=probe)
    uid = device.apply(one, terminationGracePeriodSeconds=600)
    await device.until(lambda: "Killing" in device.reasons(uid))
    began = time.monotonic()
    await device.until(lambda: device.container(uid).get("restartCount") == 1)
    assert 2.5 < time.monotonic() - began < 3 + LATE
    assert device.messages(uid, "FailedPreStopHook")[:1] == ["PreStopHook failed"]
    assert device.container(uid)["lastState"]["terminated"]["exitCode"] == 7, "it was asked after"


async def test_a_sleep_holds_up_start_and_stop_for_its_seconds_and_may_be_zero(
    device: Device,
) -> None:
    sleeps = {"sleep": {"seconds": 2}}
    uid = device.apply(
        a_script(OBEYS, lifecycle={"postStart": {"sleep": {"seconds": 0}}, "preStop": sleeps})
    )
    await device.until(lambda: device.runs(uid))
    began = time.monotonic()
    device.delete(uid, grace=30)
    await device.until(lambda: device.finished(uid))
    assert device.ended(uid)["exitCode"] == 7
    assert 2 <= time.monotonic() - began < 2 + LATE
    uid = device.apply(hooked("preStop", {"sleep": {"seconds": 0}}))
    await device.until(lambda: device.obeys(uid))
    device.delete(uid, grace=30)
    await device.until(lambda: device.finished(uid))
    assert not {"FailedPreStopHook", "FailedPostStartHook"} & set(device.reasons(uid))


async def test_a_pre_stop_hook_runs_before_a_restart_but_not_after_an_end(device: Device) -> None:
    """Whoever stops the container runs it; a container that ended by itself gets none."""
    says = by_exec("echo hooked > /v/said")
    volumes = [{"name": "v", "emptyDir": {}}]
    mounts = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    probe = {"exec": {"command": ["test", "-e", "/v/ok"]}, "periodSeconds": 1}
    probe["failureThreshold"] = 1
    text = f"cat /v/said; touch /v/ok; sleep 1.5; rm /v/ok; {OBEYS}"
    unhealthy = hooked("preStop", says, text, livenessProbe=probe, **mounts)
    uid = device.apply(unhealthy, volumes=volumes)
    await device.until(lambda: device.log(uid, attempt=1) == "hooked")
    ends = hooked("preStop", says, "[ -e /v/said ] && echo hooked; exit 1", **mounts)
    uid = device.apply(ends, volumes=volumes)
    await device.until(lambda: device.container(uid).get("restartCount") == 1)
    assert device.log(uid, attempt=1) == ""


async def test_without_a_grace_period_there_is_no_time_for_a_hook(device: Device) -> None:
    uid = device.apply(hooked("preStop", by_exec("sleep 60")))
    await device.until(lambda: device.runs(uid))
    device.delete(uid, grace=0)
    await device.until(lambda: device.finished(uid))
    assert device.ended(uid)["exitCode"] == 137
    assert "FailedPreStopHook" not in device.reasons(uid)


async def test_a_hook_on_the_host_network_asks_the_device(device: Device) -> None:
    """Its pod has no address of its own there."""
    asked = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET /hello HTTP/1.1"):
            asked.set()
        writer.write(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    await device.kill_agent()
    device.node = replace(device.node, ips=("127.0.0.1",))
    device.start_agent()
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        uid = device.apply(hooked("postStart", by_http("/hello", port)), hostNetwork=True)
        await device.until(lambda: device.runs(uid))
    assert asked.is_set()
    assert "FailedPostStartHook" not in device.reasons(uid)
