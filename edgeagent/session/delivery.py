"""Takes messages about the desired set from the reader to the disk and on to the pods layer.

Order of every step: decide (``inbox``), one SQLite transaction, PUBACK, replace the live set. What
cannot be stored is neither acknowledged nor applied, and is tried again. Messages that came
together go into one transaction. Outlives connections: a step is never cut in half by a lost one.

A device that was away is told in order all that was in between, and the pods are not to act on
it: what comes is stored, and the live set replaced once, when the head of the list is reached.
The head is the retained change, which the broker sends behind all that it queued on that topic.
A broker that does not send it, or has lost it, is known by its silence.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import structlog

from edgeagent.desired import Desired, DesiredSet
from edgeagent.session.inbox import (
    Accept,
    Decision,
    Ignore,
    NeedInventory,
    on_change,
    on_inventory,
    on_object,
)
from edgeagent.session.rejecting import Rejections
from edgeagent.store.desired import DesiredStore
from shared.backoff import Backoff
from shared.clock import Clock
from shared.errors import StoreBusy, WireError
from shared.link import Connection, Message
from shared.messages import Change, DesiredObject, Inventory
from shared.objects import ObjectKey
from shared.topics import NodeTopics

log = structlog.get_logger()

BATCH = 64
MOST_TOPICS = 8
"""More missing bodies than this are fetched with one filter for all."""
CATCH_UP_SECONDS = 10.0
SILENCE_SECONDS = 2.0
"""The pods do not wait longer for the head of the list, all in all and after what came last."""


class Delivery:
    def __init__(
        self,
        topics: NodeTopics,
        *,
        desired: DesiredSet,
        store: DesiredStore,
        clock: Clock,
        rejections: Rejections,
        rng: random.Random,
    ) -> None:
        self.progress = asyncio.Event()
        """What has to be fetched changed."""
        self.broker_is_behind: Callable[[], None] = lambda: None
        self.strays: set[str] = set()
        """Filters that the broker serves though nobody wants them now."""
        self._topics = topics
        self._desired = desired
        self._store = store
        self._clock = clock
        self._rejections = rejections
        self._rng = rng
        self._target = 0
        self._held: Desired | None = None
        """Stored already, and not shown to the pods yet."""
        self._catching_up = self._head_came = False
        self._came = 0.0
        self._in_hand = False
        self._queue: asyncio.Queue[tuple[Connection, Message]] = asyncio.Queue()

    # -- what the connection says

    def take(self, connection: Connection, message: Message) -> None:
        self._came = self._clock.monotonic()
        self._queue.put_nowait((connection, message))

    def connected(self, *, session_present: bool) -> None:
        """Unhandled messages of older connections come again. A new device asks for its list."""
        while not self._queue.empty():
            self._queue.get_nowait()
        self.strays.clear()
        self._target = 0 if self.newest.known else 1
        self._catching_up = session_present and self.newest.known
        self._head_came = False
        self.progress.set()

    async def catch_up(self) -> None:
        """As long as the connection; begun when the broker has answered all that it was asked."""
        began = self._came = self._clock.monotonic()
        while self._catching_up:
            now = self._clock.monotonic()
            if self._head_came or self._in_hand or not self._queue.empty():
                self._came = now  # There is something to wait for.
            left = min(began + CATCH_UP_SECONDS, self._came + SILENCE_SECONDS) - now
            if left > 0:
                await self._clock.sleep(left)
            else:
                self.no_more_for_now()
        await asyncio.Event().wait()

    def no_more_for_now(self) -> None:
        """Head of the list or not: what is here is what the pods go by."""
        self._catching_up = False
        self._show()

    # -- what must be fetched

    @property
    def newest(self) -> Desired:
        """What is stored, shown to the pods or not yet."""
        return self._held or self._desired.desired

    @property
    def missing(self) -> frozenset[ObjectKey]:
        return self.newest.missing()

    def wanted_filters(self, subscribed: frozenset[str]) -> frozenset[str]:
        """The topics to be subscribed now; goes on with the wide filter once it is there."""
        wanted = {self._topics.inventory} if self._wants_inventory() else set()
        missing = self.missing
        wide = self._topics.all_desired
        if len(missing) > MOST_TOPICS or (missing and wide in subscribed):
            wanted.add(wide)
        else:
            wanted |= {self._topics.desired(key) for key in missing}
        return frozenset(wanted)

    def _wants_inventory(self) -> bool:
        return self._target > self.newest.inventory.revision

    # -- the root task

    async def run(self) -> None:
        while True:
            batch = [await self._queue.get()]
            self._in_hand = True
            while len(batch) < BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            before = after = self.newest
            for _, message in batch:
                after = self._step(after, message)
            if after is not before:
                await self._save(after)
            for connection, message in batch:
                connection.ack(message)
            if after is not before:
                self._held = after
            self._in_hand = False
            self._show()
            self.progress.set()

    def _show(self) -> None:
        """To the pods, unless there is more to come."""
        if self._head_came and not self._wants_inventory():
            self._catching_up = False
        if self._held is not None and not self._catching_up:
            self._desired.replace(self._held)
            self._held = None

    async def _save(self, desired: Desired) -> None:
        backoff = Backoff(1.0, 30.0, self._rng)
        while True:
            try:
                await self._store.save(desired)
                return
            except StoreBusy as error:
                delay = backoff.next()
                log.error("cannot store, not acknowledged", error=str(error), retry_in=delay)
                await self._clock.sleep(delay)

    def _step(self, desired: Desired, message: Message) -> Desired:
        try:
            decision = self._decide(desired, message)
        except WireError as error:
            self._rejections.count(error.reason, topic=message.topic, error=str(error))
            return desired
        if isinstance(decision, Accept):
            revision = decision.desired.inventory.revision
            if revision != desired.inventory.revision:
                log.info("list accepted", revision=revision)
            return decision.desired
        if isinstance(decision, Ignore):
            log.info("message ignored", topic=message.topic, reason=decision.reason)
            if decision.behind and message.retained:
                self.broker_is_behind()
        return desired

    def _decide(self, desired: Desired, message: Message) -> Decision | None:
        """None: nothing to decide, the topic was cleared."""
        topic, payload = message.topic, message.payload
        if not payload:
            return None
        if topic == self._topics.change:
            self._head_came |= message.retained
            change = Change.decode(payload)
            decision = on_change(desired, change)
            if isinstance(decision, NeedInventory):
                self._target = max(self._target, change.revision)
            return decision
        if topic == self._topics.inventory:
            if not self._wants_inventory():
                self.strays.add(topic)
            return on_inventory(desired, Inventory.decode(payload))
        return self._decide_object(desired, message)

    def _decide_object(self, desired: Desired, message: Message) -> Decision:
        found = DesiredObject.decode(message.payload)
        if message.topic != self._topics.desired(found.key):
            raise WireError("bad-topic", f"{found.key} came on {message.topic!r:.200}")
        decision = on_object(desired, found)
        if not isinstance(decision, Accept) and not self.missing:
            self.strays |= {message.topic, self._topics.all_desired}
        return decision
