"""Asks after agents of which only a birth is known that the broker retained.

While a broker lives, it publishes the Will of whoever goes away. One that lost power has forgotten
the Wills and still has the births: a device that went away meanwhile would look alive for ever. So
of each birth that was there before us, and that nobody repeats, we ask whether it is still true. Of
who does not answer we publish the death that the broker owes us. That is safe: an agent that lives
after all sees a death over its birth, and repeats it.

Invariant: a birth that was heard live, on this connection of ours, is never asked after. Owned by
``uplink.py``.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from shared.clock import Clock
from shared.messages import Session

PATIENCE = (60.0, 120.0)
"""Seconds until it is asked; agents that lost their broker are back and born anew by then. Spread
over these, so that not a whole fleet is asked at once."""
ANSWER_SECONDS = 30
ASKS = 2
LOOK_EVERY = 2.0


@dataclass(slots=True)
class _Doubt:
    birth: Session
    question: int
    due: float
    asked: int = 0


class LifeSigns:
    def __init__(
        self,
        *,
        ask: Callable[[str, Session], None],
        bury: Callable[[str, Session], None],
        clock: Clock,
        rng: random.Random,
    ) -> None:
        """``ask`` publishes the question to a node; ``bury`` is told of the birth that is over."""
        self._ask = ask
        self._bury = bury
        self._clock = clock
        self._rng = rng
        self._doubts: dict[str, _Doubt] = {}
        self._proved: dict[str, tuple[str, int]] = {}

    def born(self, node: str, birth: Session, *, live: bool) -> None:
        """A birth came; ``live``: not as what the broker retained of old."""
        connection = (birth.instance, birth.counter)
        doubt = self._doubts.get(node)
        if self._proved.get(node) == connection:
            return
        same = doubt is not None and doubt.birth.same_connection(birth)
        if live and (doubt is None or not same or birth.question == doubt.question):
            self._proved[node] = connection
            self._doubts.pop(node, None)
        elif not same:
            due = self._clock.monotonic() + self._rng.uniform(*PATIENCE)
            self._doubts[node] = _Doubt(birth, self._rng.getrandbits(32) | 1, due)

    def gone(self, node: str) -> None:
        self._doubts.pop(node, None)
        self._proved.pop(node, None)

    def all_gone(self) -> None:
        self._doubts.clear()
        self._proved.clear()

    async def run(self) -> None:
        """Root task: never returns."""
        while True:
            await self._clock.sleep(LOOK_EVERY)
            now = self._clock.monotonic()
            for node, doubt in list(self._doubts.items()):
                if doubt.due <= now:
                    self._press(node, doubt, now)

    def _press(self, node: str, doubt: _Doubt, now: float) -> None:
        if doubt.asked == ASKS:
            del self._doubts[node]
            self._bury(node, doubt.birth)
            return
        doubt.asked += 1
        doubt.due = now + ANSWER_SECONDS
        self._ask(node, Session(False, "", 0, question=doubt.question))
