"""Keeps the device alive when it runs short: makes room, and evicts one pod at a time if it must.

Owns the acting: the order of a kubelet is limits of pods first, then unused images (if they are on
the disk that is short), then pods.
Who goes is decided by ``deciding.py``; nothing here stops anything itself. It costs nothing while
nothing is short: ``noticed`` is called with every look at the device, and measuring begins then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import structlog

from edgeagent.housekeeping import deciding
from edgeagent.housekeeping.collecting import ImageCollector
from edgeagent.housekeeping.measuring import Measuring
from edgeagent.housekeeping.nodevents import NodeEvents
from edgeagent.housekeeping.signals import DISK, Rooms, Shortage, met, part_of
from edgeagent.housekeeping.usage import Part, PodUse
from edgeagent.pods.held import HeldPod, PodsOfDevice
from edgeagent.pods.model.podevents import warning
from edgeagent.pods.model.view import Eviction
from edgeagent.runtime.port import Container, ContainerState, Runtime
from shared.clock import Clock
from shared.errors import KubetideError
from shared.objects import Json
from shared.tasks import run_together

log = structlog.get_logger()

LIMITS_SECONDS = 60.0
_SHARE = 50
"""Measuring limits may take one part in so many of the time."""
PATIENCE = 30.0
"""How long an evicted pod is waited for before the next one goes."""


class Evictor:
    def __init__(
        self,
        runtime: Runtime,
        *,
        pods: PodsOfDevice,
        measuring: Measuring,
        images: ImageCollector,
        rooms: Callable[[], Rooms],
        apart: Callable[[], bool],
        remove_files: Callable[[Json, Container], Awaitable[None]],
        events: NodeEvents,
        clock: Clock,
    ) -> None:
        """``apart``: whether images have a disk of their own; ``remove_files`` takes away what a
        container that goes has on the disk."""
        self._runtime = runtime
        self._pods = pods
        self._measuring = measuring
        self._images = images
        self._rooms = rooms
        self._apart = apart
        self._remove_files = remove_files
        self._events = events
        self._clock = clock
        self._urgent, self._slow = _Notice(slow=False), _Notice(slow=True)
        self._last: tuple[str, float] | None = None
        """The pod that was evicted last, and when."""

    def noticed(self, shortages: tuple[Shortage, ...]) -> None:
        """What the device is short of at this moment."""
        self._urgent.tell(shortages)
        self._slow.tell(shortages)

    async def run(self) -> None:
        """What one of them did not expect ends all of them: they begin anew together."""
        await run_together(
            urgent=self._watch_device(self._urgent),
            slow=self._watch_device(self._slow),
            limits=self._watch_limits(),
        )

    async def _watch_device(self, notice: _Notice) -> None:
        while True:
            shortage = await notice.next()
            try:
                await self._relieve(shortage)
            except KubetideError as error:
                log.warning("shortage not relieved", error=str(error))

    async def _watch_limits(self) -> None:
        pause = LIMITS_SECONDS
        while True:
            await self._clock.sleep(pause)
            began = self._clock.monotonic()
            try:
                await self.judge_limits()
            except KubetideError as error:
                log.warning("limits of pods not measured", error=str(error))
            pause = max(LIMITS_SECONDS, _SHARE * (self._clock.monotonic() - began))

    async def judge_limits(self) -> None:
        """Evict the pods that use more of the disk than they may."""
        limited = [one for one in self._candidates() if deciding.has_storage_limits(one.pod)]
        if not limited:
            return
        apart = self._apart()
        for use in await self._measuring.disk(limited):
            eviction = deciding.beyond_limits(use, apart=apart)
            if eviction is not None:
                self._evict(use, eviction)

    async def _relieve(self, shortage: Shortage) -> None:
        resource = shortage.threshold.resource
        self._events.record(warning("EvictionThresholdMet", f"Attempting to reclaim {resource}"))
        if self._is_waiting():
            return
        part = part_of(shortage.threshold, apart=self._apart())
        if shortage.threshold.condition == DISK and Part.LAYERS in part:
            await self._reclaim()
            if not self._lasts(shortage):
                return
        found = await self._measured(resource)
        if not self._lasts(shortage) or self._is_waiting():
            return  # Measuring takes its time, and nobody is to go for what is over.
        use = deciding.victim(shortage, found, part)
        if use is None:
            log.error("the device is short and no pod may be evicted", resource=resource)
            return
        self._evict(use, Eviction(deciding.words(shortage, use)))

    def _lasts(self, shortage: Shortage) -> bool:
        return shortage.threshold in [one.threshold for one in met(self._rooms())]

    async def _reclaim(self) -> None:
        """What nobody misses: containers of pods that have ended, then unused images.

        What cannot go keeps nothing else, nor the eviction after it.
        """
        for pod in self._pods.held():
            for one in pod.containers(ContainerState.EXITED) if pod.ended else ():
                await self._tried(self._remove(pod.pod, one))
        await self._tried(self._images.free_all())

    async def _remove(self, pod: Json, container: Container) -> None:
        await self._remove_files(pod, container)
        await self._runtime.remove_container(container.id)

    async def _tried(self, reclaiming: Awaitable[None]) -> None:
        try:
            await reclaiming
        except (OSError, KubetideError) as error:
            log.warning("less was reclaimed", error=str(error))

    async def _measured(self, resource: str) -> list[PodUse]:
        candidates = self._candidates()
        if resource == "memory":
            return await self._measuring.memory(candidates)
        if resource == "pids":
            return await self._measuring.processes(candidates)
        return await self._measuring.disk(candidates)

    def _candidates(self) -> list[HeldPod]:
        return [one for one in self._pods.held() if one.active and not one.leaving]

    def _evict(self, use: PodUse, eviction: Eviction) -> None:
        log.warning("pod evicted", pod_uid=use.uid, why=eviction.message.strip())
        self._last = (use.uid, self._clock.monotonic())
        self._pods.evict(use.uid, eviction)

    def _is_waiting(self) -> bool:
        """Whether the pod evicted last may still give something back."""
        if self._last is None or self._clock.monotonic() - self._last[1] >= PATIENCE:
            return False
        return any(one.uid == self._last[0] and one.active for one in self._pods.held())


class _Notice:
    """What the device is short of, for the one who acts on it.

    A disk is measured slowly, and memory is lost at once: neither waits for the other.
    """

    def __init__(self, *, slow: bool) -> None:
        self._is_slow = slow
        self._news = asyncio.Event()
        self._shortages: list[Shortage] = []

    def tell(self, shortages: Iterable[Shortage]) -> None:
        self._shortages = [
            one for one in shortages if (one.threshold.condition == DISK) is self._is_slow
        ]
        if self._shortages:
            self._news.set()
        else:
            self._news.clear()

    async def next(self) -> Shortage:
        """The most urgent, as soon as there is one; each is told of once."""
        while True:
            await self._news.wait()
            self._news.clear()
            if self._shortages:  # It may have ended between the waking and this moment.
                return self._shortages[0]
