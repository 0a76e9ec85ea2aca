"""The agent's side of the MQTT session: connect, be born, keep in step, and again after every loss.

One connection: store the counter, CONNECT with the death as Will, subscribe, look who else has our
name, publish the birth, then let the others work (``fetching``, ``delivery``, ``reporting``). The
link's absence is the normal case: it is logged once per reason and told by ``edgeagent status``.
Refuses nothing and stops nothing; only another agent of the same name makes it give way
(``rivals``, ``yielding``), for as long as that one lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from edgeagent.outbox import Row
from edgeagent.session.asking import Asking
from edgeagent.session.delivery import Delivery
from edgeagent.session.fetching import Fetching
from edgeagent.session.rejecting import Rejections
from edgeagent.session.reporting import Reports
from edgeagent.session.rivals import Rivals, Verdict
from edgeagent.session.yielding import Yielding
from edgeagent.standing import StandingKeeper
from edgeagent.store.identity import Identity
from shared.backoff import Backoff
from shared.clock import Clock
from shared.errors import LinkError, PermanentError, TemporaryError, WireError
from shared.link import Connection, ConnectOptions, Link, Message, Subscription, Will
from shared.messages import HubPresence, Session
from shared.objects import ObjectKey
from shared.tasks import run_together
from shared.topics import NodeTopics, Topics

log = structlog.get_logger()

KEEP_ALIVE = 60
WILL_DELAY = 20
SESSION_EXPIRY = 7 * 86400
RECEIVE_MAXIMUM = 64
RECONNECT = (1.0, 60.0)
HELD_SECONDS = 30.0
"""A connection that lasted this long was a good one: the next pause is short again."""
LOOK_SECONDS = 2.0
GOODBYE_SECONDS = 2.0
LAZY_SECONDS = 30.0
MOST_MISSING = 1000


class _Rivalled(Exception):
    """Another agent may live under this node's name."""

    def __init__(self, suspect: Session) -> None:
        super().__init__(suspect.instance)
        self.suspect = suspect


@dataclass(frozen=True, slots=True)
class Who:
    """What a birth says about the process."""

    node: str
    boot: str
    version: str


class AgentSession:
    def __init__(
        self,
        who: Who,
        *,
        link: Link,
        topics: Topics,
        identity: Identity,
        parts: Parts,
        rng: random.Random,
    ) -> None:
        self._who = who
        self._link = link
        self._hub_topic = topics.hub()
        self._topics: NodeTopics = topics.of(who.node)
        self._identity = identity
        self._parts = parts
        self._rng = rng
        self._clock = parts.clock
        self._rivals = Rivals(instance=identity.instance, boot=who.boot)
        self._yielding = Yielding(
            who.node,
            boot=who.boot,
            topic=self._topics.session,
            link=link,
            identity=identity,
            standing=parts.standing,
            clock=parts.clock,
            rng=rng,
        )
        self.fenced, self.free = self._yielding.fenced, self._yielding.free
        self._looked = asyncio.Event()
        self._standing_there: Session | None = None
        """The certificate that the broker held when this connection began."""
        self._connection: Connection | None = None
        self._told_revision = 0
        self._told_report: Row | None = None
        self._missing: frozenset[ObjectKey] = frozenset()
        self._last_reason = ""
        self._fetching = Fetching(
            parts.delivery, announce=self._announce, clock=parts.clock, rng=rng
        )
        parts.delivery.broker_is_behind = parts.reports.mark_all_unsent

    async def run(self) -> None:
        """Root task: never returns."""
        backoff = Backoff(*RECONNECT, self._rng)
        while True:
            began = self._clock.monotonic()
            try:
                await self._connect_once()
            except _Rivalled as error:
                await self._yielding.until_alone(error.suspect)
                self._rivals.alone()
            except (TemporaryError, PermanentError) as error:
                if self._clock.monotonic() - began > HELD_SECONDS:
                    backoff.reset()
                delay = backoff.next(at_least=getattr(error, "delay", None))
                self._disconnected(str(error), delay=delay)
                await self._clock.sleep(delay)

    def _disconnected(self, reason: str, *, delay: float) -> None:
        told = log.debug if reason == self._last_reason else log.warning
        told("not connected", reason=reason, retry_in=round(delay, 1))
        self._last_reason = reason
        self._parts.standing.update(link=f"not connected: {reason}", hub="")

    # -- one connection

    async def _connect_once(self) -> None:
        counter = await self._identity.next_connection()
        self._rivals.connecting(counter)
        self._looked.clear()
        self._standing_there = None
        death = Session(False, self._identity.instance, counter).encode()
        options = ConnectOptions(
            client_id=f"{self._who.node}.{self._identity.instance}",
            clean_start=False,
            session_expiry=SESSION_EXPIRY,
            keep_alive=KEEP_ALIVE,
            receive_maximum=RECEIVE_MAXIMUM,
            will=Will(self._topics.session, death, WILL_DELAY),
        )
        async with self._link.connect(options) as connection:
            self._connection = connection
            self._parts.delivery.connected(session_present=connection.session_present)
            self._parts.asking.tokens.linked(True)
            try:
                await run_together(reading=self._read(connection), living=self._live(connection))
            except asyncio.CancelledError:
                await self._say_goodbye(connection, death)
                raise
            finally:
                self._connection = None
                self._parts.delivery.no_more_for_now()
                self._parts.asking.tokens.linked(False)

    async def _live(self, connection: Connection) -> None:
        topics = self._topics
        filters = (topics.session, topics.change, self._hub_topic, topics.answer)
        await connection.subscribe([Subscription(one) for one in filters])
        if self._rivals.lived or self._parts.reports.were_sent:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._looked.wait()
        kept = connection.session_present and self._is_remembered()
        if not kept:
            self._parts.reports.mark_all_unsent()
        await self._announce(frozenset())
        self._identity.told = self._identity.counter
        log.info("connected", session_present=connection.session_present)
        self._last_reason = ""
        self._parts.standing.update(link="connected")
        await run_together(
            fetching=self._fetching.run(connection),
            catching_up=self._parts.delivery.catch_up(),
            sending=self._parts.reports.send(connection),
            repeating=self._repeat_birth(),
            asking=self._parts.asking.run(connection),
        )

    def _is_remembered(self) -> bool:
        """Whether the broker still has our last certificate, and so what we reported then.

        A session proves nothing: one may be left by an attempt whose CONNACK was lost. Nor does
        the certificate of a process that was killed: this one may not know what that one said.
        """
        found = self._standing_there
        last = (self._identity.instance, self._identity.told)
        return found is not None and (found.instance, found.counter) == last

    async def _say_goodbye(self, connection: Connection, death: bytes) -> None:
        """A clean stop says so itself; when that fails the Will does."""
        with contextlib.suppress(LinkError, PermanentError, TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await connection.publish(self._topics.session, death, retain=True)

    # -- the birth

    async def _announce(self, missing: frozenset[ObjectKey], *, question: int = 0) -> None:
        self._missing = missing
        connection = self._connection
        if connection is None:
            return
        applied = self._parts.delivery.newest.inventory
        self._told_report = newest = self._parts.reports.newest_sent
        birth = Session(
            *(True, self._identity.instance, self._identity.counter),
            boot=self._who.boot,
            version=self._who.version,
            revision=applied.revision,
            digest=applied.digest,
            missing=tuple(sorted(missing)[:MOST_MISSING]),
            reported=newest.sequence if newest else 0,
            about=newest.key.mark if newest else 0,
            question=question,
        )
        self._told_revision = applied.revision
        self._rivals.publishing()
        await connection.publish(self._topics.session, birth.encode(), retain=True)

    async def _repeat_birth(self) -> None:
        """Lazily: the applied revision moved and no report has carried it, or the report that the
        birth names is not what the broker holds of that object any more."""
        while True:
            await self._clock.sleep(LAZY_SECONDS)
            told = max(self._told_revision, self._parts.reports.carried)
            newest = self._parts.reports.newest_sent
            if self._parts.delivery.newest.inventory.revision > told or newest != self._told_report:
                await self._announce(self._missing)

    # -- what arrives

    async def _read(self, connection: Connection) -> None:
        async for message in connection.messages():
            if message.topic in (self._topics.session, self._hub_topic, self._topics.answer):
                await self._read_presence(connection, message)
            elif message.topic.startswith(f"{self._topics.base}/"):
                self._parts.delivery.take(connection, message)
            else:
                self._parts.rejections.count("bad-topic", topic=message.topic[:200])
                connection.ack(message)

    async def _read_presence(self, connection: Connection, message: Message) -> None:
        connection.ack(message)
        if not message.payload:
            if message.topic == self._topics.session:
                # The hub misses reports that the broker had acknowledged.
                self._parts.reports.mark_all_unsent()
                await self._announce(self._missing)
            return
        try:
            if message.topic == self._hub_topic:
                hub = HubPresence.decode(message.payload)
                self._parts.standing.update(hub=hub.replica if hub.online else "")
                self._parts.asking.tokens.hub(hub.online)
            elif message.topic == self._topics.answer:
                self._parts.asking.take(message)
            else:
                await self._read_session(message)
        except WireError as error:
            self._parts.rejections.count(error.reason, topic=message.topic, error=str(error))

    async def _read_session(self, message: Message) -> None:
        found = Session.decode(message.payload)
        verdict = self._rivals.judge(found, retained=message.retained)
        if verdict is Verdict.RIVAL:
            raise _Rivalled(found)
        if message.retained:
            self._standing_there = self._standing_there or found
            self._looked.set()
        if verdict is Verdict.REPEAT:
            await self._announce(self._missing)
        if verdict is Verdict.ANSWER:
            if not found.from_hub:
                log.warning("another agent has this node's name", instance=found.instance)
                self._parts.asked_by(found)
            await self._announce(self._missing, question=found.question)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a connection sets to work."""

    delivery: Delivery
    reports: Reports
    asking: Asking
    rejections: Rejections
    standing: StandingKeeper
    clock: Clock
    asked_by: Callable[[Session], None] = lambda asker: None
    """Another agent asks whether this one lives: there are two of this name."""
