"""Brings the pods to rest while logind holds up the shutdown, and lets it go on then.

Owns the lock and the state "shutting down". What logind says decides, and it is asked again with
every piece of news: a shutdown that was called off takes the pods up again. Who stops when is
``planning.py``'s; how a pod stops is the pod planner's. Root task of the agent (``run``).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from edgeagent.housekeeping.nodevents import NodeEvents
from edgeagent.pods.held import PodsToStop
from edgeagent.pods.model.podevents import normal
from edgeagent.shutdown.opening import follow_logind
from edgeagent.shutdown.planning import Course, Turns
from edgeagent.shutdown.port import Connect, Lock, Logind
from shared.clock import Clock
from shared.errors import KubetideError
from shared.tasks import alone, stop

log = structlog.get_logger()

DROP_IN = "/etc/systemd/logind.conf.d/kubetide.conf"
LOOK_SECONDS = 0.05
TELL_SECONDS = 2.0
DELIVERY_SECONDS = 5.0
"""Most that the shutdown waits for reports to be acknowledged, however much time is left."""


class Delivery(Protocol):
    async def __call__(self, *, within: float) -> bool:
        """Store and send everything there is to say; whether all of it was acknowledged."""
        ...


@dataclass(frozen=True)
class Neighbours:
    pods: PodsToStop
    events: NodeEvents
    tell: Callable[[], Awaitable[None]]
    """Report the Node as it is now."""
    deliver: Delivery
    clock: Clock


class NodeShutdown:
    def __init__(self, turns: Turns, connect: Connect | None, neighbours: Neighbours) -> None:
        """Without a way to connect, or without time to give, nothing is done."""
        self.shutting_down = False
        self._asked = turns
        self._connect = connect
        self._parts = neighbours
        self._lock: Lock | None = None
        self._stopping: asyncio.Task[None] | None = None

    async def run(self) -> None:
        if self._connect is None or not self._asked.total:
            await asyncio.Event().wait()
            return
        try:
            await asyncio.gather(
                self._parts.events.run(),
                follow_logind(self._connect, self.follow, clock=self._parts.clock),
            )
        finally:
            await self._call_off()
            self._release()

    async def follow(self, logind: Logind) -> None:
        """As long as this connection; a lock from an older one may be worth nothing."""
        fresh = True
        while True:
            if await logind.preparing():
                await self._begin(logind)
            else:
                await self._resume()
                if fresh or self._lock is None:
                    await self._take_lock(logind)
                    fresh = False
                    continue  # A shutdown that began just before the lock is seen now.
            await logind.news()

    async def _take_lock(self, logind: Logind) -> None:
        lock = await logind.inhibit()
        self._release()
        self._lock = lock
        allowed = await logind.longest_delay()
        log.info("a shutdown of the device waits for its pods", seconds=self._turns(allowed).total)
        if allowed < self._asked.total:
            log.warning(
                "logind gives pods less time to stop than is set: put InhibitDelayMaxSec="
                f"{self._asked.total:g} under [Login] in {DROP_IN} and restart systemd-logind",
                asked=self._asked.total,
                allowed=allowed,
            )

    def _turns(self, allowed: float) -> Turns:
        return self._asked.within(allowed)

    async def _begin(self, logind: Logind) -> None:
        if self.shutting_down:
            return
        turns = self._turns(await logind.longest_delay())
        self.shutting_down = True
        log.warning("the device shuts down, pods are stopped", seconds=turns.total)
        self._record("Shutdown manager detected shutdown event")
        self._stopping = alone(self._stop(turns), name="stop pods")

    async def _resume(self) -> None:
        if not self.shutting_down:
            return
        log.warning("the shutdown was called off, pods are taken up again")
        await self._call_off()
        self.shutting_down = False
        self._parts.pods.shut_down(None)
        self._record("Shutdown manager detected shutdown cancellation")
        await self._tell()

    async def _call_off(self) -> None:
        if self._stopping is not None:
            await stop(self._stopping)
            self._stopping = None

    def _record(self, words: str) -> None:
        self._parts.events.record(normal("Shutdown", words))

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    async def _stop(self, turns: Turns) -> None:
        """Whatever goes wrong here, the machine must be able to shut down."""
        clock = self._parts.clock
        ends = clock.monotonic() + turns.total
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._tell())
                await self._stop_in_turns(turns)
            await self._parts.deliver(within=min(ends - clock.monotonic(), DELIVERY_SECONDS))
        except Exception:
            log.exception("pods were not stopped in order")
        log.warning("the device may shut down now")
        self._release()

    async def _stop_in_turns(self, turns: Turns) -> None:
        if self._parts.pods.fenced:
            return
        course = Course(turns, ())
        for share in turns.shares:
            now = self._parts.clock.monotonic()
            course = replace(course, since=(*course.since, now))
            await self._bring_to_rest(course, until=now + share)

    async def _bring_to_rest(self, course: Course, *, until: float) -> None:
        pods, clock = self._parts.pods, self._parts.clock
        pods.shut_down(course)
        while not pods.looked_through or course.waits_for(pods.held()):
            if clock.monotonic() >= until:
                left = [one.uid for one in course.waits_for(pods.held())]
                log.warning("pods did not stop in their time", pods=left)
                return
            await clock.sleep(LOOK_SECONDS)

    async def _tell(self) -> None:
        """A runtime that hangs holds nothing up."""
        with contextlib.suppress(KubetideError, TimeoutError):
            async with asyncio.timeout(TELL_SECONDS):
                await self._parts.tell()
