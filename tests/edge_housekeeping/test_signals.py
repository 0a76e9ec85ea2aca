"""A kubelet's default thresholds, and conditions that do not flap."""

from __future__ import annotations

import pytest

from edgeagent.housekeeping.signals import (
    CONDITIONS,
    RELIEF_SECONDS,
    Pressures,
    met,
    rooms_of,
)
from edgeagent.node.allocatable import EVICTION_MEMORY
from edgeagent.node.device import Disk, Readings, Room
from tests.edge_housekeeping.household import Hands

WELL = Room(1000, 1000)
CALM = dict.fromkeys(CONDITIONS, False)


@pytest.mark.parametrize(
    ("signal", "room", "condition"),
    [
        ("memory.available", Room(1 << 32, EVICTION_MEMORY - 1), "MemoryPressure"),
        ("nodefs.available", Room(1000, 99), "DiskPressure"),
        ("imagefs.available", Room(1000, 149), "DiskPressure"),
        ("nodefs.inodesFree", Room(1000, 49), "DiskPressure"),
        ("imagefs.inodesFree", Room(1000, 49), "DiskPressure"),
        ("pid.available", Room(1000, 49), "PIDPressure"),
    ],
)
def test_each_threshold_is_its_own(signal: str, room: Room, condition: str) -> None:
    assert [one.threshold.condition for one in met({signal: room})] == [condition]
    assert met({signal: Room(room.capacity, room.available + 1)}) == ()


def test_memory_comes_first_and_what_is_not_known_is_not_short() -> None:
    empty = Room(1000, 0)
    readings = Readings(memory=empty, disk=empty, inodes=empty, pids=empty)
    short = met(rooms_of(readings, Disk(empty, empty)))
    assert [one.threshold.resource for one in short] == [
        *("memory", "ephemeral-storage", "ephemeral-storage", "inodes", "inodes", "pids")
    ]
    assert met(rooms_of(Readings(), Disk())) == ()


def test_the_disk_of_images_is_judged_by_its_own_bytes_and_inodes() -> None:
    readings = Readings(disk=WELL, inodes=WELL, pids=WELL)
    for disk, signal in (
        (Disk(Room(1000, 100), WELL), "imagefs.available"),
        (Disk(WELL, Room(1000, 40)), "imagefs.inodesFree"),
    ):
        (short,) = met(rooms_of(readings, disk))
        assert short.threshold.signal == signal


def test_a_pressure_comes_at_once_and_goes_slowly() -> None:
    clock = Hands()
    pressures = Pressures(clock)
    short = met({"nodefs.available": Room(100, 1)})
    assert pressures.judge(()) == CALM
    assert pressures.judge(short) == {**CALM, "DiskPressure": True}
    clock.at += RELIEF_SECONDS - 1
    assert pressures.judge(())["DiskPressure"]
    assert pressures.judge(short)["DiskPressure"]
    clock.at += RELIEF_SECONDS - 1
    assert pressures.judge(())["DiskPressure"]
    clock.at += 2
    assert pressures.judge(()) == CALM
