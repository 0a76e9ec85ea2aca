"""What the hub's messages to itself tell about those that the broker may have dropped. Pure.

A broker queues a bounded number of messages for a client and drops the rest without a word. An
echo lies in that same queue, behind what waits. A queue that was full a moment ago is long still:
so when an echo is lost, or many messages lay before it, others may have been lost, and
``suspicious`` says so. Retained messages that the hub asked for are expected in number and count
by the fate of the echo directly behind them. Called by ``slot_reading.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

EVERY = 16
"""Messages after which there is to be a new echo."""
MOST_LIVE = 64
"""Messages before an echo that are taken for an ordinary moment."""
LONG_ENOUGH = MOST_LIVE + EVERY + MOST_LIVE // EVERY + 2
"""A queue of so many is never full unnoticed: what is taken of it before the next echo is sent,
what may lie before that one, and the echoes among them."""
MOST = 500
"""The same with the retained messages that were asked for: brokers hold 1000 and more."""


@dataclass(frozen=True, slots=True)
class _Mark:
    messages: int
    live: int


class Echoes:
    """Of one connection."""

    def __init__(self) -> None:
        self.messages = 0
        """How many have come so far."""
        self.suspicious = False
        self._live = 0
        self._number = 0
        self._last = _Mark(0, 0)
        self._under_way: dict[int, _Mark] = {}

    @property
    def due(self) -> bool:
        return self.messages - self._last.messages >= EVERY

    @property
    def newest(self) -> int | None:
        """The last echo that is still under way."""
        return next(reversed(self._under_way), None)

    def came(self, *, retained: bool) -> None:
        """A message that is no echo."""
        self.messages += 1
        self._live += not retained

    def send(self) -> int:
        """The number of a new echo, which the broker is given now."""
        self._number += 1
        self._last = self._under_way[self._number] = _Mark(self.messages, self._live)
        return self._number

    def back(self, number: int) -> list[int]:
        """It has come; answers the earlier ones that never will."""
        sent = self._under_way.pop(number, None)
        if sent is None:
            return []
        lost = [one for one in self._under_way if one < number]
        for one in lost:
            del self._under_way[one]
        live, messages = self._live - sent.live, self.messages - sent.messages
        if lost or live > MOST_LIVE or (live and messages > MOST):
            self.suspicious = True
        return lost

    def give_up(self) -> list[int]:
        """None of those under way will come; answers them."""
        lost = list(self._under_way)
        self._under_way.clear()
        if lost:
            self.suspicious = True
        return lost
