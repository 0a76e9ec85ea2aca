"""A disk that truly fills up: all files of a device and its containerd are on one of 400 MiB."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from devcluster.containerd import Containerd
from edgeagent.housekeeping.collecting import ImageCollector
from edgeagent.housekeeping.evicting import Evictor
from edgeagent.housekeeping.images import LEAST_AGE
from edgeagent.housekeeping.measuring import Measuring
from edgeagent.housekeeping.signals import Pressures, Rooms, met, rooms_of
from edgeagent.node.device import Disk, Readings, read_disk
from shared.clock import SystemClock
from shared.objects import Json
from shared.tasks import stop
from tests.edge_housekeeping.household import Hands, Told
from tests.edge_pods.device import OBEYS, Device, a_device, a_script
from tests.parts import images
from tests.parts.containerd import new_containerd
from tests.parts.looking import looked_up
from tests.parts.missing import need_root
from tests.runtime_contract.worlds import eventually

MIB = 1024 * 1024
BIG = [f"kubetide.test/big-{number}:1" for number in range(5)]
"""Images that nobody needs, of 8 MiB that no compression makes smaller."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    need_root("a disk of its own")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "disk", folder], check=True)
    # Pods with users of their own pass through it to their files.
    folder.chmod(0o755)
    yield folder
    # A shim that was killed just now may still have its folder there.
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def small(disk: Path, image_archive: Path) -> Iterator[Containerd]:
    private = new_containerd(image_archive, disk=disk)
    yield private
    private.close()


class SmallDevice:
    """Looks at its disk as an agent does; time passes when the test says so."""

    def __init__(self, device: Device, disk: Path, containerd: Containerd) -> None:
        self.device, self._disk, self._containerd = device, disk, containerd
        self.clock, self.told = Hands(), Told()
        self.pressures = Pressures(self.clock)
        self.images = ImageCollector(
            device.runtime,
            pods=device.pods,
            bodies=lambda: [one.pod for one in device.desired.pods().values()],
            clock=self.clock,
            events=self.told,  # type: ignore[arg-type]
            disk=read_disk,
            complete=lambda: True,
        )
        self.evictor = Evictor(
            device.runtime,
            pods=device.pods,
            measuring=Measuring(device.runtime, device.paths, asyncio.to_thread),
            images=self.images,
            rooms=self.rooms,
            apart=lambda: False,
            remove_files=device.materials.remove_files,
            events=self.told,  # type: ignore[arg-type]
            clock=SystemClock(),
        )

    def rooms(self) -> Rooms:
        """Of its disk alone: the memory of the machine is not the test's."""
        files = self._look()
        return rooms_of(Readings(disk=files.space, inodes=files.inodes), self.images.disk())

    def _look(self) -> Disk:
        return read_disk(str(self._disk))

    def free_percent(self) -> float:
        space = self._look().space
        assert space is not None
        return 100 * space.available / space.capacity

    def fill(self, until_free: float) -> None:
        """Somebody else's file, until so many percent are free."""
        with (self._disk / "somebody-elses").open("wb") as file:
            space = self._look().space
            assert space is not None
            size = space.available - int(space.capacity * until_free / 100)
            os.posix_fallocate(file.fileno(), 0, size)

    async def have_big_images(self, folder: Path) -> None:
        """One after the other, so that the first is the one unused for the longest time."""
        for name in BIG:
            archive = folder / "big.tar"
            layer = images.layer({"data": (os.urandom(8 * MIB), 0o644)})
            images.write_archive(archive, [(images.ImageSpec(name), layer)])
            await asyncio.to_thread(self._containerd.import_images, archive)
            archive.unlink()
            await self.images.look()
            self.clock.at += 10
        self.clock.at += LEAST_AGE

    async def tags(self) -> set[str]:
        return {tag for one in await self.device.runtime.list_images() for tag in one.tags}

    def notice(self) -> bool:
        """One look at the disk; whether it is under pressure."""
        shortages = met(self.rooms())
        self.evictor.noticed(shortages)
        return self.pressures.judge(shortages)["DiskPressure"]


@asynccontextmanager
async def a_small_device(
    containerd: Containerd, disk: Path, folder: Path
) -> AsyncIterator[SmallDevice]:
    (disk / "device").mkdir()
    async with a_device(containerd, disk / "device") as device:
        small = SmallDevice(device, disk, containerd)
        await small.have_big_images(folder)
        evicting = asyncio.create_task(small.evictor.run())
        try:
            yield small
        finally:
            await stop(evicting)


def a_writer(mib: int) -> Json:
    """Writes so much into its volume when it is let go."""
    waits = "until [ -e /x/go ]; do sleep 0.1; done"
    fill = f"dd if=/dev/zero of=/x/file bs=1048576 count={mib} 2>/dev/null; echo full"
    return a_script(f"{waits}; {fill}; {OBEYS}", volumeMounts=[{"name": "x", "mountPath": "/x"}])


async def test_images_go_when_their_disk_is_85_percent_full_the_longest_unused_first(
    small: Containerd, disk: Path, tmp_path: Path
) -> None:
    async with a_small_device(small, disk, tmp_path) as one:
        one.device.apply({**a_script(OBEYS), "image": BIG[0]})
        kept = one.device.apply({**a_script(OBEYS), "image": images.APP_V1})
        await one.device.until(lambda: one.device.runs(kept))
        one.fill(until_free=18)
        before = await one.tags()
        await one.images.look()
        assert await one.tags() == before, "82 % is not too full"
        one.fill(until_free=14)
        await one.images.look()
        left = await one.tags()
        assert {BIG[0], images.APP_V1, images.PAUSE} <= left, "pods need them, started or not"
        assert BIG[1] not in left
        assert BIG[-1] in left, "the last one was in use a moment ago, and there is room again"

        async def has_room() -> bool:
            return one.free_percent() >= 20

        await eventually(has_room)
        again = one.device.apply({**a_script(OBEYS), "image": images.APP_V1})
        await one.device.until(lambda: one.device.runs(again))
        assert "FreeDiskSpaceFailed" not in one.told.reasons()


async def test_on_a_full_disk_unused_images_and_dead_containers_go_before_pods(
    small: Containerd, disk: Path, tmp_path: Path
) -> None:
    async with a_small_device(small, disk, tmp_path) as one:
        device = one.device
        runs = device.apply(a_script(OBEYS))
        dead = device.apply(a_script("head -c 8000000 /dev/urandom > /file"), restartPolicy="Never")
        await device.until(lambda: device.runs(runs) and bool(device.ended(dead)))
        assert not one.notice(), "there is room"
        one.fill(until_free=12)
        assert one.notice(), "the condition DiskPressure comes at once"

        container_id = device.container(dead)["containerID"].partition("://")[2]

        async def all_have_gone() -> bool:
            unused = (await one.tags()).intersection(BIG)
            return not unused and await looked_up(device.runtime, container_id) is None

        await eventually(all_have_gone)
        assert one.free_percent() > 15
        assert one.told.reasons() == ["EvictionThresholdMet"]
        assert device.runs(runs), "no pod had to go"
        one.clock.at += 299
        assert one.notice(), "the condition stays for five minutes"
        device.materials.node_changed(replace(device.node, pressures=("DiskPressure",)))
        refused = device.apply(a_script(OBEYS))
        await device.until(lambda: device.status(refused).get("phase") == "Failed")
        assert device.status(refused)["reason"] == "Evicted"
        assert device.status(refused)["message"] == (
            "Pod was rejected: The node had condition: [DiskPressure]. "
        )
        one.clock.at += 2
        assert not one.notice()


async def test_a_pod_that_fills_the_disk_is_evicted_and_its_files_go(
    small: Containerd, disk: Path, tmp_path: Path
) -> None:
    async with a_small_device(small, disk, tmp_path) as one:
        device = one.device
        volumes = [{"name": "x", "emptyDir": {}}]
        greedy = device.apply(a_writer(80), volumes=volumes, priority=9)
        modest = device.apply(a_writer(1), volumes=volumes, priority=9)
        for uid in (greedy, modest):
            await device.until(lambda uid=uid: device.runs(uid))  # type: ignore[misc]
        await one.images.free_all()
        one.fill(until_free=25)
        assert not one.notice()
        for uid in (greedy, modest):
            (device.paths.volume(uid, "x") / "go").touch()
            await device.until(lambda uid=uid: device.log(uid) == "full")  # type: ignore[misc]
        assert one.notice()
        await device.until(lambda: device.status(greedy).get("phase") == "Failed")
        assert device.status(greedy)["reason"] == "Evicted"
        assert device.status(greedy)["message"].startswith(
            "The node was low on resource: ephemeral-storage. Threshold quantity: "
        )
        await device.until(lambda: not device.paths.pod(greedy).exists())
        assert one.free_percent() > 15
        assert device.runs(modest)
