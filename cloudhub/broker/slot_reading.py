"""Subscribes to slots so that what a broker drops from its queue for the hub does not stay unseen.

A few slots at a time, an echo (``echoes.py``) behind them, and behind every few messages that come
by themselves. What the broker cannot queue at once is asked for in smaller parts, down to one
branch of one node. When live messages may have been lost, all slots are read again, in at most a
quarter of the time and after growing pauses: one node's flood does not have the fleet read for
ever. Without echoes (the broker's access rules forbid them) all this is off. Owned
by ``connection.py``, one per connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

import structlog

from cloudhub.broker.echoes import Echoes
from cloudhub.metrics import Metrics
from shared.clock import Clock
from shared.errors import PermanentError
from shared.link import Connection, Message, Subscription
from shared.tasks import stop
from shared.topics import Topics

log = structlog.get_logger()

AT_ONCE = 16
"""Slots that are read together."""
LOST_AFTER = 5.0
"""Seconds without any message after which an echo that the broker took does not come any more."""
REST = 3.0
"""How much longer the pauses are than the reading when slots are read again."""

FIRST_PAUSE, LONGEST_PAUSE = 5.0, 120.0
"""Seconds between two times that all slots are begun to be read again, while losses go on."""

NodesOf = Callable[[int], Iterable[str]]
"""The nodes of a slot, as far as they are known."""


class SlotReading:
    def __init__(
        self,
        connection: Connection,
        *,
        topics: Topics,
        replica: str,
        nodes_of: NodesOf,
        wake: Callable[[], None],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """``wake`` asks for a ``look``."""
        self.topic = topics.echo(replica)
        self._connection = connection
        self._topics = topics
        self._nodes_of = nodes_of
        self._wake = wake
        self._clock = clock
        self._metrics = metrics
        self._echoes = Echoes()
        self._hears = False
        self._waiting: dict[int, asyncio.Future[bool]] = {}
        self._taken: dict[int, Awaitable[None]] = {}
        self._again: list[int] = []
        self._rested = 0.0
        self._not_before = 0.0
        self._pause = FIRST_PAUSE

    # -- what comes

    def received(self, message: Message) -> None:
        """Any message, after its acknowledgement: there is room for an echo again."""
        if message.topic == self.topic:
            self._returned(message.payload)
            return
        self._echoes.came(retained=message.retained)
        if self._hears and self._echoes.due:
            self._say()
            self._wake()

    def _returned(self, payload: bytes) -> None:
        if not payload.isdigit() or len(payload) > 9:
            return
        number = int(payload)
        self._settle(self._echoes.back(number), came=False)
        self._settle([number], came=True)

    def _settle(self, numbers: Iterable[int], *, came: bool) -> None:
        for number in numbers:
            self._taken.pop(number, None)
            future = self._waiting.pop(number, None)
            if future is not None and not future.done():
                future.set_result(came)

    # -- reading

    async def begin(self) -> None:
        """Find out whether echoes come back at all, while nothing else can be in their way."""
        try:
            await self._connection.subscribe([Subscription(self.topic)])
            self._hears = await self._comes_back(self._say())
        except PermanentError as error:
            log.debug("no echo", error=str(error))
        self._settle(self._echoes.give_up(), came=False)
        self._echoes.suspicious = False
        if not self._hears:
            log.warning(
                "the broker does not give the hub its echoes; what it drops will not be noticed",
                topic=self.topic,
            )

    async def read(self, slots: Sequence[int]) -> None:
        """Subscribe; returns when what the broker retains has come, if that can be known."""
        filters = [self._topics.slot_filters(slot) for slot in slots]
        if await self._whole(*filters):
            return
        if len(slots) > 1:
            for slot in slots:
                await self.read([slot])
            return
        log.warning("the broker's queue does not hold a slot; read in parts", slot=slots[0])
        for one in filters[0]:
            if not await self._whole([one]):
                await self._read_by_node(slots[0], one)

    async def _read_by_node(self, slot: int, slot_filter: str) -> None:
        for node in sorted(self._nodes_of(slot)):
            narrow = self._topics.narrowed(slot_filter, node)
            if not await self._whole([narrow]):
                log.error("the broker's queue does not hold one node's messages", node=node)
            await self._connection.unsubscribe([narrow])

    async def _whole(self, *packets: Iterable[str]) -> bool:
        """Whether an echo that the broker got directly after these SUBSCRIBEs came back."""
        subscribing = [
            asyncio.create_task(
                self._connection.subscribe([Subscription(one, no_local=True) for one in filters])
            )
            for filters in packets
        ]
        try:
            await asyncio.sleep(0)  # They are on their way.
            number = self._say() if self._hears else None
            for one in subscribing:
                await one
        finally:
            await stop(*subscribing)
        return number is None or await self._comes_back(number)

    # -- reading again

    async def look(self, slots: Collection[int]) -> float | None:
        """Read again what is due; answers after which pause to look again, None = when woken."""
        if (newest := self._echoes.newest) is not None:
            await self._comes_back(newest)
        wait = self._not_before - self._clock.monotonic()
        if self._echoes.suspicious and not self._again:
            if wait > 0:
                return wait
            await self._begin_again(slots)
        if not self._again:
            return None
        began = self._clock.monotonic()
        if began >= self._rested:
            due, self._again = self._again[:AT_ONCE], self._again[AT_ONCE:]
            await self.read([slot for slot in due if slot in slots])
            now = self._clock.monotonic()
            self._rested = now + REST * (now - began)
        return max(0.0, self._rested - self._clock.monotonic())

    async def _begin_again(self, slots: Iterable[int]) -> None:
        self._echoes.suspicious = False
        now = self._clock.monotonic()
        calm = now - self._not_before > LONGEST_PAUSE
        self._pause = FIRST_PAUSE if calm else min(2 * self._pause, LONGEST_PAUSE)
        self._not_before = now + self._pause
        self._again = sorted(slots)
        self._metrics.overflowed()
        log.warning("the broker may have dropped messages; the slots are read again")
        await self._connection.subscribe([Subscription(self._topics.hub(), no_local=True)])

    # -- echoes

    def _say(self) -> int:
        number = self._echoes.send()
        self._waiting[number] = asyncio.get_running_loop().create_future()
        self._taken[number] = self._connection.publish(self.topic, b"%d" % number)
        return number

    async def _comes_back(self, number: int) -> bool:
        """False when a later one came first, or none while the broker had nothing else to give."""
        future, taken = self._waiting.get(number), self._taken.get(number)
        if future is None or taken is None:
            return True
        await taken
        while True:
            before = self._echoes.messages
            await asyncio.wait({future}, timeout=LOST_AFTER)
            if future.done():
                return future.result()
            if self._echoes.messages == before:
                self._settle(self._echoes.give_up(), came=False)
