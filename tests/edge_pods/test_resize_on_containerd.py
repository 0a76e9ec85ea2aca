"""In-place resize of cpu and memory, granted, deferred and refused, on a real containerd."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from edgeagent.pods.resources import cgroups
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


async def running(device: Device, *containers: Json, **spec: object) -> str:
    uid = device.apply(*containers, **spec)
    await device.until(lambda: device.runs(uid))
    return uid


def memory_limit(device: Device, uid: str, name: str = "main") -> int:
    """Of a container, or without a name of its pod."""
    child = device.container(uid, name)["containerID"].partition("://")[2] if name else ""
    top = Path("/sys/fs/cgroup")
    path = cgroup(device, uid) / child
    file = top / path / "memory.max" if V2 else top / "memory" / path / "memory.limit_in_bytes"
    return int(file.read_text())


def cgroup(device: Device, uid: str) -> Path:
    return Path(cgroups.parent(device.desired.wanted[uid].pod, "cgroupfs").lstrip("/"))


def quota(device: Device, uid: str) -> str:
    """Of the pod as a whole."""
    path = cgroup(device, uid)
    file = path / "cpu.max" if V2 else Path("cpu") / path / "cpu.cfs_quota_us"
    return (Path("/sys/fs/cgroup") / file).read_text().split()[0]


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
    assert message.startswith("Pod resize OutOfcpu: ")
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
    words = "Container main resize requires restart"
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


async def test_an_init_container_with_that_policy_begins_anew_when_it_is_resized(
    device: Device,
) -> None:
    """The containers after it wait for the one that began anew."""
    policy = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
    stops = "trap 'exit 7' TERM; until [ -e /v/go ]; do sleep 0.1; done"
    volumes = [{"name": "v", "emptyDir": {}}]
    mounts = [{"name": "v", "mountPath": "/v"}]
    of_init = {"name": "first", "resizePolicy": policy, "volumeMounts": mounts}
    main = sized("100m", volumeMounts=mounts)
    uid = device.apply(main, initContainers=[sized("100m", text=stops, **of_init)], volumes=volumes)
    await device.until(lambda: device.runs(uid, "first"))
    device.change(uid, main, initContainers=[sized("200m", text=stops, **of_init)])
    given = lambda: device.container(uid, "first")["resources"]["limits"]  # noqa: E731
    await device.until(lambda: given()["cpu"] == "200m")
    assert device.container(uid, "first")["restartCount"] == 0, "its policy is of memory only"
    bigger = sized("200m", "64Mi", text=stops, **of_init)
    device.change(uid, main, initContainers=[bigger])
    await device.until(lambda: device.container(uid, "first")["restartCount"] == 1)
    await device.until(lambda: device.runs(uid, "first"))
    assert device.container(uid, "first")["lastState"]["terminated"]["exitCode"] == 7
    assert memory_limit(device, uid, "first") == 64 * MIB
    words = "Container first resize requires restart"
    assert words in device.messages(uid, "Killing")
    assert not device.container(uid).get("containerID"), "it waits"
    await device.until(lambda: len(device.messages(uid, "ResizeCompleted")) == 2)
    (device.paths.volume(uid, "v") / "go").touch()
    await device.until(lambda: device.runs(uid))
    assert device.container(uid, "first")["restartCount"] == 1


# Of the pod as a whole (``spec.resources``)


def whole(cpu: str, memory: str) -> Json:
    amounts = {"cpu": cpu, "memory": memory}
    return {"requests": amounts, "limits": amounts}


async def test_a_pod_is_resized_as_a_whole_with_the_containers_that_it_lends_its_limits(
    device: Device,
) -> None:
    bound = sized("50m", "16Mi", name="bound")
    uid = await running(device, a_script(OBEYS), bound, resources=whole("200m", "64Mi"))
    await device.until(lambda: device.runs(uid, "bound"))
    assert device.status(uid)["resources"] == whole("200m", "64Mi")
    assert device.status(uid)["allocatedResources"] == {"cpu": "200m", "memory": "64Mi"}
    assert "resources" not in device.container(uid), "it asks for nothing itself"
    before = [device.container(uid, name)["containerID"] for name in ("main", "bound")]
    device.change(uid, resources=whole("400m", "96Mi"))
    await device.until(lambda: "ResizeCompleted" in device.reasons(uid))
    await device.until(lambda: not device.condition(uid, IN_PROGRESS))
    assert device.status(uid)["resources"] == whole("400m", "96Mi")
    limits = [memory_limit(device, uid, name) for name in ("", "main", "bound")]
    assert limits == [96 * MIB, 96 * MIB, 16 * MIB]
    assert quota(device, uid) == "40000"
    device.change(uid, resources=whole("100m", "32Mi"))
    await device.until(lambda: len(device.messages(uid, "ResizeCompleted")) == 2)
    limits = [memory_limit(device, uid, name) for name in ("", "main", "bound")]
    assert limits == [32 * MIB, 32 * MIB, 16 * MIB]
    assert quota(device, uid) == "10000"
    await device.until(lambda: device.status(uid)["allocatedResources"]["cpu"] == "100m")
    after = [device.container(uid, name)["containerID"] for name in ("main", "bound")]
    assert after == before
    (started, _) = device.messages(uid, "ResizeStarted")
    assert json.loads(started.partition(": ")[2])["resources"] == whole("400m", "96Mi")


async def test_a_pod_is_resized_as_a_whole_though_no_container_changes(device: Device) -> None:
    bound = sized("50m", "16Mi")
    uid = await running(device, bound, resources=whole("100m", "32Mi"))
    device.change(uid, resources=whole("200m", "64Mi"))
    await device.until(lambda: device.status(uid)["resources"] == whole("200m", "64Mi"))
    assert (memory_limit(device, uid, ""), quota(device, uid)) == (64 * MIB, "20000")
    await device.kill_agent()
    device.change(uid, resources=whole("100m", "48Mi"))
    device.start_agent()
    await device.until(lambda: device.status(uid)["resources"] == whole("100m", "48Mi"))
    assert (memory_limit(device, uid, ""), quota(device, uid)) == (48 * MIB, "10000")
    assert memory_limit(device, uid) == 16 * MIB


async def test_what_a_pod_asks_for_as_a_whole_is_counted_when_it_is_resized(
    device: Device,
) -> None:
    other = await running(device, a_script(OBEYS), resources=whole("500m", "32Mi"))
    small = sized("50m", "16Mi")
    uid = await running(device, small, resources=whole("200m", "32Mi"))
    device.change(uid, resources=whole("800m", "32Mi"))
    await device.until(lambda: bool(device.condition(uid, PENDING)))
    words = "Node didn't have enough resource: cpu, requested: 800, used: 500, capacity: 1000"
    assert device.condition(uid, PENDING)["reason"] == "Deferred"
    assert device.condition(uid, PENDING)["message"] == words
    assert device.status(uid)["resources"] == whole("200m", "32Mi"), "it goes on as it is"
    assert device.status(uid)["allocatedResources"]["cpu"] == "200m"
    assert quota(device, uid) == "20000"
    device.change(uid, sized("100m", "16Mi"), resources=whole("200m", "32Mi"))
    await device.until(lambda: device.container(uid)["resources"]["limits"]["cpu"] == "100m")
    assert not device.condition(uid, PENDING), "within what the pod has, there is always room"
    device.change(uid, resources=whole("800m", "32Mi"))
    await device.until(lambda: bool(device.condition(uid, PENDING)))
    device.delete(other, grace=5)
    await device.until(lambda: device.status(uid)["resources"] == whole("800m", "32Mi"))


async def test_memory_that_the_containers_of_a_pod_use_together_is_not_taken_away(
    device: Device,
) -> None:
    holds = "x=$(head -c 15000000 /dev/zero | tr '\\0' x); echo held; sleep 3600 & wait"
    both = [a_script(holds), a_script(holds, "second")]
    uid = await running(device, *both, resources=whole("500m", "128Mi"))
    for name in ("main", "second"):
        await device.until(lambda name=name: device.log(uid, name) == "held")  # type: ignore[misc]
    each = max(one.memory_usage_bytes for one in await device.runtime.stats())
    limit = f"{each // MIB + 8}Mi"
    device.change(uid, resources=whole("500m", limit))
    await device.until(lambda: device.condition(uid, IN_PROGRESS).get("reason") == "Error")
    words = "cannot decrease memory limits: attempting to set pod memory limit ("
    assert device.condition(uid, IN_PROGRESS)["message"].startswith(words)
    limits = [memory_limit(device, uid, name) for name in ("", "main", "second")]
    assert limits == [128 * MIB] * 3
    assert device.runs(uid) and device.runs(uid, "second")
    device.change(uid, resources=whole("500m", "128Mi"))
    await device.until(lambda: not device.condition(uid, IN_PROGRESS))
    assert device.container(uid)["restartCount"] == 0


async def test_the_resize_policy_counts_for_limits_that_a_pod_lends(device: Device) -> None:
    policy = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
    lent, bound = a_script(OBEYS, resizePolicy=policy), sized("50m", "16Mi", name="bound")
    uid = await running(
        device, lent, {**bound, "resizePolicy": policy}, resources=whole("1", "64Mi")
    )
    await device.until(lambda: device.runs(uid, "bound"))
    device.change(uid, resources=whole("1", "96Mi"))
    await device.until(lambda: device.container(uid)["restartCount"] == 1 and device.runs(uid))
    await device.until(lambda: device.status(uid)["resources"] == whole("1", "96Mi"))
    assert [memory_limit(device, uid, name) for name in ("", "main")] == [96 * MIB] * 2
    assert device.container(uid, "bound")["restartCount"] == 0


async def test_memory_that_is_in_use_is_not_taken_away(device: Device) -> None:
    holds = "x=$(head -c 30000000 /dev/zero | tr '\\0' x); echo held; sleep 3600 & wait"
    uid = await running(device, sized("500m", "128Mi", holds))
    await device.until(lambda: device.log(uid) == "held")
    device.change(uid, sized("500m", "16Mi", holds))
    await device.until(lambda: device.condition(uid, IN_PROGRESS).get("reason") == "Error")
    message = device.condition(uid, IN_PROGRESS)["message"]
    below = "memory limit (16777216) below current usage ("
    words = "cannot decrease memory limits: [attempting to set"
    assert message.startswith(f"{words} pod {below}")
    assert f', attempting to set container "main" {below}' in message
    assert "ResizeError" in device.reasons(uid)
    assert memory_limit(device, uid) == 128 * MIB
    assert device.runs(uid)
    device.change(uid, sized("500m", "128Mi", holds))
    await device.until(lambda: not device.condition(uid, IN_PROGRESS))
    assert device.container(uid)["restartCount"] == 0


async def test_memory_in_use_is_not_taken_away_by_what_becomes_of_another_container(
    device: Device,
) -> None:
    """The limit of the pod is that of all together: it stays while one of them uses more."""
    holds = "x=$(head -c 60000000 /dev/zero | tr '\\0' x); echo held; sleep 3600 & wait"
    other = sized("100m", "16Mi", name="other")
    third = sized("100m", "16Mi", "sleep 4; exit 1", name="third")
    uid = await running(device, sized("500m", "128Mi", holds), other, third)
    await device.until(lambda: device.log(uid) == "held")
    less, more = sized("500m", "16Mi", holds), sized("200m", "16Mi", name="other")
    device.change(uid, less, more, third)
    await device.until(lambda: device.condition(uid, IN_PROGRESS).get("reason") == "Error")
    await device.until(
        lambda: device.container(uid, "other")["resources"]["limits"]["cpu"] == "200m"
    )
    await device.until(lambda: device.container(uid, "third")["restartCount"] == 1)
    await device.until(lambda: device.runs(uid, "third"))
    assert memory_limit(device, uid, "") == (128 + 16 + 16) * MIB
    assert device.container(uid)["restartCount"] == 0 and device.runs(uid)


async def test_what_was_refused_is_not_had_by_a_restarted_container_either(device: Device) -> None:
    text = f"sleep 2; [ -e /v/ran ] || {{ touch /v/ran; exit 1; }}; {OBEYS}"
    mounts = [{"name": "v", "mountPath": "/v"}]
    volumes = [{"name": "v", "emptyDir": {}}]
    uid = await running(device, sized("200m", text=text, volumeMounts=mounts), volumes=volumes)
    device.change(uid, sized("2", "128Mi", text, volumeMounts=mounts))
    await device.until(lambda: bool(device.condition(uid, PENDING)))
    await device.until(lambda: device.container(uid)["restartCount"] == 1 and device.runs(uid))
    assert memory_limit(device, uid) == 32 * MIB
