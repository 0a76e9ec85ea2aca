"""Housekeeping put together: what keeps a device healthy besides running its pods.

Owns the order, and no decision: each part has its module. Root task of the agent, begun when the
pods are being worked on. What fails here, whatever it is, is told and tried again, and never stops
a pod. On a device without files of its own (the simulator's) nothing that needs them runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from edgeagent.desired import DesiredSet
from edgeagent.housekeeping.collecting import ImageCollector
from edgeagent.housekeeping.evicting import Evictor
from edgeagent.housekeeping.linking import LogLinks
from edgeagent.housekeeping.measuring import Measuring
from edgeagent.housekeeping.nodevents import NodeEvents
from edgeagent.housekeeping.orphan_cgroups import OrphanCgroups
from edgeagent.housekeeping.orphans import Orphans
from edgeagent.housekeeping.rotating import LogRotation
from edgeagent.housekeeping.signals import Pressures, met, rooms_of
from edgeagent.node.device import Disk, Readings
from edgeagent.pods.held import PodsOfDevice
from edgeagent.pods.logs import leftovers
from edgeagent.pods.model.paths import PodPaths
from edgeagent.pods.model.podevents import normal
from edgeagent.pods.ports import Reports
from edgeagent.runtime.port import Container, Runtime
from shared.clock import Clock
from shared.objects import Json
from shared.threads import Offload

log = structlog.get_logger()

AGAIN_SECONDS = 10.0
"""Until a loop that ended by an error that nobody expected is begun again."""

_TRANSITIONS = {
    "MemoryPressure": ("NodeHasSufficientMemory", "NodeHasInsufficientMemory"),
    "DiskPressure": ("NodeHasNoDiskPressure", "NodeHasDiskPressure"),
    "PIDPressure": ("NodeHasSufficientPID", "NodeHasInsufficientPID"),
}
"""Reason of the Event when a condition goes, and when it comes."""


@dataclass(frozen=True)
class Household:
    """What the parts have in common."""

    node: str
    runtime: Runtime
    pods: PodsOfDevice
    desired: DesiredSet
    reports: Reports
    clock: Clock
    paths: PodPaths
    look: Callable[[], Readings]
    disk: Callable[[str], Disk]
    """The file system that a path is on."""
    offload: Offload | None
    """Runs what blocks on files away from the loop; None = there are no files."""
    cgroups: OrphanCgroups | None = None
    """Of pods that nobody knows; None where the runtime has no cgroups."""


class Housekeeping:
    def __init__(self, house: Household) -> None:
        self._house = house
        self._events = NodeEvents(house.node, house.reports, house.clock)
        self._pressures = Pressures(house.clock)
        self._before: dict[str, bool] = {}
        self._images = ImageCollector(
            house.runtime,
            pods=house.pods,
            bodies=lambda: [one.pod for one in house.desired.pods().values()],
            clock=house.clock,
            events=self._events,
            disk=house.disk,
            complete=lambda: house.desired.complete,
        )
        self._evictor = Evictor(
            house.runtime,
            pods=house.pods,
            measuring=Measuring(house.runtime, house.paths, house.offload),
            images=self._images,
            rooms=lambda: rooms_of(house.look(), self._images.disk()),
            apart=self._images_are_apart,
            remove_files=self._remove_files,
            events=self._events,
            clock=house.clock,
        )

    def _images_are_apart(self) -> bool:
        """Whether they are known to have a disk of their own."""
        images, data = self._images.disk(), self._house.disk(str(self._house.paths.data))
        return None not in (images.device, data.device) and images.device != data.device

    async def _remove_files(self, pod: Json, container: Container) -> None:
        if self._house.offload is not None:
            paths = self._house.paths
            await self._house.offload(lambda: leftovers.remove_files(paths, pod, container))

    def judge(self, readings: Readings) -> dict[str, bool]:
        """Which pressures the device is under; if it is short of something, acting begins."""
        shortages = met(rooms_of(readings, self._images.disk()))
        self._evictor.noticed(shortages)
        under = self._pressures.judge(shortages)
        for kind, now in under.items():
            if self._before.get(kind, False) != now:
                reason = _TRANSITIONS[kind][now]
                words = f"Node {self._house.node} status is now: {reason}"
                self._events.record(normal(reason, words))
        self._before = under
        return under

    async def run(self) -> None:
        await asyncio.gather(*(self._kept_up(loop) for loop in self._loops()))

    async def _kept_up(self, loop: Callable[[], Awaitable[None]]) -> None:
        """A device that is out of threads or files gets its agent to make room, not without one."""
        while True:
            try:
                return await loop()
            except Exception:
                log.exception("housekeeping failed, begun again", part=loop.__qualname__)
            await self._house.clock.sleep(AGAIN_SECONDS)

    def _loops(self) -> list[Callable[[], Awaitable[None]]]:
        loops: list[Callable[[], Awaitable[None]]] = [
            *(self._events.run, self._images.run, self._evictor.run)
        ]
        house = self._house
        if house.offload is None:
            return loops
        rotation = LogRotation(
            house.runtime, pods=house.pods, clock=house.clock, offload=house.offload
        )
        links = LogLinks(
            pods=house.pods, clock=house.clock, paths=house.paths, offload=house.offload
        )
        orphans = Orphans(
            house.runtime,
            pods=house.pods,
            desired=house.desired,
            clock=house.clock,
            paths=house.paths,
            offload=house.offload,
            cgroups=house.cgroups,
        )
        return [*loops, rotation.run, links.run, orphans.run]
