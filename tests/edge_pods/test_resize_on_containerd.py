"""In-place resize of cpu and memory, granted, deferred and refused, on a real containerd."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from edgeagent.pods import cgroups
from shared.objects import Json
from tests.edge_pods.device import OBEYS, Device, a_device, a_script
from tests.parts.containerd import Containerd

V2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
MIB = 1024**2
PENDING, IN_PROGRESS = "PodResizePending", "PodResizeInProgress"


@pytest.fixture
async def device(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Device]:
    """With one cpu and 256 MiB to give."""
    async with a_device(containerd, tmp_path) as one:
        await one.kill_agent()
        room = {"cpu": Fraction(1), "memory": Fraction(256 * MIB), "pods": Fraction(20)}
        one.node = replace(one.node, allocatable=room)
        one.start_agent()
        yield one


def sized(cpu: str, memory: str = "32Mi", text: str = OBEYS, **fields: object) -> Json:
    amounts = {"cpu": cpu, "memory": memory}
    return a_script(text, resources={"requests": amounts, "limits": amounts}, **fields)


async def running(device: Device, container: Json, **spec: object) -> str:
    uid = device.apply(container, **spec)
    await device.until(lambda: device.runs(uid))
    return uid


def memory_limit(device: Device, uid: str) -> int:
    pod = device.desired.wanted[uid].pod
    path = Path(cgroups.parent(pod, "cgroupfs").lstrip("/"))
    child = path / device.container(uid)["containerID"].partition("://")[2]
    top = Path("/sys/fs/cgroup")
    file = top / child / "memory.max" if V2 else top / "memory" / child / "memory.limit_in_bytes"
    return int(file.read_text())


async def test_a_resize_is_told_from_its_start_to_its_end(device: Device) -> None:
    uid = await running(device, sized("100m"))
    before = device.container(uid)["containerID"]
    bigger = sized("200m", "64Mi")
    device.change(uid, bigger)
    await device.until(lambda: "ResizeCompleted" in device.reasons(uid))
    await device.until(lambda: device.container(uid)["resources"] == bigger["resources"])
    assert device.container(uid)["allocatedResources"] == bigger["resources"]["requests"]
    assert memory_limit(device, uid) == 64 * MIB
    assert device.container(uid)["containerID"] == before
    assert not device.condition(uid, IN_PROGRESS)
    summary = {"containers": [{"name": "main", "resources": bigger["resources"]}], "generation": 2}
    for reason, word in (("ResizeStarted", "started"), ("ResizeCompleted", "completed")):
        (message,) = device.messages(uid, reason)
        head, _, tail = message.partition(": ")
        assert (head, json.loads(tail)) == (f"Pod resize {word}", summary)
    seen = [
        one
        for status in device.reports.by_uid[uid].history
        for one in status["conditions"]
        if one["type"] == IN_PROGRESS
    ]
    assert seen, "it was in progress"
    assert {(one["status"], one["observedGeneration"]) for one in seen} == {("True", 2)}


async def test_a_resize_that_has_no_room_now_is_deferred_until_there_is(device: Device) -> None:
    other = await running(device, sized("500m"))
    uid = await running(device, sized("200m"))
    device.change(uid, sized("800m"))
    await device.until(lambda: bool(device.condition(uid, PENDING)))
    pending = device.condition(uid, PENDING)
    words = "Node didn't have enough resource: cpu, requested: 800, used: 500, capacity: 1000"
    assert (pending["status"], pending["reason"]) == ("True", "Deferred")
    assert (pending["message"], pending["observedGeneration"]) == (words, 2)
    assert device.status(uid)["observedGeneration"] == 2
    assert device.container(uid)["resources"]["requests"]["cpu"] == "200m", "it goes on as it is"
    assert device.container(uid)["allocatedResources"]["cpu"] == "200m"
    (message,) = device.messages(uid, "ResizeDeferred")
    assert message.startswith("Pod resize Deferred: ")
    assert json.loads(message.partition(": ")[2])["error"] == words
    device.delete(other, grace=5)
    await device.until(lambda: device.container(uid)["resources"]["requests"]["cpu"] == "800m")
    await device.until(lambda: not device.condition(uid, PENDING))
    assert device.container(uid)["restartCount"] == 0


async def test_a_resize_beyond_the_device_is_infeasible_and_can_be_taken_back(
    device: Device,
) -> None:
    small = sized("200m")
    uid = await running(device, small)
    device.change(uid, sized("2"))
    await device.until(lambda: device.condition(uid, PENDING).get("reason") == "Infeasible")
    words = "Node didn't have enough capacity: cpu, requested: 2000, capacity: 1000"
    assert device.condition(uid, PENDING)["message"] == words
    assert len(device.messages(uid, "ResizeInfeasible")) == 1
    await device.kill_agent()
    told = len(device.reports.by_uid[uid].history)
    device.start_agent()
    await device.until(lambda: len(device.reports.by_uid[uid].history) > told)
    assert device.condition(uid, PENDING)["reason"] == "Infeasible"
    device.change(uid, small)
    await device.until(lambda: not device.condition(uid, PENDING))
    assert device.container(uid)["resources"] == small["resources"]
    assert len(device.messages(uid, "ResizeInfeasible")) == 1, "another agent does not say it again"
    assert "ResizeStarted" not in device.reasons(uid)


async def test_of_those_that_wait_the_one_with_the_higher_priority_goes_first(
    device: Device,
) -> None:
    big = await running(device, sized("600m"))
    low = await running(device, sized("100m"), priority=1)
    high = await running(device, sized("100m"), priority=2)
    for uid in (low, high):
        device.change(uid, sized("700m"))
        await device.until(lambda uid=uid: bool(device.condition(uid, PENDING)))  # type: ignore[misc]
    device.delete(big, grace=5)
    await device.until(lambda: not device.condition(high, PENDING))
    assert device.condition(low, PENDING)["reason"] == "Deferred"


async def test_the_resize_policy_can_ask_for_a_restart(device: Device) -> None:
    policy = [
        {"resourceName": "cpu", "restartPolicy": "NotRequired"},
        {"resourceName": "memory", "restartPolicy": "RestartContainer"},
    ]
    uid = await running(device, sized("100m", resizePolicy=policy))
    device.change(uid, sized("200m", resizePolicy=policy))
    await device.until(lambda: device.container(uid)["resources"]["limits"]["cpu"] == "200m")
    assert device.container(uid)["restartCount"] == 0
    device.change(uid, sized("200m", "64Mi", resizePolicy=policy))
    await device.until(lambda: device.container(uid)["restartCount"] == 1 and device.runs(uid))
    assert memory_limit(device, uid) == 64 * MIB
    assert device.container(uid)["lastState"]["terminated"]["exitCode"] == 7
    words = "Container main resize requires restart, will be restarted"
    assert words in device.messages(uid, "Killing")
    await device.until(lambda: len(device.messages(uid, "ResizeCompleted")) == 2)


async def test_an_init_container_that_runs_is_resized_as_any_other(device: Device) -> None:
    init, main = sized("100m", name="first"), sized("100m")
    uid = device.apply(main, initContainers=[init])
    await device.until(lambda: device.runs(uid, "first"))
    before = device.container(uid, "first")["containerID"]
    bigger = sized("200m", "64Mi", name="first")
    device.change(uid, main, initContainers=[bigger])
    await device.until(lambda: "ResizeCompleted" in device.reasons(uid))
    await device.until(lambda: device.container(uid, "first")["resources"] == bigger["resources"])
    assert device.container(uid, "first")["containerID"] == before
    assert not device.condition(uid, IN_PROGRESS)


async def test_memory_that_is_in_use_is_not_taken_away(device: Device) -> None:
    holds = "x=$(head -c 30000000 /dev/zero | tr '\\0' x); echo held; sleep 3600 & wait"
    uid = await running(device, sized("500m", "128Mi", holds))
    await device.until(lambda: device.log(uid) == "held")
    device.change(uid, sized("500m", "16Mi", holds))
    await device.until(lambda: device.condition(uid, IN_PROGRESS).get("reason") == "Error")
    words = 'attempting to set container "main" memory limit (16777216) below current usage ('
    assert device.condition(uid, IN_PROGRESS)["message"].startswith(words)
    assert "ResizeError" in device.reasons(uid)
    assert memory_limit(device, uid) == 128 * MIB
    assert device.runs(uid)
    device.change(uid, sized("500m", "128Mi", holds))
    await device.until(lambda: not device.condition(uid, IN_PROGRESS))
    assert device.container(uid)["restartCount"] == 0


async def test_what_was_refused_is_not_had_by_a_restarted_container_either(device: Device) -> None:
    text = f"sleep 2; [ -e /v/ran ] || {{ touch /v/ran; exit 1; }}; {OBEYS}"
    mounts = [{"name": "v", "mountPath": "/v"}]
    volumes = [{"name": "v", "emptyDir": {}}]
    uid = await running(device, sized("200m", text=text, volumeMounts=mounts), volumes=volumes)
    device.change(uid, sized("2", "128Mi", text, volumeMounts=mounts))
    await device.until(lambda: bool(device.condition(uid, PENDING)))
    await device.until(lambda: device.container(uid)["restartCount"] == 1 and device.runs(uid))
    assert memory_limit(device, uid) == 32 * MIB
