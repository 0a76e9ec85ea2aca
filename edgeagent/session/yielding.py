"""Gives way to another agent of our name, for as long as that one answers.

Owns the question. It is asked over a connection of its own: no Will, a client id of its own (a
device cloned from our disk shares ours, and would be thrown out), and nothing of what the broker
retains. Nobody but a living agent can say its random number back: not the broker's store, however
old, not a hub that puts a birth back.

Invariant: ``fenced`` is set by an answer alone, and nothing is given up for good: who gave way
looks again, ever more seldom, and goes on when nobody answers any more. Called by
``connection.py``, which is not connected meanwhile.
"""

from __future__ import annotations

import asyncio
import random

import structlog

from edgeagent.standing import StandingKeeper
from edgeagent.store.identity import Identity
from shared.backoff import Backoff
from shared.clock import Clock
from shared.errors import LinkError, PermanentError, TemporaryError, WireError
from shared.link import Connection, ConnectOptions, Link, Subscription
from shared.messages import Session
from shared.tasks import stop

log = structlog.get_logger()

ANSWER_SECONDS = 5
ASKS = 3
ASKS_OF_A_CLONE = 14
"""Our connection threw it out, and it comes back after a minute at most."""
LOOK_AGAIN = (60.0, 600.0)
RECONNECT = (1.0, 60.0)
KEEP_ALIVE = 60
RECEIVE_MAXIMUM = 64
NEVER = 2
"""Retain handling: only what is published from now on."""


class Yielding:
    def __init__(
        self,
        node: str,
        *,
        boot: str,
        topic: str,
        link: Link,
        identity: Identity,
        standing: StandingKeeper,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self.fenced = asyncio.Event()
        """Another agent has our name and lives."""
        self.free = asyncio.Event()
        """The opposite."""
        self.free.set()
        self._node = node
        self._boot = boot
        self._topic = topic
        self._link = link
        self._identity = identity
        self._standing = standing
        self._clock = clock
        self._rng = rng

    async def until_alone(self, suspect: Session) -> None:
        """Returns when nobody answers to our name; ``suspect`` is why we ask."""
        log.warning(
            "asking whether another agent has this node's name",
            instance=suspect.instance,
            boot=suspect.boot,
        )
        cloned = suspect.instance == self._identity.instance
        asks = ASKS_OF_A_CLONE if cloned else ASKS
        looks = Backoff(*LOOK_AGAIN, self._rng)
        while (answer := await self._ask_until_asked(asks)) is not None:
            self._give_way(answer)
            await self._clock.sleep(looks.next())
        if self.fenced.is_set():
            log.warning("the other agent of this node's name is gone; going on")
        self._standing.update(fenced="", link="not connected yet")
        self.fenced.clear()
        self.free.set()

    def _give_way(self, rival: Session) -> None:
        why = (
            f"another agent has the name {self._node} (instance {rival.instance},"
            f" boot {rival.boot}); give one of the two another node-name"
        )
        if not self.fenced.is_set():
            log.error("stopped acting; containers are left as they are", reason=why)
        self._standing.update(fenced=why, link="left to the other agent", hub="")
        self.free.clear()
        self.fenced.set()

    async def _ask_until_asked(self, asks: int) -> Session | None:
        """Without a link nothing is known, and all stays as it is."""
        backoff = Backoff(*RECONNECT, self._rng)
        if not self.fenced.is_set():
            self._standing.update(link="asking whether another agent has this name", hub="")
        while True:
            try:
                return await self._ask(asks)
            except (TemporaryError, PermanentError) as error:
                delay = backoff.next(at_least=getattr(error, "delay", None))
                log.debug("could not ask", reason=str(error), retry_in=round(delay, 1))
                if not self.fenced.is_set():
                    self._standing.update(link=f"not connected: {error}")
                await self._clock.sleep(delay)

    async def _ask(self, asks: int) -> Session | None:
        """The birth of who answered."""
        number = self._rng.getrandbits(32) | 1
        who = (self._identity.instance, self._identity.counter)
        question = Session(False, *who, boot=self._boot, question=number).encode()
        options = ConnectOptions(
            client_id=f"{self._node}.{self._identity.instance}.{number:x}",
            clean_start=True,
            session_expiry=0,
            keep_alive=KEEP_ALIVE,
            receive_maximum=RECEIVE_MAXIMUM,
        )
        async with self._link.connect(options) as connection:
            await connection.subscribe([Subscription(self._topic, retain_handling=NEVER)])
            listening = asyncio.create_task(_answer_to(number, connection))
            try:
                for _ in range(asks):
                    await connection.publish(self._topic, question, expiry=ANSWER_SECONDS)
                    await asyncio.wait({listening}, timeout=ANSWER_SECONDS)
                    if listening.done():
                        return listening.result()
            finally:
                await stop(listening)
        return None


async def _answer_to(number: int, connection: Connection) -> Session:
    async for message in connection.messages():
        connection.ack(message)
        try:
            found = Session.decode(message.payload)
        except WireError:
            continue
        if found.online and found.question == number:
            return found
    raise LinkError("broker: connection lost")
