"""Brings every owned, managed node's wanted list to the broker: differences only, in order.

One worker per node, level-triggered: gather for a moment, plan (``fleet/publishing.py``), publish,
wait for the acknowledgements. A node is published to only when it is settled: what the broker
retains for it was read, or nothing came while the broker was quiet. What was not acknowledged when
a connection ended is not remembered; the next connection reads what the broker really has.
``uplink`` tells what came, ``sync`` what changed in the API.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import lru_cache

import structlog

from cloudhub.broker.connection import HubConnection
from cloudhub.fleet.delivery import Delivery
from cloudhub.fleet.fleet import Fleet, Wanted
from cloudhub.fleet.publishing import Plan, plan
from cloudhub.fleet.trimming import Body
from cloudhub.metrics import Metrics, NodeSync
from shared.clock import Clock
from shared.errors import LinkError, TooLarge
from shared.messages import Change, DesiredObject, Inventory, Session
from shared.objects import ObjectKey
from shared.tasks import KeyedWorkers
from shared.topics import NodeTopics, Topics, slot_of

log = structlog.get_logger()

GATHER = 0.02
"""Seconds in which the changes of a node become one."""
QUIET = 2.0
"""Seconds without any retained message after which what has not come is not there."""
PATIENCE = 1.0
"""Seconds that a list waits for objects which are being fetched, and a Node that is read."""
CORRECT_AFTER = 1.0
"""Seconds (up to twice) before another hub's list is corrected: it may know more than we do."""
RECHECK = 1.0
"""Seconds until our view is compared with the API server again, when it was behind."""
AT_ONCE = 64
"""Nodes published to at a time: with 1,000 messages each they have packet ids for all of them."""
REPEAT_AFTER = 10.0
"""Seconds between two publishes of a body that a device misses."""

Warn = Callable[[str, ObjectKey, str, str], None]
"""Tell the users of an object on one node: node, key, reason, message."""


class Downlink:
    def __init__(
        self,
        fleet: Fleet,
        connection: HubConnection,
        *,
        topics: Topics,
        clock: Clock,
        rng: random.Random,
        metrics: Metrics,
        warn: Warn,
        is_current: Callable[[str], Awaitable[bool]],
    ) -> None:
        """``is_current`` asks the API server whether what we know of a node's pods is all."""
        self._fleet = fleet
        self._connection = connection
        self._topics = topics
        self._clock = clock
        self._rng = rng
        self._metrics = metrics
        self._warn = warn
        self._is_current = is_current
        self._deliveries: dict[str, Delivery] = {}
        self._by_slot: dict[int, set[str]] = {}
        self._slot_since: dict[int, float] = {}
        self._last_retained = 0.0
        self._not_before: dict[str, float] = {}
        self._pending_since: dict[str, float] = {}
        self._doubtful_since: dict[str, float] = {}
        self._changed_at: dict[str, float] = {}
        self._repeated: dict[tuple[str, ObjectKey], float] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._workers = KeyedWorkers(self._deliver, clock=clock, name="delivery")

    # -- what others tell

    def manage(self, node: str) -> None:
        self._by_slot.setdefault(slot_of(node), set()).add(node)
        self._workers.wake(node)

    def unmanage(self, node: str) -> None:
        self._by_slot.get(slot_of(node), set()).discard(node)
        for times in (self._changed_at, self._pending_since, self._doubtful_since):
            times.pop(node, None)

    def dirty(self, nodes: Iterable[str]) -> None:
        now = self._clock.monotonic()
        for node in sorted(nodes):
            self._changed_at.setdefault(node, now)
            self._workers.wake(node)

    def slot_up(self, slot: int) -> None:
        self._slot_since[slot] = self._clock.monotonic()
        for node in sorted(self._by_slot.get(slot, ())):
            self._workers.wake(node)

    def slot_down(self, slot: int) -> None:
        self._slot_since.pop(slot, None)
        self._forget(node for node in self._deliveries if slot_of(node) == slot)

    def link_down(self) -> None:
        self._slot_since.clear()
        self._forget(self._deliveries)

    def _forget(self, nodes: Iterable[str]) -> None:
        for node in list(nodes):
            reborn = self._deliveries[node].next_life()
            if reborn.floor:
                self._deliveries[node] = reborn
            else:
                del self._deliveries[node]
            self._not_before.pop(node, None)

    def saw_retained(self) -> None:
        self._last_retained = self._clock.monotonic()

    def saw_inventory(self, node: str, found: Inventory | None, *, retained: bool) -> None:
        foreign = self._delivery(node).see_inventory(found, retained=retained)
        self._wake_after_sight(node, foreign)

    def saw_change(self, node: str, found: Change | None, *, retained: bool) -> None:
        foreign = self._delivery(node).see_change(found, retained=retained)
        self._wake_after_sight(node, foreign)

    def saw_birth(self, node: str, session: Session) -> None:
        self._delivery(node).see_birth(session)
        self._measure(node)
        self._workers.wake(node)

    def saw_applied(self, node: str, revision: int) -> None:
        delivery = self._delivery(node)
        delivery.see_applied(revision)
        self._measure(node)
        if revision > delivery.revision and not delivery.sending:
            self._workers.wake(node)

    def knows(self, node: str) -> bool:
        return node in self._deliveries

    def nodes_of(self, slot: int) -> set[str]:
        """Of the API, and those of which something came."""
        seen = {node for node in self._deliveries if slot_of(node) == slot}
        return seen | self._by_slot.get(slot, set())

    def count(self) -> int:
        return len(self._deliveries)

    def nodes(self, is_online: Callable[[str], bool]) -> Iterator[NodeSync]:
        """For the metrics: the managed nodes of our slots."""
        for node in [node for slot in self._slot_since for node in self._by_slot.get(slot, ())]:
            wanted, delivery = self._fleet.wanted(node), self._delivery(node)
            if wanted is None:
                continue
            known = delivery.known.inventory
            current = known.entries if known else {}
            held = current if delivery.in_step else delivery.before
            agree = sum(held.get(key) == entry for key, entry in wanted.entries.items())
            missing = sum(key in wanted.entries for key in delivery.missing)
            yield NodeSync(node, is_online(node), len(wanted.entries), max(0, agree - missing))

    async def stop(self) -> None:
        await self._workers.stop()

    def _delivery(self, node: str) -> Delivery:
        found = self._deliveries.get(node)
        if found is None:
            found = self._deliveries[node] = Delivery()
        return found

    def _wake_after_sight(self, node: str, foreign: bool) -> None:
        if foreign:
            pause = CORRECT_AFTER * (1 + self._rng.random())
            self._not_before[node] = self._clock.monotonic() + pause
        self._workers.wake(node)

    # -- one node at a time

    async def _deliver(self, node: str) -> float | None:
        wait = self._wait(node)
        if wait is None or wait > 0:
            return wait
        await self._clock.sleep(GATHER)
        async with self._turns:
            return await self._deliver_in_turn(node)

    async def _deliver_in_turn(self, node: str) -> float | None:
        wait, wanted = self._wait(node), self._fleet.wanted(node)
        if wait != 0.0 or wanted is None:
            return wait
        if patience := self._patience(node, wanted):
            return patience
        delivery = self._delivery(node)
        if delivery.contradicts(wanted.entries, self._fleet.reached.of(node)):
            others = delivery.others
            if not await self._is_current(node):
                return RECHECK
            delivery.caught_up(others)
            wait, wanted = self._wait(node), self._fleet.wanted(node)
            if wait != 0.0 or wanted is None:
                return wait
        try:
            await self._bring(node, delivery, wanted)
            return self._repeat_missing(node, delivery)
        except LinkError:
            if self._connection.up:
                raise
            return None

    def _wait(self, node: str) -> float | None:
        """Seconds until it may be published to; None = not ours or not known: somebody wakes."""
        since = self._slot_since.get(slot_of(node))
        if since is None or not self._fleet.listed(node):
            return None
        now = self._clock.monotonic()
        wait = self._not_before.get(node, now) - now
        if not self._delivery(node).settled:
            wait = max(wait, max(since, self._last_retained) + QUIET - now)
        return max(0.0, wait)

    def _patience(self, node: str, wanted: Wanted) -> float:
        """An object that nobody lets the hub read is waited for once; a Node each time."""
        since: list[float] = []
        for waits, began in (
            (not wanted.complete, self._pending_since),
            (wanted.doubtful, self._doubtful_since),
        ):
            if waits:
                since.append(began.setdefault(node, self._clock.monotonic()))
            else:
                began.pop(node, None)
        return max(0.0, max(since) + PATIENCE - self._clock.monotonic()) if since else 0.0

    async def _bring(self, node: str, delivery: Delivery, wanted: Wanted) -> None:
        topics = self._topics.of(node)
        sent: dict[Body, Awaitable[None]] = {}
        while (steps := self._plan(node, delivery, wanted)) is not None:
            refused = self._send_bodies(node, steps.bodies, sent)
            if not refused:
                await self._send(topics, delivery, steps, list(sent.values()))
                break
            delivery.refused |= {body.key: body.digest for body in refused}
        if delivery.known.inventory is not None:
            delivery.agreed = delivery.known.inventory.entries
        self._measure(node)

    def _plan(self, node: str, delivery: Delivery, wanted: Wanted) -> Plan | None:
        knowing = self._fleet.reached.of(node)
        return plan(wanted, delivery.facts(), self._fleet.body, knowing)

    def _send_bodies(
        self, node: str, bodies: Iterable[Body], sent: dict[Body, Awaitable[None]]
    ) -> list[Body]:
        """Answers the bodies that are over the broker's limit."""
        refused, topics = [], self._topics.of(node)
        for body in (one for one in bodies if one not in sent):
            try:
                sent[body] = self._publish("body", topics.desired(body.key), _encoded(body))
            except TooLarge as error:
                refused.append(body)
                self._refuse(node, body, error)
        return refused

    def _refuse(self, node: str, body: Body, error: TooLarge) -> None:
        log.warning(
            "object over the broker's packet limit", node=node, key=str(body.key), error=str(error)
        )
        text = (
            f"{body.key} does not fit the MQTT broker's maximum packet size; what the device has "
            f"of it stays as it is: {str(error).partition(': ')[2]}"
        )
        self._warn(node, body.key, "TooLargeForBroker", text)

    async def _send(
        self,
        topics: NodeTopics,
        delivery: Delivery,
        steps: Plan,
        acks: list[Awaitable[None]],
    ) -> None:
        delivery.begin(steps)
        acknowledged = False
        try:
            if steps.inventory is not None:
                payload = steps.inventory.encode()
                acks.append(self._publish("inventory", topics.inventory, payload))
            if steps.change is not None:
                acks.append(self._publish("change", topics.change, steps.change.encode()))
            for key in steps.clear:
                acks.append(self._publish("clear", topics.desired(key), b""))
            for ack in acks:
                await ack
            acknowledged = True
        finally:
            delivery.end(steps, acknowledged=acknowledged)

    def _repeat_missing(self, node: str, delivery: Delivery) -> float | None:
        """Bodies that the device should have and the broker did not; when to go on with them."""
        now, topics = self._clock.monotonic(), self._topics.of(node)
        self._repeated = {k: at for k, at in self._repeated.items() if now - at < REPEAT_AFTER}
        owed, delivery.owed = delivery.owed, ()
        for key in owed:
            body, entry = self._fleet.body(key), delivery.known_entry(key)
            if entry is None or (body is not None and entry.digest != body.digest):
                continue
            if body is None or (node, key) in self._repeated:
                delivery.owed = (*delivery.owed, key)
            else:
                self._repeated[node, key] = now
                self._publish("body", topics.desired(key), _encoded(body))
        return REPEAT_AFTER if delivery.owed else None

    def _publish(self, kind: str, topic: str, payload: bytes) -> Awaitable[None]:
        ack = self._connection.publish(topic, payload)
        self._metrics.published(kind, len(payload))
        return ack

    def _measure(self, node: str) -> None:
        """The lag of a change ends when the device has the newest list."""
        delivery, since = self._delivery(node), self._changed_at.get(node)
        if since is None or delivery.sending or not delivery.in_step:
            return
        wanted, known = self._fleet.wanted(node), delivery.known.inventory
        if wanted is not None and known is not None and wanted.entries == known.entries:
            del self._changed_at[node]
            self._metrics.lagged(self._clock.monotonic() - since)


@lru_cache(maxsize=64)
def _encoded(body: Body) -> bytes:
    """Compressed once, however many nodes name the object."""
    return DesiredObject(body.key, body.packed).encode()
