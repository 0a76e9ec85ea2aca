"""Writes Events: what devices reported, and what the hub itself has to say about pods.

One worker per object that is spoken of; the newest report replaces what waits. An Event is created
once and afterwards only its count and time are written, when they grew; what was written is
remembered, bounded, and read from the API at the start. Every node has a token bucket: a device
that talks too much is written about more slowly, and delays nobody else. While a node is still
talking its Events wait a little: in a burst the statuses go first, which people wait for.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, replace

import structlog

from cloudhub.events.event_objects import (
    AGENT,
    HUB,
    TOO_OLD,
    Involved,
    event_name,
    event_object,
    is_too_old,
    repeat_patch,
)
from cloudhub.kube.port import EVENTS, Kube
from shared.clock import Clock
from shared.errors import KubeError, KubeRefused
from shared.messages import ReportedEvent
from shared.objects import NO_NAMESPACE, Json, ObjectKey
from shared.tasks import KeyedWorkers

log = structlog.get_logger()

BURST = 500.0
"""Events that a node may have written at once: a full one that begins has four for each pod."""
PER_SECOND = 10.0
"""And how many more each second: two or three pods that come and go."""
QUIET_SECONDS, LONGEST_WAIT = 0.5, 3.0
"""How long a node has said nothing when its Events are written, and how long they wait for it."""
REMEMBERED = 20_000
AT_ONCE = 8

Name = tuple[str, str]


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float
    spoke_at: float

    def wait(self, now: float) -> float:
        """Take a token, or say in how many seconds there is one."""
        self.tokens = min(BURST, self.tokens + (now - self.filled_at) * PER_SECOND)
        self.filled_at = now
        if self.tokens >= 1:
            self.tokens -= 1
            return 0.0
        return (1 - self.tokens) / PER_SECOND


@dataclass(frozen=True, slots=True)
class _Waiting:
    since: float
    """Monotonic."""
    events: tuple[ReportedEvent, ...]


class Events:
    def __init__(self, kube: Kube, *, clock: Clock) -> None:
        self._kube = kube
        self._clock = clock
        self._waiting: dict[Involved, _Waiting] = {}
        self._written: OrderedDict[Name, int] = OrderedDict()
        self._said: OrderedDict[tuple[str, ...], tuple[int, int]] = OrderedDict()
        """Of what the hub itself said: since when, and how often."""
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._read = asyncio.Event()
        self._room = asyncio.Semaphore(AT_ONCE)
        self._workers = KeyedWorkers(self._write_all, clock=clock, name="events")

    def reported(self, involved: Involved, events: tuple[ReportedEvent, ...]) -> None:
        """Everything that its device still says about the object."""
        now = self._clock.monotonic()
        self._bucket(involved.node).spoke_at = now
        new = tuple(event for event in events if not self._is_written(involved, event))
        if new:
            before = self._waiting.get(involved)
            self._waiting[involved] = _Waiting(before.since if before else now, new)
            self._workers.wake(involved)

    def warn(self, pod: ObjectKey, uid: str, node: str, *, reason: str, message: str) -> None:
        """A Warning of the hub itself about a pod; the same words are told once an hour."""
        first, _ = self._count(uid, reason, message)
        event = ReportedEvent("Warning", reason, message, first, first)
        self._add(Involved(pod, uid, node, HUB), event)

    def say(self, node: str, kind: str, reason: str, message: str) -> None:
        """Of the hub itself about a Node; ``kind`` is Normal or Warning. The same words within an
        hour are one Event with a count."""
        first, count = self._count(node, reason, message)
        event = ReportedEvent(kind, reason, message, first, int(self._clock.now()), count)
        self._add(Involved(ObjectKey("Node", NO_NAMESPACE, node), node, node, HUB), event)

    def _count(self, *said: str) -> tuple[int, int]:
        now = int(self._clock.now())
        first, count = self._said.pop(said, (now, 0))
        self._said[said] = (first, count + 1) if now - first < TOO_OLD else (now, 1)
        if len(self._said) > REMEMBERED:
            self._said.popitem(last=False)
        return self._said[said]

    def _add(self, involved: Involved, event: ReportedEvent) -> None:
        """To what the hub has said of the object and is not written yet."""
        waiting = self._waiting.get(involved)
        before = waiting.events if waiting else ()
        others = (one for one in before if one.identity != event.identity)
        self.reported(involved, (*others, event))

    async def run(self) -> None:
        """Until cancelled."""
        try:
            await self._read_written()
            await asyncio.get_running_loop().create_future()
        finally:
            await self._workers.stop()

    async def _read_written(self) -> None:
        """One list at the start saves a refused create for every Event still retained."""
        try:
            found = await self._kube.list(EVENTS, field_selector=f"reportingComponent={AGENT}")
            for event in found:
                self._remember(_name(event), int(event.get("count") or 1))
        except (KubeError, KubeRefused) as error:
            log.warning("own Events not read", error=str(error))
        self._read.set()

    # -- one object at a time

    async def _write_all(self, involved: Involved) -> float | None:
        await self._read.wait()
        waiting = self._waiting.get(involved)
        if waiting is None:
            return None
        if wait := self._until_quiet(involved.node, waiting):
            return wait
        del self._waiting[involved]
        for done, event in enumerate(waiting.events):
            if self._is_written(involved, event) or is_too_old(event, self._clock.now()):
                continue
            wait = self._bucket(involved.node).wait(self._clock.monotonic())
            if wait:
                self._put_off(involved, waiting, done)
                return wait
            try:
                async with self._room:
                    await self._write(involved, event)
            except KubeError:
                self._put_off(involved, waiting, done)
                raise
        return None

    def _until_quiet(self, node: str, waiting: _Waiting) -> float:
        """Seconds until these may be written."""
        quiet = self._bucket(node).spoke_at + QUIET_SECONDS
        return max(0.0, min(quiet, waiting.since + LONGEST_WAIT) - self._clock.monotonic())

    def _put_off(self, involved: Involved, waiting: _Waiting, done: int) -> None:
        """A newer report of a device has all of them and replaces them; the hub says one by one."""
        left, newer = waiting.events[done:], self._waiting.get(involved)
        if newer is None:
            self._waiting[involved] = replace(waiting, events=left)
        elif involved.component == HUB:
            again = {one.identity for one in newer.events}
            left = tuple(one for one in left if one.identity not in again)
            self._waiting[involved] = replace(newer, events=left + newer.events)

    async def _write(self, involved: Involved, event: ReportedEvent) -> None:
        name = (involved.namespace, event_name(involved, event))
        try:
            if name not in self._written or not await self._repeat(name, event):
                await self._create(name, involved, event)
        except KubeRefused as refused:
            # Its namespace is going, or it is no Event for this server: neither gets better.
            log.warning("event refused", object=str(involved.key), error=str(refused)[:300])
        self._remember(name, event.count)

    async def _create(self, name: Name, involved: Involved, event: ReportedEvent) -> None:
        now = self._clock.now()
        try:
            await self._kube.create(EVENTS, name[0], event_object(involved, event, now))
        except KubeRefused as refused:
            if refused.status != 409:
                raise
            found = await self._kube.get(EVENTS, *name)
            if found is not None and int(found.get("count") or 1) < event.count:
                await self._repeat(name, event)

    async def _repeat(self, name: Name, event: ReportedEvent) -> bool:
        """False when the API server has let the Event go, as it does after an hour."""
        try:
            await self._kube.patch(EVENTS, *name, repeat_patch(event, self._clock.now()))
        except KubeRefused as refused:
            if refused.status != 404:
                raise
            return False
        return True

    def _is_written(self, involved: Involved, event: ReportedEvent) -> bool:
        count = self._written.get((involved.namespace, event_name(involved, event)))
        return count is not None and count >= event.count

    def _remember(self, name: Name, count: int) -> None:
        self._written[name] = count
        self._written.move_to_end(name)
        if len(self._written) > REMEMBERED:
            self._written.popitem(last=False)

    def _bucket(self, node: str) -> _Bucket:
        bucket = self._buckets.get(node)
        if bucket is None:
            now = self._clock.monotonic()
            bucket = self._buckets[node] = _Bucket(BURST, filled_at=now, spoke_at=now)
        self._buckets.move_to_end(node)
        if len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)
        return bucket


def _name(event: Json) -> Name:
    return event["metadata"]["namespace"], event["metadata"]["name"]
