"""A device that keeps to docs/protocol.md, for the hub's tests: the least that an agent does."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from shared import codec
from shared.clock import Clock
from shared.errors import LinkError, WireError
from shared.link import Connection, ConnectOptions, Link, Message, Subscription, Will
from shared.messages import Change, DesiredObject, Entry, Inventory, Report, Session
from shared.objects import Json, ObjectKey
from shared.topics import Topics, key_below


class Device:
    """Applies what comes, asks the broker for what it misses, reports what it is told to."""

    def __init__(self, link: Link, *, node: str, clock: Clock, instance: str = "i1") -> None:
        self.node = node
        self.topics = Topics().of(node)
        self.applied = Inventory(0, {})
        self.bodies: dict[bytes, bytes] = {}
        self.received: list[Message] = []
        self.missing: tuple[ObjectKey, ...] = ()
        self.counter = 0
        self.sequence = 0
        self.instance = instance
        self._link = link
        self._clock = clock
        self._connection: Connection | None = None

    async def run(self) -> None:
        while True:
            with suppress(LinkError):
                await self._live()
            self._connection = None
            await self._clock.sleep(0.5)

    async def _live(self) -> None:
        self.counter += 1
        death = Session(False, self.instance, self.counter).encode()
        options = ConnectOptions(
            client_id=f"{self.node}.{self.instance}",
            clean_start=False,
            session_expiry=3600,
            keep_alive=60,
            receive_maximum=100,
            will=Will(self.topics.session, death, delay=20),
        )
        async with self._link.connect(options) as connection:
            self._connection = connection
            self._say()
            filters = (self.topics.session, self.topics.change)
            await connection.subscribe([Subscription(one) for one in filters])
            async for message in connection.messages():
                with suppress(WireError):
                    if message.topic == self.topics.session:
                        self._answer(message)
                    else:
                        self.received.append(message)
                        await self._take(connection, message)
                connection.ack(message)

    def _say(self, question: int = 0) -> None:
        assert self._connection is not None
        session = Session(
            *(True, self.instance, self.counter),
            boot="b",
            version="kubetide-test",
            revision=self.applied.revision,
            digest=self.applied.digest if self.applied.revision else b"",
            missing=self.missing,
            question=question,
        )
        self._connection.publish(self.topics.session, session.encode(), retain=True)

    def _answer(self, message: Message) -> None:
        if message.payload and (session := Session.decode(message.payload)).asks:
            self._say(session.question)

    def report(
        self, key: ObjectKey, uid: str, status: Json, *, finished: bool = False, events: tuple = ()
    ) -> None:
        assert self._connection is not None
        self.sequence += 1
        report = Report(key, uid, self.sequence, self.applied.revision, status, events, finished)
        self._connection.publish(self.topics.reported(key), report.encode(), retain=True)

    def body(self, key: ObjectKey) -> Json:
        found: Json = codec.unpack(self.bodies[self.applied.entries[key].digest])
        return found

    # -- what comes

    async def _take(self, connection: Connection, message: Message) -> None:
        rest = message.topic.removeprefix(self.topics.base + "/")
        if not message.payload:
            return
        if rest == "change":
            await self._take_change(connection, Change.decode(message.payload))
        elif rest == "inventory":
            self._take_inventory(Inventory.decode(message.payload))
            await connection.unsubscribe([self.topics.inventory])
        else:
            found = DesiredObject.decode(message.payload)
            assert key_below(rest, "desired") == found.key
            self.bodies[found.digest] = found.body
        await self._ask_for_missing(connection)

    async def _take_change(self, connection: Connection, change: Change) -> None:
        mine = self.applied
        if change.revision <= mine.revision:
            return
        for key, body in change.bodies.items():
            self.bodies[change.put[key].digest] = body
        if change.base == mine.revision:
            with suppress(WireError):
                self.applied = change.apply_to(mine.entries)
                return
        await connection.subscribe([Subscription(self.topics.inventory)])

    def _take_inventory(self, found: Inventory) -> None:
        if found.revision > self.applied.revision:
            self.applied = found

    async def _ask_for_missing(self, connection: Connection) -> None:
        missing = tuple(sorted(k for k, e in self.applied.entries.items() if not self._has(e)))
        if missing == self.missing:
            return
        fresh = [key for key in missing if key not in self.missing]
        self.missing = missing
        if fresh:
            wanted = [Subscription(self.topics.desired(key)) for key in fresh]
            await connection.subscribe(wanted)
            asyncio.get_running_loop().call_later(3, self._complain)

    def _complain(self) -> None:
        if self.missing and self._connection is not None:
            self._say()

    def _has(self, entry: Entry) -> bool:
        return entry.digest in self.bodies
