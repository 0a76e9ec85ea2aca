"""A device's session and a hub's hand, over any broker: what the session tests are played with.

The device is real from the link to the database; its pods are left out. The hub is a script that
publishes lists as docs/protocol.md says and remembers what the device told it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeagent.desired import DesiredSet
from edgeagent.session.asking import Asking
from edgeagent.session.connection import AgentSession, Parts, Who
from edgeagent.session.delivery import Delivery
from edgeagent.session.rejecting import Rejections
from edgeagent.session.reporting import Reports
from edgeagent.standing import Standing, StandingKeeper
from edgeagent.store import records
from edgeagent.store.database import Database
from edgeagent.store.desired import DesiredStore
from edgeagent.store.executor import InlineExecutor
from edgeagent.store.identity import Identity
from edgeagent.store.outbox import OutboxStore
from edgeagent.tokens import DeviceTokens
from shared import codec
from shared.clock import Clock
from shared.link import Connection, ConnectOptions, Link, Message, Subscription
from shared.messages import (
    Change,
    DesiredObject,
    Entry,
    HubPresence,
    Inventory,
    Report,
    ReportedEvent,
    Session,
)
from shared.objects import Json, ObjectKey
from shared.tasks import run_together
from shared.topics import Topics, key_below
from tests.parts.patience import PATIENCE

NODE = "edge-1"
TOPICS = Topics()
OURS = TOPICS.of(NODE)
NOW = 1_780_000_000.0


def pod_key(name: str) -> ObjectKey:
    return ObjectKey("Pod", "default", name)


def pod(name: str, **fields: Any) -> Json:
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}"}
    return {"metadata": metadata, "spec": {"containers": [{"name": "a", "image": "i"}]}, **fields}


def event(reason: str = "BackOff", *, at: float = NOW, count: int = 1) -> ReportedEvent:
    return ReportedEvent("Warning", reason, "again", int(at), int(at), count)


class Device:
    """One agent process without pods; ``running`` is its life."""

    def __init__(self, link: Link, folder: Path, clock: Clock, *, boot: str = "boot-1") -> None:
        rng = random.Random(str(folder))
        self.database = Database(folder, executor=InlineExecutor())
        self.desired = DesiredSet()
        self.store = DesiredStore(self.database)
        self.identity = Identity(self.database, rng=rng)
        self.reports = Reports(
            OURS, desired=self.desired, store=OutboxStore(self.database), clock=clock
        )
        self.tokens = DeviceTokens(
            self.desired, records=records.tokens(self.database), clock=clock, rng=rng
        )
        self.rejections = Rejections(clock)
        self.delivery = Delivery(
            OURS,
            desired=self.desired,
            store=self.store,
            clock=clock,
            rejections=self.rejections,
            rng=rng,
        )
        self.standing = StandingKeeper(
            Standing(NODE, "mqtt://broker", "memory", "0", ""),
            save=records.standing(self.database).save,
            clock=clock,
            told=lambda line: None,
        )
        self._link, self._clock, self._boot, self._rng = link, clock, boot, rng
        self.session: AgentSession

    @asynccontextmanager
    async def running(
        self, *, asked_by: Callable[[Session], None] = lambda asker: None
    ) -> AsyncIterator[Device]:
        await self.database.open()
        await self.identity.load()
        await self.reports.load()
        self.desired.replace(await self.store.load())
        await self.tokens.load()
        self.desired.subscribe(self.tokens.changed)
        self.desired.subscribe(self.reports.changed)
        parts = Parts(
            *(self.delivery, self.reports, Asking(OURS, self.tokens)),
            *(self.rejections, self.standing, self._clock, asked_by),
        )
        self.session = AgentSession(
            Who(NODE, self._boot, "0"),
            link=self._link,
            topics=TOPICS,
            identity=self.identity,
            parts=parts,
            rng=self._rng,
        )
        roots = run_together(
            session=self.session.run(),
            delivery=self.delivery.run(),
            reports=self.reports.run(),
            standing=self.standing.run(),
        )
        task = asyncio.create_task(roots)
        await asyncio.sleep(0.01)
        try:
            yield self
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            if await self.reports.flush():
                await self.identity.stop()
            await self.database.close()

    async def report(self, name: str, *, within: float = 0.02, **status: Any) -> None:
        await self.reports.put(
            pod_key(name), uid=f"uid-{name}", status=status, events=[], within=within
        )

    @property
    def connected(self) -> bool:
        return self.standing.now.link == "connected"

    def has(self, *names: str) -> bool:
        """Exactly these pods, all with their bodies."""
        wanted = {f"uid-{name}" for name in names}
        return set(self.desired.pods()) == wanted and not self.desired.desired.missing()


@dataclass
class Hub:
    """Publishes lists for one node; hears what the node says."""

    connection: Connection
    inventory: Inventory = field(default_factory=lambda: Inventory(0, {}))
    packed: dict[ObjectKey, bytes] = field(default_factory=dict)
    sessions: list[Session] = field(default_factory=list)
    reports: dict[ObjectKey, list[Report]] = field(default_factory=dict)
    asks: list[Message] = field(default_factory=list)

    async def read(self) -> None:
        async for message in self.connection.messages():
            self.connection.ack(message)
            if not message.payload:
                continue
            _, rest = TOPICS.parse(message.topic)
            if rest == "session":
                self.sessions.append(Session.decode(message.payload))
            elif rest.startswith("reported/"):
                report = Report.decode(message.payload)
                assert report.key == key_below(rest, "reported")
                self.reports.setdefault(report.key, []).append(report)
            elif message.topic == OURS.ask_token:
                self.asks.append(message)

    async def want(
        self,
        *names: str,
        bodies: Mapping[str, Json] | None = None,
        objects: Mapping[ObjectKey, Json] | None = None,
        ride: bool = True,
        silent: bool = False,
        withheld: bool = False,
    ) -> Inventory:
        """Publish the list of these pods and other objects, in the order of the protocol.

        ``silent``: no change message; ``withheld``: no bodies either.
        """
        old = self.inventory
        self.packed = {
            pod_key(name): codec.pack((bodies or {}).get(name) or pod(name)) for name in names
        } | {key: codec.pack(one) for key, one in (objects or {}).items()}
        entries = {key: Entry(codec.digest(one)) for key, one in self.packed.items()}
        self.inventory = Inventory(old.revision + 1, entries)
        if not withheld:
            await self.publish_bodies()
        await self._put(OURS.inventory, self.inventory.encode())
        if not silent:
            change = Change.between(old, self.inventory, self.packed if ride else {})
            await self._put(OURS.change, change.encode())
        return self.inventory

    async def publish_bodies(self, *names: str) -> None:
        for key, one in self.packed.items():
            if not names or key.name in names:
                await self._put(OURS.desired(key), DesiredObject(key, one).encode())

    async def present(self, online: bool) -> None:
        await self._put(TOPICS.hub(), HubPresence(online, "hub-a", 1).encode())

    async def _put(self, topic: str, payload: bytes) -> None:
        await self.connection.publish(topic, payload, retain=True)

    async def answer(self, ask: Message, payload: bytes) -> None:
        await self.connection.publish(
            ask.response_topic, payload, expiry=60, correlation=ask.correlation
        )

    async def raw(self, topic: str, payload: bytes) -> None:
        await self._put(topic, payload)

    def newest(self, name: str) -> Json | None:
        """The newest status of a pod."""
        heard = self.reports.get(pod_key(name))
        return max(heard, key=lambda report: report.sequence).status if heard else None

    @property
    def births(self) -> list[Session]:
        return [session for session in self.sessions if session.online]


@asynccontextmanager
async def a_hub(link: Link) -> AsyncIterator[Hub]:
    options = ConnectOptions("hub", True, 0, 60, 100)
    async with link.connect(options) as connection:
        hub = Hub(connection)
        reading = asyncio.create_task(hub.read())
        filters = (f"{OURS.base}/session", f"{OURS.base}/reported/#", OURS.ask_token)
        await connection.subscribe([Subscription(one) for one in filters])
        try:
            yield hub
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def until(true: Callable[[], object], *, within: float = 10.0) -> None:
    """Wait until it holds; the assertion names the line that waited."""
    async with asyncio.timeout(within * PATIENCE):
        while not true():
            await asyncio.sleep(0.02)
