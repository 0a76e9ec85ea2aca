"""Housekeeping where only a real runtime and real files can tell."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from devcluster.containerd import Containerd
from edgeagent.housekeeping.collecting import ImageCollector
from edgeagent.housekeeping.evicting import Evictor
from edgeagent.housekeeping.images import LEAST_AGE
from edgeagent.housekeeping.measuring import Measuring
from edgeagent.housekeeping.orphan_cgroups import OrphanCgroups
from edgeagent.housekeeping.orphans import Orphans
from edgeagent.housekeeping.signals import THRESHOLDS, Shortage
from edgeagent.node.device import Disk, Room, read_disk
from edgeagent.pods.resources.cgroup_files import CgroupFiles
from edgeagent.pods.resources.slices import Slices
from shared.clock import SystemClock
from shared.objects import Json
from tests.edge_housekeeping.household import Hands, Told
from tests.edge_housekeeping.test_orphans import Listed
from tests.edge_pods.device import OBEYS, Device, a_device, a_script
from tests.parts import images
from tests.parts.clearing import cleared
from tests.parts.containerd import new_containerd

CGROUPS = Path("/sys/fs/cgroup")


@pytest.fixture
async def device(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Device]:
    async with a_device(containerd, tmp_path) as one:
        yield one


class House:
    def __init__(self, device: Device, **rooms: Room) -> None:
        """``rooms``: what the device seems to have, by signal (``nodefs_available``)."""
        self.clock, self.told = Hands(), Told()
        self.room: Room | None = None
        self.rooms = {name.replace("_", "."): room for name, room in rooms.items()}
        self.measuring = Measuring(device.runtime, device.paths, asyncio.to_thread)
        self.images = ImageCollector(
            device.runtime,
            pods=device.pods,
            bodies=lambda: [one.pod for one in device.desired.pods().values()],
            clock=self.clock,
            events=self.told,  # type: ignore[arg-type]
            disk=lambda path: Disk(self.room) if self.room else read_disk(path),
            complete=lambda: True,
        )
        self.evictor = Evictor(
            device.runtime,
            pods=device.pods,
            measuring=self.measuring,
            images=self.images,
            rooms=lambda: self.rooms,
            apart=lambda: False,
            remove_files=device.materials.remove_files,
            events=self.told,  # type: ignore[arg-type]
            clock=SystemClock(),
        )


async def test_a_pod_that_fills_its_emptydir_beyond_the_limit_is_evicted(device: Device) -> None:
    house = House(device)
    mount = [{"name": "x", "mountPath": "/x"}]
    volume = [{"name": "x", "emptyDir": {"sizeLimit": "1Mi"}}]
    fill = f"dd if=/dev/zero of=/x/file bs=1024 count=2048 2>/dev/null; echo full; {OBEYS}"
    greedy = device.apply(a_script(fill, volumeMounts=mount), volumes=volume)
    modest = device.apply(a_script(f"echo full; {OBEYS}", volumeMounts=mount), volumes=volume)
    for uid in (greedy, modest):
        await device.until(lambda uid=uid: device.log(uid) == "full" and device.obeys(uid))  # type: ignore[misc]
    await house.evictor.judge_limits()
    await device.until(lambda: device.status(greedy)["phase"] == "Failed")
    status = device.status(greedy)
    assert status["reason"] == "Evicted"
    assert status["message"] == 'Usage of EmptyDir volume "x" exceeds the limit "1Mi". '
    assert "Evicted" in device.reasons(greedy)
    assert device.runs(modest)
    await device.until(lambda: not device.paths.volume(greedy, "x").exists())


async def test_the_writable_layer_of_a_container_counts(device: Device) -> None:
    house = House(device)
    limits = {"limits": {"ephemeral-storage": "1Mi"}}
    fill = f"dd if=/dev/zero of=/file bs=1024 count=4096 2>/dev/null; echo full; {OBEYS}"
    uid = device.apply(a_script(fill, resources=limits))
    await device.until(lambda: device.log(uid) == "full")
    for _ in range(30):  # The runtime measures layers at its own pace.
        await house.evictor.judge_limits()
        if device.status(uid)["phase"] == "Failed":
            break
        await asyncio.sleep(1)
    assert device.status(uid)["message"] == (
        "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. "
    )


async def test_memory_and_processes_of_pods_are_known(device: Device) -> None:
    house = House(device)
    uid = device.apply(a_script(f"sleep 3600 & sleep 3600 & echo on; {OBEYS}"))
    await device.until(lambda: device.log(uid) == "on")
    held = [one for one in device.pods.held() if one.uid == uid]
    (memory,) = await house.measuring.memory(held)
    assert memory.of("memory") > 0
    (processes,) = await house.measuring.processes(held)
    assert processes.of("pids") >= 4


async def test_under_memory_pressure_who_uses_more_than_requested_goes_first(
    device: Device,
) -> None:
    """The pressure is said, not made; measuring, choosing and stopping are real."""
    house = House(device)
    holds = f"x=$(head -c 16000000 /dev/zero | tr '\\0' x); echo on; {OBEYS}"
    greedy = device.apply(a_script(holds), priority=5)
    lesser = device.apply(a_script(f"echo on; {OBEYS}"), priority=9)
    within = {"requests": {"memory": "64Mi"}}
    modest = device.apply(a_script(holds, resources=within), priority=1)
    for uid in (greedy, lesser, modest):
        await device.until(lambda uid=uid: device.log(uid) == "on" and device.obeys(uid))  # type: ignore[misc]
    memory = next(one for one in THRESHOLDS if one.resource == "memory")
    house.rooms[memory.signal] = Room(1 << 30, 0)
    evicting = asyncio.create_task(house.evictor.run())
    house.evictor.noticed((Shortage(memory, memory.amount, memory.amount // 2),))
    await device.until(lambda: device.status(greedy)["phase"] == "Failed")
    status = device.status(greedy)
    assert status["reason"] == "Evicted"
    assert status["message"].startswith(
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. "
        "Container main was using "
    )
    (target,) = [one for one in status["conditions"] if one["type"] == "DisruptionTarget"]
    assert (target["status"], target["reason"]) == ("True", "TerminationByKubelet")
    assert device.runs(lesser) and device.runs(modest)
    house.evictor.noticed((Shortage(memory, memory.amount, memory.amount // 2),))
    await device.until(lambda: device.status(lesser)["phase"] == "Failed")
    assert device.runs(modest), "of a lower priority, but within what it requested"
    evicting.cancel()
    await asyncio.gather(evicting, return_exceptions=True)


async def evicted_in_order(device: Device, house: House, signal: str, *uids: str) -> None:
    """One for each time that the shortage is said; those after it go on."""
    threshold = next(one for one in THRESHOLDS if one.signal == signal)
    house.rooms.setdefault(signal, Room(1000, 0))
    evicting = asyncio.create_task(house.evictor.run())
    try:
        for at, uid in enumerate(uids):
            house.evictor.noticed((Shortage(threshold, 100, 7),))
            await device.until(lambda uid=uid: device.status(uid)["phase"] == "Failed")  # type: ignore[misc]
            status = device.status(uid)
            assert status["reason"] == "Evicted"
            words = f"The node was low on resource: {threshold.resource}. "
            assert status["message"].startswith(f"{words}Threshold quantity: 100, available: 7. ")
            assert device.condition(uid, "DisruptionTarget")["reason"] == "TerminationByKubelet"
            assert all(device.runs(other) for other in uids[at + 1 :])
    finally:
        evicting.cancel()
        await asyncio.gather(evicting, return_exceptions=True)


async def test_under_disk_pressure_who_uses_more_than_requested_goes_first(
    own_containerd: Containerd, tmp_path: Path
) -> None:
    """Then the lower priority, whoever uses more; the pressure is said, not made."""

    def writes(kib: int, **requests: str) -> Json:
        fill = f"dd if=/dev/zero of=/x/file bs=1024 count={kib} 2>/dev/null; echo on; {OBEYS}"
        mounts = [{"name": "x", "mountPath": "/x"}]
        return a_script(fill, volumeMounts=mounts, resources={"requests": requests})

    async with a_device(own_containerd, tmp_path) as device:
        house = House(device, nodefs_available=Room(1000, 7))
        volumes = [{"name": "x", "emptyDir": {}}]
        asked = {"ephemeral-storage": "64Mi"}
        within = device.apply(writes(8192, **asked), volumes=volumes, priority=1)
        lesser = device.apply(writes(1024), volumes=volumes, priority=5)
        greater = device.apply(writes(8192), volumes=volumes, priority=9)
        for uid in (within, lesser, greater):
            await device.until(lambda uid=uid: device.log(uid) == "on" and device.runs(uid))  # type: ignore[misc]
        await evicted_in_order(device, house, "nodefs.available", lesser, greater, within)


async def test_when_processes_run_out_the_lower_priority_goes_then_who_has_more(
    device: Device,
) -> None:
    def starts(count: int) -> Json:
        some = f"i=0; while [ $i -lt {count} ]; do sleep 3600 & i=$((i+1)); done"
        return a_script(f"{some}; echo on; {OBEYS}")

    house = House(device)
    few = device.apply(starts(1), priority=5)
    many = device.apply(starts(20), priority=5)
    lesser = device.apply(starts(5), priority=1)
    for uid in (few, many, lesser):
        await device.until(lambda uid=uid: device.log(uid) == "on" and device.runs(uid))  # type: ignore[misc]
    await evicted_in_order(device, house, "pid.available", lesser, many, few)


async def test_what_a_lost_database_left_behind_goes_and_what_runs_stays(device: Device) -> None:
    volume = [{"name": "x", "emptyDir": {}}]
    mounts = [{"name": "x", "mountPath": "/x"}]
    uid = device.apply(a_script(OBEYS, volumeMounts=mounts), volumes=volume)
    await device.until(lambda: device.runs(uid))
    await device.kill_agent()
    device.facts.records.clear()
    pod = device.desired.wanted.pop(uid).pod
    lost = device.paths.volume("lost", "x")
    lost.mkdir(parents=True)
    device.start_agent()
    orphans = Orphans(
        device.runtime,
        pods=device.pods,
        desired=Listed(),
        clock=Hands(),
        paths=device.paths,
        offload=asyncio.to_thread,
        cgroups=None,
    )
    await device.until(lambda: device.pods.adopted)
    assert await orphans.clean()
    assert not lost.exists()
    assert device.paths.volume(uid, "x").exists(), "its sandbox is there"
    assert device.paths.log_directory(pod).exists()


async def test_the_cgroup_of_a_pod_that_agent_and_runtime_have_forgotten_goes(
    device: Device,
) -> None:
    """A wiped runtime and a lost database; the cgroups of other tests' pods count as known."""
    await device.meet_runtime()
    uid = str(uuid4())
    metadata = {"name": "web", "namespace": "default", "uid": uid}
    device.put({"metadata": metadata, "spec": {"containers": [a_script(OBEYS)]}})
    await device.until(lambda: device.runs(uid))
    await device.kill_agent()
    orphans = OrphanCgroups(
        CgroupFiles(), Slices(), node=lambda: device.node, offload=asyncio.to_thread
    )

    async def clean() -> bool:
        return await orphans.clean(lambda one: one != uid)

    assert await clean() and await clean()
    assert cgroups_of(uid), "its containers run in it"
    await cleared(device.runtime, await device.sandboxes())
    assert cgroups_of(uid), "a runtime leaves it"
    assert not await clean() and await clean()
    assert not cgroups_of(uid)


def cgroups_of(uid: str) -> list[Path]:
    return [one for depth in ("", "*/", "*/*/") for one in CGROUPS.glob(f"{depth}*/pod{uid}")]


@pytest.fixture
def own_containerd(image_archive: Path) -> Iterator[Containerd]:
    """Its images are the test's to remove."""
    private = new_containerd(image_archive)
    yield private
    private.close()


async def test_images_go_but_for_those_that_pods_and_sandboxes_need(
    own_containerd: Containerd, image_archive: Path, tmp_path: Path
) -> None:
    async with a_device(own_containerd, tmp_path) as device:
        house = House(device)
        uid = device.apply({**a_script(OBEYS), "image": images.APP_V1})
        await device.until(lambda: device.runs(uid))
        await house.images.look()
        assert house.images.disk().space is not None, "the runtime tells where images are"
        before = await _tags(device)
        assert {images.APP_V1, images.APP_V2, images.PAUSE} <= before
        house.room = Room(1000, 500)
        await house.images.look()
        assert await _tags(device) == before, "there is room"
        await house.images.free_all()
        assert await _tags(device) == {images.APP_V1, images.PAUSE}
        await asyncio.to_thread(own_containerd.import_images, image_archive)
        await house.images.free_all()
        assert await _tags(device) == before, "what came since is not two minutes old"
        house.clock.at += LEAST_AGE
        await house.images.free_all()
        assert await _tags(device) == {images.APP_V1, images.PAUSE}
        again = device.apply({**a_script(OBEYS), "image": images.APP_V1})
        await device.until(lambda: device.runs(again))


async def _tags(device: Device) -> set[str]:
    return {tag for one in await device.runtime.list_images() for tag in one.tags}
