"""The hub's one MQTT connection: kept up, subscribed to the owned slots, announced to all.

Clean start and no session, because retained messages are all that a hub needs. Slots are
subscribed a few at a time (``slot_reading.py``), so that a start does not ask the broker for
everything at once, and again when the broker may have dropped something.
The presence topic says ``online`` while any replica lives: who sees ``offline`` there and lives,
says ``online`` again. What arrives goes to the ``Listener`` and is then acknowledged: the hub keeps
no state, so what it loses comes again as a retained message. Owned by ``sync.py``.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Iterable
from contextlib import suppress
from typing import Protocol

import structlog

from cloudhub.broker.slot_reading import AT_ONCE, SlotReading
from cloudhub.metrics import Metrics
from shared.asking import ASK_EXPIRY
from shared.backoff import Backoff
from shared.clock import Clock
from shared.errors import LinkError, PermanentError, TemporaryError, WireError
from shared.link import Connection, ConnectOptions, Link, Message, Subscription, Will
from shared.messages import HubPresence
from shared.tasks import run_together
from shared.topics import Topics, slot_of

log = structlog.get_logger()

KEEP_ALIVE = 30
RECEIVE_MAXIMUM = 65_535
"""Messages under way to us: who grants them (mosquitto) drops none of a burst that long. They are
read and acknowledged as they come, so they do not pile up here."""
STABLE = 10.0
"""Seconds that a connection must live before the next failure counts as the first."""
FAREWELL = 1.0
"""Seconds that a stopping hub waits for the acknowledgement of its ``offline``."""


class Listener(Protocol):
    def link_up(self) -> None: ...

    def slot_up(self, slot: int) -> None:
        """The slot is subscribed; its retained messages are coming."""
        ...

    def slot_down(self, slot: int) -> None:
        """The slot is not ours any more."""
        ...

    def link_down(self) -> None:
        """Also means that every slot is down."""
        ...

    def received(self, message: Message) -> None: ...

    def nodes_of(self, slot: int) -> Iterable[str]:
        """Those that are known, by the API or by what came."""
        ...


class HubConnection:
    def __init__(
        self,
        link: Link,
        *,
        topics: Topics,
        replica: str,
        clock: Clock,
        rng: random.Random,
        metrics: Metrics,
    ) -> None:
        self._link = link
        self._topics = topics
        self._replica = replica
        self._clock = clock
        self._rng = rng
        self._metrics = metrics
        self._since = int(clock.now())
        self._owned: frozenset[int] = frozenset()
        self._subscribed: set[int] = set()
        self._lost: set[int] = set()
        """Not ours for a moment at least: what came of them was forgotten, and is read again."""
        self._woken = asyncio.Event()
        self._connection: Connection | None = None

    # -- what others use

    @property
    def up(self) -> bool:
        return self._connection is not None

    @property
    def complete(self) -> bool:
        """Whether every owned slot is subscribed."""
        return self.up and self._owned == self._subscribed

    def own(self, slots: Iterable[int]) -> None:
        before, self._owned = self._owned, frozenset(slots)
        self._lost |= before - self._owned
        self._woken.set()

    def serves(self, node: str) -> bool:
        """Whether what this node says comes here, and what the broker retains of it has come."""
        return slot_of(node) in self._subscribed

    def publish(self, topic: str, payload: bytes) -> Awaitable[None]:
        """Retained; see ``shared.link.Connection.publish``. Raises LinkError while it is down."""
        if self._connection is None:
            raise LinkError("the hub is not connected to the broker")
        return self._connection.publish(topic, payload, retain=True)

    def tell(self, topic: str, payload: bytes, *, correlation: bytes = b"") -> Awaitable[None]:
        """Not retained, and gone when nobody takes it soon. Raises LinkError while it is down."""
        if self._connection is None:
            raise LinkError("the hub is not connected to the broker")
        return self._connection.publish(topic, payload, expiry=ASK_EXPIRY, correlation=correlation)

    # -- running

    async def run(self, listener: Listener) -> None:
        backoff = Backoff(0.2, 30, self._rng)
        while True:
            at_least: float | None = None
            opened = self._clock.monotonic()
            try:
                async with self._link.connect(self._options()) as connection:
                    opened = self._clock.monotonic()
                    await self._serve(connection, listener)
            except TemporaryError as error:
                at_least = error.delay
                log.warning("broker connection ended", error=str(error))
            except PermanentError as error:
                at_least = 5.0
                log.error("broker refused the hub; look at its access rules", error=str(error))
            if self._clock.monotonic() - opened > STABLE:
                backoff.reset()
            await self._clock.sleep(backoff.next(at_least=at_least))

    def _options(self) -> ConnectOptions:
        return ConnectOptions(
            # Not to be guessed: who connects with the same one has the broker end our connection.
            client_id=f"kubetide-hub.{self._replica}.{self._rng.getrandbits(64):016x}",
            clean_start=True,
            session_expiry=0,
            keep_alive=KEEP_ALIVE,
            receive_maximum=RECEIVE_MAXIMUM,
            will=Will(self._topics.hub(), self._presence(online=False), delay=0),
        )

    def _presence(self, *, online: bool) -> bytes:
        return HubPresence(online, self._replica, self._since).encode()

    async def _serve(self, connection: Connection, listener: Listener) -> None:
        log.info("connected to the broker")
        self._connection = connection
        self._woken.set()
        listener.link_up()
        reading = SlotReading(
            connection,
            topics=self._topics,
            replica=self._replica,
            nodes_of=listener.nodes_of,
            wake=self._woken.set,
            clock=self._clock,
            metrics=self._metrics,
        )
        try:
            await run_together(
                reading=self._read(connection, reading, listener),
                subscribing=self._subscribe_forever(connection, reading, listener),
            )
        except asyncio.CancelledError:
            await self._say_goodbye(connection)
            raise
        finally:
            self._connection = None
            self._subscribed.clear()
            listener.link_down()

    async def _say_goodbye(self, connection: Connection) -> None:
        with suppress(LinkError, PermanentError, TimeoutError):
            async with asyncio.timeout(FAREWELL):
                offline = self._presence(online=False)
                await connection.publish(self._topics.hub(), offline, retain=True)

    async def _read(self, connection: Connection, reading: SlotReading, listener: Listener) -> None:
        async for message in connection.messages():
            if message.topic == self._topics.hub():
                self._mind_presence(connection, message)
            elif message.topic != reading.topic:
                listener.received(message)
            connection.ack(message)
            reading.received(message)

    def _mind_presence(self, connection: Connection, message: Message) -> None:
        try:
            online = bool(message.payload) and HubPresence.decode(message.payload).online
        except WireError:
            online = False
        if not online:
            connection.publish(self._topics.hub(), self._presence(online=True), retain=True)

    async def _subscribe_forever(
        self, connection: Connection, reading: SlotReading, listener: Listener
    ) -> None:
        hub = self._topics.hub()
        connection.publish(hub, self._presence(online=True), retain=True)
        await connection.subscribe([Subscription(hub, retain_handling=2, no_local=True)])
        await reading.begin()
        while True:
            self._woken.clear()
            await self._let_slots_go(connection, listener)
            await self._take_slots(reading, listener)
            pause = await reading.look(self._subscribed)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._woken.wait()

    async def _take_slots(self, reading: SlotReading, listener: Listener) -> None:
        """A few at a time; a slot that is lost meanwhile is the next round's business."""
        missing = sorted(self._owned - self._subscribed)
        for start in range(0, len(missing), AT_ONCE):
            slots = missing[start : start + AT_ONCE]
            await reading.read(slots)
            for slot in slots:
                self._subscribed.add(slot)
                listener.slot_up(slot)

    async def _let_slots_go(self, connection: Connection, listener: Listener) -> None:
        lost, self._lost = self._lost, set()
        for slot in sorted(self._subscribed & lost):
            self._subscribed.discard(slot)
            listener.slot_down(slot)
            await connection.unsubscribe(self._topics.slot_filters(slot))
