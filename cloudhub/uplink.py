"""The door for everything that comes from the broker: typed, checked, counted, handed on.

Bytes that are no message of ours are counted by reason, logged now and then, and otherwise do
nothing. A node speaks for itself only: what a report says must be about the topic's own object,
that node or a pod bound to it. Sessions go to the Node code, lists to ``downlink``, reports to
``reporting`` and ``events``. Nothing here waits; ``connection`` acknowledges afterwards.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

import structlog

from cloudhub.broker.connection import HubConnection
from cloudhub.broker.forgetting import Forgetting
from cloudhub.broker.lifesigns import LifeSigns
from cloudhub.crossing import Crossing
from cloudhub.downlink import Downlink
from cloudhub.events.event_objects import Involved
from cloudhub.events.events import Events
from cloudhub.fleet.fleet import Fleet
from cloudhub.fleet.reports import ABOUT_PODS, ReportBook, most_of
from cloudhub.fleet.revisions import HIGHEST
from cloudhub.metrics import Metrics
from cloudhub.mirrors.mirrors import Mirrors
from cloudhub.nodes.presence import Heard
from cloudhub.refusing import Refusals
from cloudhub.reporting.reporting import Reporting
from cloudhub.tokens import Tokens
from shared.asking import TokenAnswer, TokenRequest
from shared.clock import Clock
from shared.errors import LinkError, PermanentError, WireError
from shared.link import Message
from shared.messages import Change, Inventory, Report, Session
from shared.objects import NO_NAMESPACE, ObjectKey
from shared.static_pods import list_key
from shared.tasks import KeyedWorkers
from shared.topics import Topics, key_below, slot_of

log = structlog.get_logger()

MOST_STRANGERS = 20_000
"""Nodes without a Node object of which something is remembered."""
MOST_CORRELATION = 64


class NodeListener(Protocol):
    """What the Node objects hear of; ``nodes.Nodes`` is it."""

    def heard(self, node: str, session: Session) -> Heard: ...

    def reported(self, node: str, report: Report) -> None: ...

    def linked(self, up: bool) -> None: ...

    def slot_up(self, slot: int) -> None:
        """What the broker retains of its nodes was told, and what they say now is."""
        ...

    def slot_down(self, slot: int) -> None:
        """Nothing is heard of its nodes any more."""
        ...

    def uid(self, node: str) -> str:
        """Of the Node object; empty while there is none."""
        ...

    async def read(self, node: str) -> bool:
        """Whether the API has this Node now; then ``sync.Sync`` has heard what it says."""
        ...


class Uplink:
    def __init__(
        self,
        connection: HubConnection,
        fleet: Fleet,
        book: ReportBook,
        nodes: NodeListener,
        downlink: Downlink,
        reporting: Reporting,
        events: Events,
        tokens: Tokens,
        *,
        mirrors: Mirrors,
        topics: Topics,
        clock: Clock,
        rng: random.Random,
        metrics: Metrics,
    ) -> None:
        self._connection = connection
        self._fleet = fleet
        self._book = book
        self._nodes = nodes
        self._downlink = downlink
        self._reporting = reporting
        self._events = events
        self._tokens = tokens
        self._mirrors = mirrors
        self._topics = topics
        self._clock = clock
        self._metrics = metrics
        self._births: dict[str, Session] = {}
        self._forgetting = Forgetting(book, self._ask_all, clock=clock)
        self._life_signs = LifeSigns(
            ask=self._ask_after, bury=self._declare_gone, clock=clock, rng=rng
        )
        self._crossing = Crossing(clock)
        self._refusals = Refusals(topics, self._let_go, clock=clock, metrics=metrics)
        self._looks = KeyedWorkers(self._look, clock=clock, name="reports known before of")
        self._branches: dict[str, Callable[[str, str, Message], None]] = {
            "session": self._session,
            "inventory": self._inventory,
            "change": self._change,
            "reported": self._reported,
            "ask": self._ask,
        }

    # -- the connection

    def link_up(self) -> None:
        self._metrics.connected(True)
        self._nodes.linked(True)

    def slot_up(self, slot: int) -> None:
        """What was heard before a loss of the link may be unwritten still."""
        self._downlink.slot_up(slot)
        self._nodes.slot_up(slot)
        for node in self._book.nodes_of(slot):
            self._reporting.look_at(node)
            self._mirrors.look_at(node)

    def slot_down(self, slot: int) -> None:
        self._downlink.slot_down(slot)
        for node in [node for node in self._births if slot_of(node) == slot]:
            del self._births[node]
            self._lost(node)
            self._forgetting.forget(node)
        for node in self._book.nodes_of(slot):
            self._book.drop_node(node)
            self._mirrors.forget(node)
        self._nodes.slot_down(slot)

    def link_down(self) -> None:
        self._metrics.connected(False)
        self._downlink.link_down()
        self._forgetting.all_gone()
        self._life_signs.all_gone()
        self._reporting.all_offline()
        self._nodes.linked(False)

    async def run(self) -> None:
        """Root task: never returns."""
        try:
            await self._life_signs.run()
        finally:
            await self._looks.stop()
            await self._forgetting.stop()

    def nodes_of(self, slot: int) -> set[str]:
        return self._downlink.nodes_of(slot).union(self._book.nodes_of(slot))

    def received(self, message: Message) -> None:
        if message.retained:
            self._downlink.saw_retained()
        try:
            node, rest = self._topics.parse(message.topic)
            branch = self._branches.get(rest.partition("/")[0])
            if branch is None:
                raise WireError("bad-topic", f"{message.topic!r:.200}")
            self._admit(node)
            branch(node, rest, message)
        except Exception as error:
            # Also what nobody foresaw: retained, it would end each hub that hears of the node.
            self._refusals.refuse(message.topic, error)

    def _admit(self, node: str) -> None:
        known = self._downlink.knows(node) or node in self._fleet.nodes()
        if not known and self._downlink.count() >= MOST_STRANGERS + len(self._fleet.nodes()):
            raise WireError("too-many-nodes", node)

    # -- what comes

    def _session(self, node: str, rest: str, message: Message) -> None:
        if rest != "session" or not message.payload:
            return
        session = Session.decode(message.payload)
        if session.asks:
            return
        self._check_revision(session.revision)
        last = self._births.get(node)
        if self._nodes.heard(node, session) is Heard.STALE:
            if last is not None:
                log.info("a late death was put right", node=node)
                self._put_back("session", message.topic, last.encode())
            return
        if not session.online:
            if last is not None and session.began_anew(last):
                # Its birth came while we had no link: what we remember is of the life before.
                self._book.restarted(node)
                self._births[node] = session
            self._lost(node)
            return
        if last is not None and session.began_anew(last):
            self._book.restarted(node)
        elif not message.retained:
            self._book.born(node)
        self._births[node] = session
        self._forgetting.born(node, session)
        self._life_signs.born(node, session, live=not message.retained)
        self._downlink.saw_birth(node, session)
        self._reporting.set_online(node, True)

    def _lost(self, node: str) -> None:
        self._forgetting.gone(node)
        self._life_signs.gone(node)
        self._reporting.set_online(node, False)

    def _inventory(self, node: str, rest: str, message: Message) -> None:
        found: Inventory | None = None
        try:
            if message.payload:
                found = Inventory.decode(message.payload)
                self._check_revision(found.revision)
        except WireError:
            self._downlink.saw_inventory(node, None, retained=message.retained)
            raise
        self._downlink.saw_inventory(node, found, retained=message.retained)

    def _change(self, node: str, rest: str, message: Message) -> None:
        found: Change | None = None
        try:
            if message.payload:
                found = Change.decode(message.payload)
                self._check_revision(found.revision)
        except WireError:
            self._downlink.saw_change(node, None, retained=message.retained)
            raise
        self._downlink.saw_change(node, found, retained=message.retained)

    def _reported(self, node: str, rest: str, message: Message) -> None:
        if not message.payload:
            with suppress(WireError):  # Somebody has cleared what was refused.
                self._book.drop(node, key_below(rest, "reported"))
            return
        key = key_below(rest, "reported")
        report = Report.decode(message.payload, most=most_of(key))
        self._check_report(node, key, report)
        if not self._book.accept(node, report, message.payload, retained=message.retained):
            self._answer_old(node, key, message)
            return
        if not message.retained:
            self._cover(node, key, message)
        self._downlink.saw_applied(node, report.applied)
        self._hand_on(node, report)

    def _ask(self, node: str, rest: str, message: Message) -> None:
        """Answers go to the node that asked, whatever topic it names for them."""
        topics = self._topics.of(node)
        if message.topic != topics.ask_token or message.response_topic != topics.answer:
            raise WireError("bad-topic", f"{message.topic!r:.200}")
        if message.retained or len(message.correlation) > MOST_CORRELATION:
            raise WireError("bad-ask", node)
        self._tokens.asked(node, TokenRequest.decode(message.payload), message.correlation)

    def _check_report(self, node: str, key: ObjectKey, report: Report) -> None:
        if report.key != key:
            raise WireError("foreign-report", f"{report.key} on the topic of {key}")
        own = {"Node": ObjectKey("Node", NO_NAMESPACE, node), "StaticPods": list_key(node)}
        if key.kind not in ABOUT_PODS and own.get(key.kind) != key:
            raise WireError("foreign-report", f"{node} speaks about {key}")
        if key.kind == "StaticPods":
            self._mirrors.check(node, report)
        self._check_revision(report.applied)

    def _check_revision(self, revision: int) -> None:
        if revision > HIGHEST:
            raise WireError("bad-revision", str(revision))

    def _answer_old(self, node: str, key: ObjectKey, message: Message) -> None:
        """A broker that went back to an old store gets the newer report again."""
        kept = self._book.payload(node, key)
        if message.retained and kept is not None and kept != message.payload:
            self._put_report_back(node, key, kept)

    def _put_report_back(self, node: str, key: ObjectKey, payload: bytes) -> None:
        self._crossing.note(node, key)
        self._put_back("report", self._topics.of(node).reported(key), payload)

    def _cover(self, node: str, key: ObjectKey, message: Message) -> None:
        """A report that was on its way to us when we put an older one back lies below it now."""
        if self._crossing.may_be(node, key):
            self._put_back("report", message.topic, message.payload)

    def _hand_on(self, node: str, report: Report) -> None:
        if report.key.kind == "Node":
            self._nodes.reported(node, report)
            self._events.reported(Involved(report.key, node, node), report.events)
        elif report.key.kind == "StaticPods":
            self.look_at(node)
        else:
            self._reporting.reported(node, report.key)
            self._speak(node, report)

    def look_at(self, node: str) -> None:
        """The pods of the node are known now: judge what it had reported before."""
        self._mirrors.look_at(node)
        self._looks.wake(node)

    async def _look(self, node: str) -> None:
        """One by one: there may be thousands, and others wait."""
        for key in self._book.keys(node):
            self.look_at_pod(node, key)
            await asyncio.sleep(0)

    def look_at_pod(self, node: str, key: ObjectKey) -> None:
        payload = self._book.payload(node, key)
        if key.kind in ABOUT_PODS and payload is not None:
            self._reporting.reported(node, key)
            self._speak(node, Report.decode(payload))

    def _speak(self, node: str, report: Report) -> None:
        """Events are written about pods that are known to be the node's."""
        record = self._fleet.reported_as(report.key)
        if record is not None and (record.node, record.origin) == (node, report.uid):
            self._events.reported(Involved(record.key, record.origin, node), report.events)

    # -- what goes back

    async def clear_report(self, node: str, key: ObjectKey) -> None:
        """The pod is gone. A report of its namesake that crossed our clear is put back."""
        topic = self._topics.of(node).reported(key)
        await self._publish("clear", topic, b"")
        crossed = self._book.payload(node, key)
        if crossed is not None:
            self._put_report_back(node, key, crossed)

    def _let_go(self, node: str, rest: str) -> None:
        """Of what was refused: there it is what we took last of the object, if anything; a good
        report that is on its way to us is put back when it comes."""
        kept = b""
        with suppress(WireError):
            key = key_below(rest, "reported")
            kept = self._book.payload(node, key) or b""
            self._crossing.note(node, key)
        self._put_back("clear", f"{self._topics.of(node).base}/{rest}", kept)

    def answer_token(self, node: str, answer: TokenAnswer, correlation: bytes) -> None:
        topic = self._topics.of(node).answer
        self._tell("answer", topic, answer.encode(), correlation=correlation)

    def _ask_all(self, node: str) -> None:
        """An agent that finds its session cleared sends every report again."""
        self._put_back("session", self._topics.of(node).session, b"")

    def _ask_after(self, node: str, question: Session) -> None:
        self._tell("question", self._topics.of(node).session, question.encode())

    def _tell(self, kind: str, topic: str, payload: bytes, *, correlation: bytes = b"") -> None:
        """Best effort: who is not answered asks again, and so do we."""
        try:
            self._connection.tell(topic, payload, correlation=correlation)
        except (LinkError, PermanentError) as error:
            log.warning("not told", kind=kind, topic=topic, error=str(error))
        else:
            self._metrics.published(kind, len(payload))

    def _declare_gone(self, node: str, birth: Session) -> None:
        """In the place of the Will that the broker has forgotten."""
        log.warning("nobody answers for this node; its agent counts as gone", node=node)
        death = Session(False, birth.instance, birth.counter)
        self._put_back("session", self._topics.of(node).session, death.encode())
        self._nodes.heard(node, death)
        self._lost(node)

    def _put_back(self, kind: str, topic: str, payload: bytes) -> None:
        """Best effort: what is lost with the connection is judged anew at the next one."""
        try:
            self._publish(kind, topic, payload)
        except (LinkError, PermanentError) as error:
            log.warning("not put back", topic=topic, error=str(error))

    def _publish(self, kind: str, topic: str, payload: bytes) -> Awaitable[None]:
        ack = self._connection.publish(topic, payload)
        self._metrics.published(kind, len(payload))
        return ack
