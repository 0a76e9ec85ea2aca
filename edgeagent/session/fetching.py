"""Fetches from the broker what a message did not bring: the complete list, missing bodies.

To fetch is to subscribe with retain handling 0, and to unsubscribe when the right thing has come.
What does not come in time is announced as missing (the hub then publishes it again) and asked for
again with growing pauses, so that waiting for a hub costs next to nothing.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

from edgeagent.session.delivery import Delivery
from edgeagent.waking import woken
from shared.backoff import Backoff
from shared.clock import Clock
from shared.link import Connection, Subscription
from shared.objects import ObjectKey

PATIENCE = 3.0
"""Seconds after which what was asked for counts as not there."""
LONGEST = 600.0


class Fetching:
    """One per process: subscriptions outlive connections, as the broker's session does."""

    def __init__(
        self,
        delivery: Delivery,
        *,
        announce: Callable[[frozenset[ObjectKey]], Awaitable[None]],
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._delivery = delivery
        self._announce = announce
        self._clock = clock
        self._announced: frozenset[ObjectKey] = frozenset()
        self._subscribed: frozenset[str] = frozenset()
        self._backoff = Backoff(PATIENCE * 2, LONGEST, rng)

    async def run(self, connection: Connection) -> None:
        """As long as the connection."""
        if not connection.session_present:
            self._subscribed = frozenset()
        self._announced = frozenset()
        # Connections may be short, and the hub may be another one: no pause of the last counts.
        self._backoff.reset()
        again, due = True, None
        while True:
            wanted = await self._subscribe(connection, again=again)
            due = self._due(due, wanted=bool(wanted), again=again)
            pause = None if due is None else max(0.0, due - self._clock.monotonic())
            again = not await woken(self._delivery.progress, within=pause)
            await self._tell_missing(late=again)

    async def _subscribe(self, connection: Connection, *, again: bool) -> frozenset[str]:
        wanted = self._delivery.wanted_filters(self._subscribed)
        useless = (self._subscribed | self._delivery.strays) - wanted
        self._delivery.strays.clear()
        if new := wanted if again else wanted - self._subscribed:
            self._subscribed |= new
            await connection.subscribe([Subscription(one) for one in sorted(new)])
        if useless:
            await connection.unsubscribe(sorted(useless))
            self._subscribed -= useless
        return wanted

    def _due(self, due: float | None, *, wanted: bool, again: bool) -> float | None:
        """When to ask again for what is still wanted; other messages do not put it off."""
        if not wanted:
            self._backoff.reset()
            return None
        if due is None or again:
            return self._clock.monotonic() + self._backoff.next()
        return due

    async def _tell_missing(self, *, late: bool) -> None:
        """When they did not come in time, and once more when all have come."""
        missing = self._delivery.missing
        if missing != self._announced and (late or not missing):
            self._announced = missing
            await self._announce(missing)
