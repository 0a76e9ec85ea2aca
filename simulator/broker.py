"""A model of an MQTT 5 broker: retained store, sessions, Wills, and its own bad days.

Owns what a broker stores; clients reach it through ``simulator.sim_link`` over a ``Wire``, and the
calls here are their packets as they arrive. ``crash`` and ``start`` lose as much as the scenario
says. Kept honest by the tests in ``tests/link_contract``, which run against mosquitto as well.
"""

from __future__ import annotations

import asyncio
import enum
import random
from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import dataclass, replace
from typing import Any

from shared.link import ConnectOptions, Subscription, Will
from simulator.broker_session import Publication, Receiver, Session, Traits
from simulator.network import Wire
from simulator.topic_tree import TopicTree


class Store(enum.Enum):
    """What a broker still has when it starts again."""

    KEPT = "kept"
    SESSIONS_LOST = "sessions lost"
    ROLLED_BACK = "rolled back"
    WIPED = "wiped"


@dataclass(frozen=True)
class Snapshot:
    retained: dict[str, Publication]
    sessions: tuple[Session, ...]


class Broker:
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        rng: random.Random,
        *,
        traits: Traits | None = None,
        heard: Callable[[Publication, bool], None] = lambda publication, retain: None,
    ) -> None:
        """``heard`` is told of every PUBLISH that is taken, and whether it is to be retained."""
        self.loop = loop
        self.rng = rng
        self.traits = traits or Traits()
        self.up = True
        self.retained: TopicTree[Publication] = TopicTree()
        self.sessions: dict[str, Session] = {}
        self._heard = heard
        self.subscribes = 0
        """SUBSCRIBE packets taken."""
        self._context = copy_context()
        self._snapshot = Snapshot({}, ())

    # -- packets

    def connect(self, receiver: Receiver, wire: Wire, options: ConnectOptions) -> bool:
        """CONNECT; answers whether there was a session. ``resume`` follows the CONNACK."""
        session = self.sessions.get(options.client_id)
        if session is not None and session.wire is not None:
            session.wire.broker_closes()
            session = self.sessions.get(options.client_id)
        if session is not None and options.clean_start:
            self._end_session(session)
            session = None
        present = session is not None
        if session is None:
            session = Session(options.client_id, self.traits, self.rng)
            self.sessions[options.client_id] = session
        self._forget_timers(session)
        session.attach(receiver, wire, options)
        lost = session
        wire.accepted(lambda: self._connection_lost(lost))
        return present

    def resume(self, session: Session) -> None:
        session.resume(self.loop.time())

    def subscribe(
        self, session: Session, subscriptions: Sequence[Subscription], suback: Callable[[], None]
    ) -> None:
        self.subscribes += 1
        retained = [one for sub in subscriptions for one in self._retained_for(session, sub)]
        if not self.traits.retained_before_suback:
            suback()
        for publication in retained:
            session.enqueue(replace(publication, retained=True), self.loop.time())
        if self.traits.retained_before_suback:
            suback()

    def publish(self, publication: Publication, *, retain: bool) -> None:
        self._heard(publication, retain)
        if retain and publication.payload:
            self.retained.set(publication.topic, publication)
        elif retain:
            self.retained.drop(publication.topic)
        for session in list(self.sessions.values()):
            session.offer(publication, self.loop.time())

    def disconnect(self, session: Session) -> None:
        """DISCONNECT: the Will is not wanted."""
        session.will = None
        if session.wire is not None:
            session.wire.broker_closes()

    # -- bad days

    def take_snapshot(self) -> None:
        """What ``Store.ROLLED_BACK`` goes back to."""
        self._snapshot = self._stored()

    def crash(self) -> None:
        """Every connection breaks, nothing new is accepted until ``start``."""
        self.up = False
        for session in self.sessions.values():
            self._forget_timers(session)
            wire, session.wire, session.connection = session.wire, None, None
            if wire is not None:
                wire.broker_dies()

    def start(self, store: Store = Store.KEPT) -> None:
        stored = self._snapshot if store is Store.ROLLED_BACK else self._stored()
        wills = {one.client_id: one.will for one in self.sessions.values()}
        self.up = True
        self.retained = TopicTree()
        self.sessions = {}
        if store is not Store.WIPED:
            for topic, publication in stored.retained.items():
                self.retained.set(topic, publication)
        if store in (Store.KEPT, Store.ROLLED_BACK):
            for session in stored.sessions:
                self._revive(session.copy(self.traits), wills.get(session.client_id))

    def _revive(self, session: Session, will: Will | None) -> None:
        self.sessions[session.client_id] = session
        session.will = will if self.traits.keeps_wills else None
        self._connection_lost(session)

    def _stored(self) -> Snapshot:
        sessions = tuple(one.copy(self.traits) for one in self.sessions.values())
        return Snapshot(dict(self.retained.items()), sessions)

    # -- the ends of connections and sessions

    def _connection_lost(self, session: Session) -> None:
        session.wire = session.connection = None
        if session.expiry <= 0:
            self._end_session(session)
            return
        session.expiry_timer = self._later(session.expiry, self._end_session, session)
        will = session.will
        if will is not None and will.delay < session.expiry:
            session.will_timer = self._later(will.delay, self._send_will, session, will)

    def _end_session(self, session: Session) -> None:
        """A Will that still waits is published now: the session is over."""
        self._forget_timers(session, zombies=False)
        if self.sessions.get(session.client_id) is session:
            del self.sessions[session.client_id]
        if session.will is not None:
            self._send_will(session, session.will)

    def _send_will(self, session: Session, will: Will) -> None:
        if not self.up:
            return
        if session.will is will:
            session.will = session.will_timer = None
        self.publish(Publication(will.topic, will.payload, session.client_id), retain=True)

    def _forget_timers(self, session: Session, *, zombies: bool = True) -> None:
        zombie = zombies and self.up and self.rng.random() < self.traits.zombie_wills
        if session.will_timer is not None and not zombie:
            session.will_timer.cancel()
        if session.expiry_timer is not None:
            session.expiry_timer.cancel()
        session.will_timer = session.expiry_timer = None

    def _later(self, delay: float, call: Any, *args: Any) -> asyncio.TimerHandle:
        return self.loop.call_later(delay, call, *args, context=self._context)

    # -- retained messages for a subscription

    def _retained_for(self, session: Session, subscription: Subscription) -> list[Publication]:
        new = session.subscribe(subscription)
        handling = 0 if self.traits.ignores_retain_handling else subscription.retain_handling
        if handling == 2 or (handling == 1 and not new):
            return []
        now = self.loop.time()
        return [
            publication
            for _, publication in self.retained.matching(subscription.filter)
            if publication.expires is None or publication.expires > now
        ]
