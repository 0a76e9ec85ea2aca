"""What the device is short of: thresholds, and the Node conditions that follow from them.

Owns a kubelet's default hard thresholds and the slow way back of a condition. Acting goes by what
is short now (``met``), conditions stay for five minutes longer. What cannot be measured is not
short. Pure but for the clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgeagent.housekeeping.usage import Part
from edgeagent.node.allocatable import DISK_PERCENT, EVICTION_MEMORY
from edgeagent.node.device import Disk, Readings, Room
from shared.clock import Clock

_IMAGES_PERCENT, _INODES_PERCENT, _PIDS_PERCENT = 15, 5, 5
DISK = "DiskPressure"
RELIEF_SECONDS = 300.0
"""A pressure counts as over when it was gone for this long."""

Rooms = Mapping[str, Room | None]
"""By signal."""


@dataclass(frozen=True, slots=True)
class Threshold:
    signal: str
    condition: str
    resource: str
    """What messages call it."""
    amount: int = 0
    percent: int = 0

    def least(self, room: Room) -> int:
        return self.amount or room.capacity * self.percent // 100


THRESHOLDS = (
    Threshold("memory.available", "MemoryPressure", "memory", amount=EVICTION_MEMORY),
    Threshold("nodefs.available", DISK, "ephemeral-storage", percent=DISK_PERCENT),
    Threshold("imagefs.available", DISK, "ephemeral-storage", percent=_IMAGES_PERCENT),
    Threshold("nodefs.inodesFree", DISK, "inodes", percent=_INODES_PERCENT),
    Threshold("imagefs.inodesFree", DISK, "inodes", percent=_INODES_PERCENT),
    Threshold("pid.available", "PIDPressure", "pids", percent=_PIDS_PERCENT),
)
"""Most urgent first: memory is lost at once, a disk fills slowly."""

CONDITIONS = ("MemoryPressure", DISK, "PIDPressure")


@dataclass(frozen=True, slots=True)
class Shortage:
    threshold: Threshold
    least: int
    available: int


def part_of(threshold: Threshold, *, apart: bool) -> Part:
    """What pods have on the disk that is short, where images may be on one of their own."""
    if not apart:
        return Part.ALL
    return Part.LAYERS if threshold.signal.startswith("imagefs.") else Part.FOLDERS


def rooms_of(readings: Readings, images: Disk) -> Rooms:
    return {
        "memory.available": readings.memory,
        "nodefs.available": readings.disk,
        "imagefs.available": images.space,
        "nodefs.inodesFree": readings.inodes,
        "imagefs.inodesFree": images.inodes,
        "pid.available": readings.pids,
    }


def met(rooms: Rooms) -> tuple[Shortage, ...]:
    """Every threshold that is crossed now, most urgent first."""
    found = []
    for threshold in THRESHOLDS:
        room = rooms.get(threshold.signal)
        if room is not None and room.available < threshold.least(room):
            found.append(Shortage(threshold, threshold.least(room), room.available))
    return tuple(found)


class Pressures:
    """The conditions of the node, with a slow way back so that they do not flap."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[str, float] = {}
        """When each condition was last caused."""

    def judge(self, shortages: tuple[Shortage, ...]) -> dict[str, bool]:
        now = self._clock.monotonic()
        self._seen.update({one.threshold.condition: now for one in shortages})
        return {
            kind: kind in self._seen and now - self._seen[kind] < RELIEF_SECONDS
            for kind in CONDITIONS
        }
