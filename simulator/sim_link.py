"""The ``Link`` port over the broker model: what ``shared/paho_link.py`` is over a socket.

Keeps the port's promises and the client's habits: at most ``SEND_QUOTA`` PUBLISH without PUBACK,
futures that end with the connection, acknowledgements only by ``ack``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from shared.codec import MAX_WIRE
from shared.errors import LinkError, TooLarge
from shared.link import Connection, ConnectOptions, Message, Subscription
from simulator.broker import Broker
from simulator.broker_session import Publication, Receiver, Session
from simulator.network import Path, Wire

CONNECT_TIMEOUT = 15.0
SEND_QUOTA = 20
"""PUBLISH under way without PUBACK: the Receive Maximum that brokers grant by default."""
OVERHEAD = 64


class SimLink:
    """One client's way to the broker; ``path`` is its weather, ``closed`` ends it for good."""

    def __init__(self, broker: Broker, path: Path) -> None:
        self._broker = broker
        self._path = path

    @asynccontextmanager
    async def connect(self, options: ConnectOptions) -> AsyncIterator[Connection]:
        connection = SimConnection(self._broker, self._path, options)
        try:
            await connection.open()
            yield connection
        finally:
            connection.close()


class SimConnection(Receiver):
    def __init__(self, broker: Broker, path: Path, options: ConnectOptions) -> None:
        self.session_present = False
        self.max_packet_size = min(broker.traits.max_packet_size, MAX_WIRE)
        self._broker = broker
        self._path = path
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._incoming: asyncio.Queue[Message | LinkError] = asyncio.Queue()
        self._connected: asyncio.Future[None] = self._loop.create_future()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._unsent: deque[tuple[int, Publication, bool]] = deque()
        self._unacknowledged = 0
        self._next_id = 0
        self._session: Session | None = None
        self._wire: Wire | None = None
        self._ended: LinkError | None = None

    # -- opening and closing

    async def open(self) -> None:
        await asyncio.sleep(self._path.delay())
        if not self._path.reachable:
            await asyncio.sleep(self._path.rng.choice((0.0, 3.0, CONNECT_TIMEOUT)))
            raise LinkError("broker: no route to host")
        if not self._broker.up:
            raise LinkError("broker: connection refused")
        keep_alive = self._options.keep_alive
        self._wire = Wire(self._loop, self._path, keep_alive=keep_alive, client_end=self._lost)
        self._wire.up.send(100, self._arrives_at_broker)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await asyncio.shield(self._connected)
        except TimeoutError as error:
            raise LinkError(f"broker: no CONNACK in {CONNECT_TIMEOUT:.0f} s") from error

    def _arrives_at_broker(self) -> None:
        wire = self._wire
        assert wire is not None
        if not self._broker.up:
            wire.broker_closes()
            return
        present = self._broker.connect(self, wire, self._options)
        session = self._session = self._broker.sessions[self._options.client_id]
        wire.down.send(4, lambda: self._connack(present))
        self._broker.resume(session)

    def _connack(self, session_present: bool) -> None:
        self.session_present = session_present
        if not self._connected.done():
            self._connected.set_result(None)

    def close(self) -> None:
        if self._ended is None and self._wire is not None and self._session is not None:
            session, wire = self._session, self._wire
            wire.up.send(4, lambda: self._broker.disconnect(session))
        elif self._wire is not None:
            self._wire.finish()
        self._end(LinkError("disconnected"))
        if self._connected.done() and not self._connected.cancelled():
            self._connected.exception()

    def _lost(self) -> None:
        self._end(LinkError("broker: connection lost"))

    def _end(self, reason: LinkError) -> None:
        if self._ended is not None:
            return
        self._ended = reason
        if not self._connected.done():
            self._connected.set_exception(reason)
            self._connected.exception()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(reason)
        self._waiting.clear()
        self._unsent.clear()
        self._incoming.put_nowait(reason)

    # -- what callers use

    async def subscribe(self, subscriptions: Sequence[Subscription]) -> None:
        asked = tuple(subscriptions)

        def arrives(session: Session, answer: Callable[[], None]) -> None:
            self._broker.subscribe(session, asked, answer)

        await self._request(sum(len(one.filter) for one in asked), arrives)

    async def unsubscribe(self, filters: Sequence[str]) -> None:
        asked = tuple(filters)

        def arrives(session: Session, answer: Callable[[], None]) -> None:
            for one in asked:
                session.unsubscribe(one)
            answer()

        await self._request(sum(map(len, asked)), arrives)

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        expiry: int | None = None,
        response_topic: str = "",
        correlation: bytes = b"",
    ) -> Awaitable[None]:
        size = len((topic + response_topic).encode()) + len(payload) + len(correlation) + OVERHEAD
        if size > self.max_packet_size:
            raise TooLarge(f"{topic}: {size} bytes, the broker takes {self.max_packet_size}")
        expires = None if expiry is None else self._loop.time() + expiry
        source = self._options.client_id
        publication = Publication(topic, payload, source, expires, response_topic, correlation)
        packet_id, future = self._awaiting()
        if self._ended is None:
            self._unsent.append((packet_id, publication, retain))
            self._send_unsent()
        return future

    async def messages(self) -> AsyncIterator[Message]:
        while True:
            item = await self._incoming.get()
            if isinstance(item, LinkError):
                raise item
            yield item

    def ack(self, message: Message) -> None:
        if self._ended is None and self._wire is not None:
            self._wire.up.send(4, lambda: self._acknowledged_at_broker(message.packet_id))

    # -- packets

    def received(self, message: Message) -> None:
        if self._ended is None:
            self._incoming.put_nowait(message)

    def _acknowledged_at_broker(self, packet_id: int) -> None:
        if self._session is not None:
            self._session.acknowledged(packet_id, self._loop.time())

    async def _request(
        self, size: int, arrives: Callable[[Session, Callable[[], None]], None]
    ) -> None:
        packet_id, future = self._awaiting()
        wire = self._wire
        if self._ended is None and wire is not None:

            def answer() -> None:
                wire.down.send(4, lambda: self._settle(packet_id))

            def arrive() -> None:
                if self._session is not None:
                    arrives(self._session, answer)

            wire.up.send(size, arrive)
        await future

    def _send_unsent(self) -> None:
        while self._unsent and self._unacknowledged < SEND_QUOTA:
            packet_id, publication, retain = self._unsent.popleft()
            self._unacknowledged += 1
            self._send(packet_id, publication, retain)

    def _send(self, packet_id: int, publication: Publication, retain: bool) -> None:
        wire = self._wire
        assert wire is not None

        def arrive() -> None:
            self._broker.publish(publication, retain=retain)
            wire.down.send(4, lambda: self._puback(packet_id))

        wire.up.send(publication.size, arrive)

    def _puback(self, packet_id: int) -> None:
        self._unacknowledged -= 1
        self._settle(packet_id)
        if self._ended is None:
            self._send_unsent()

    def _awaiting(self) -> tuple[int, asyncio.Future[None]]:
        self._next_id += 1
        future: asyncio.Future[None] = self._loop.create_future()
        # Nobody has to await a publish: its failure is also the connection's end.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        if self._ended is not None:
            future.set_exception(self._ended)
        else:
            self._waiting[self._next_id] = future
        return self._next_id, future

    def _settle(self, packet_id: int) -> None:
        future = self._waiting.pop(packet_id, None)
        if future is not None and not future.done():
            future.set_result(None)
