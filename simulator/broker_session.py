"""What the broker keeps per client id: subscriptions, a bounded queue, what awaits its PUBACK.

Invariant: per topic, messages leave in the order in which they were published, first tries of
the same topic never overtake each other; a session that is resumed sends the unacknowledged again
first. Called by ``simulator.broker`` only.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass, field

from shared.link import ConnectOptions, Message, Subscription, Will
from simulator.network import Wire
from simulator.topic_tree import Filters

OVERHEAD = 10
"""Bytes of a PUBLISH beyond topic and payload; enough for slow links to be slow."""


@dataclass(frozen=True, slots=True)
class Publication:
    topic: str
    payload: bytes
    source: str
    """Client id of who published it; empty for the broker itself."""
    expires: float | None = None
    response_topic: str = ""
    correlation: bytes = b""
    retained: bool = False

    @property
    def size(self) -> int:
        return len(self.topic) + len(self.response_topic) + len(self.payload) + OVERHEAD


@dataclass(frozen=True)
class Traits:
    """How brokers differ within what MQTT 5 allows, and a little beyond."""

    queue_cap: int = 1000
    max_inflight: int = 65535
    """PUBLISH under way to a client, whatever Receive Maximum it allows."""
    max_packet_size: int = 2 * 1024 * 1024
    retained_before_suback: bool = False
    one_copy_per_subscription: bool = False
    reorders: float = 0.0
    """Chance that a message passes one of another topic in a session's queue."""
    ignores_retain_handling: bool = False
    keeps_wills: bool = True
    """Over its own crash."""
    zombie_wills: float = 0.0
    """Chance that a Will is published although its client came back in time."""


@dataclass(eq=False)
class Session:
    client_id: str
    traits: Traits
    rng: random.Random
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    queue: deque[Publication] = field(default_factory=deque)
    inflight: dict[int, Publication] = field(default_factory=dict)
    expiry: int = 0
    will: Will | None = None
    will_timer: asyncio.TimerHandle | None = None
    expiry_timer: asyncio.TimerHandle | None = None
    wire: Wire | None = None
    connection: Receiver | None = None
    dropped: int = 0
    _receive_maximum: int = 65535
    _next_id: int = 0
    _filters: Filters[Subscription] = field(default_factory=Filters)

    def __post_init__(self) -> None:
        for subscription in self.subscriptions.values():
            self._filters.set(subscription.filter, subscription)

    def attach(self, receiver: Receiver, wire: Wire, options: ConnectOptions) -> None:
        self.connection, self.wire = receiver, wire
        self.expiry, self.will = options.session_expiry, options.will
        self._receive_maximum = min(options.receive_maximum, self.traits.max_inflight)

    def subscribe(self, subscription: Subscription) -> bool:
        """Whether it is new."""
        new = subscription.filter not in self.subscriptions
        self.subscriptions[subscription.filter] = subscription
        self._filters.set(subscription.filter, subscription)
        return new

    def unsubscribe(self, topic_filter: str) -> None:
        if self.subscriptions.pop(topic_filter, None):
            self._filters.drop(topic_filter)

    def offer(self, publication: Publication, now: float) -> None:
        """A new PUBLISH of somebody: queued once, or once per subscription."""
        wanted = [
            one
            for one in self._filters.matching(publication.topic)
            if not (one.no_local and publication.source == self.client_id)
        ]
        copies = len(wanted) if self.traits.one_copy_per_subscription else min(len(wanted), 1)
        for _ in range(copies):
            self.enqueue(publication, now)

    def enqueue(self, publication: Publication, now: float) -> None:
        if len(self.queue) >= self.traits.queue_cap:
            self.dropped += 1
            return
        self.queue.insert(self._place(publication.topic), publication)
        self.pump(now)

    def resume(self, now: float) -> None:
        for packet_id, publication in self.inflight.items():
            self._send(packet_id, publication)
        self.pump(now)

    def acknowledged(self, packet_id: int, now: float) -> None:
        self.inflight.pop(packet_id, None)
        self.pump(now)

    def pump(self, now: float) -> None:
        while self.queue and self.wire and len(self.inflight) < self._receive_maximum:
            publication = self.queue.popleft()
            if publication.expires is not None and publication.expires <= now:
                continue
            self._next_id += 1
            self.inflight[self._next_id] = publication
            self._send(self._next_id, publication)

    def copy(self, traits: Traits) -> Session:
        """As a broker's store would have it: without a connection, timers or Will."""
        return Session(
            self.client_id,
            traits,
            self.rng,
            subscriptions=dict(self.subscriptions),
            queue=deque(self.queue),
            inflight=dict(self.inflight),
            expiry=self.expiry,
            _next_id=self._next_id,
        )

    def _place(self, topic: str) -> int:
        """Where in the queue: at its end, or before some of other topics."""
        place = len(self.queue)
        if self.traits.reorders and self.rng.random() < self.traits.reorders:
            while place and self.queue[place - 1].topic != topic and self.rng.random() < 0.5:
                place -= 1
        return place

    def _send(self, packet_id: int, publication: Publication) -> None:
        assert self.wire is not None and self.connection is not None
        message = Message(
            topic=publication.topic,
            payload=publication.payload,
            retained=publication.retained,
            packet_id=packet_id,
            response_topic=publication.response_topic,
            correlation=publication.correlation,
        )
        connection = self.connection
        self.wire.down.send(publication.size, lambda: connection.received(message))


class Receiver:
    """The client's end as the broker's packets find it; ``simulator.sim_link`` has the real one."""

    def received(self, message: Message) -> None:
        raise NotImplementedError
