"""Two agents with one name: which of them goes on. Pure.

Every birth passes through the broker in one order, and comes back to its sender (the subscription
is not "no local", for this). The agent whose birth is the last goes on; one that sees another's
birth after its own, or finds another's in the place of its own when it comes back, stops acting.
An agent is told apart by instance and boot, so two devices from one disk image are two.

What may be our own past is no rival: a broker that went back to an older store shows births of
earlier boots (same instance, lower counter), or of the instance that we had before the disk was
lost (then it, or a later one of that instance, stood there before our first birth, or it has our
boot id). Should the other live after all, it sees our birth come after its own.
"""

from __future__ import annotations

import enum

from shared.messages import Session


class Verdict(enum.Enum):
    NOTHING = "nothing"
    REPEAT = "repeat"
    """Something old covers our birth: publish the birth again."""
    FENCED = "fenced"


class Rivals:
    def __init__(self, *, instance: str, boot: str) -> None:
        self._me = (instance, boot)
        self._counter = 0
        self._published = False
        self._echoed = False
        self._older: dict[tuple[str, str], int] = {}
        """Who stood there before our first birth, and its highest counter."""
        self.lived = False
        """A birth of this process has come back from the broker."""

    def connecting(self, counter: int) -> None:
        """A new connection begins; its birth has this counter."""
        self._counter = counter
        self._published = self._echoed = False

    def publishing(self) -> None:
        """Our birth is on its way to the broker."""
        self._published = True

    def judge(self, found: Session, *, retained: bool) -> Verdict:
        """``retained``: it stands at the broker now; others may be old, sent once more."""
        if not found.online:
            return self._judge_death(found)
        if (found.instance, found.boot) == self._me:
            if found.counter == self._counter:
                self._echoed = self.lived = True
            return Verdict.NOTHING
        if self._is_past(found, retained=retained):
            return Verdict.REPEAT if self._echoed else Verdict.NOTHING
        same_machine = found.boot == self._me[1]
        took_our_place = retained and self.lived and not self._published and not same_machine
        return Verdict.FENCED if self._echoed or took_our_place else Verdict.NOTHING

    def _is_past(self, found: Session, *, retained: bool) -> bool:
        """Whether this birth is older than ours, whenever it comes."""
        who = (found.instance, found.boot)
        if not self.lived and (retained or not self._published):
            self._older[who] = max(found.counter, self._older.get(who, 0))
        if found.instance == self._me[0] and found.counter < self._counter:
            return True
        if found.counter <= self._older.get(who, -1):
            return True
        return any(
            found.instance == instance and found.counter < counter
            for (instance, _), counter in self._older.items()
        )

    def _judge_death(self, found: Session) -> Verdict:
        """Somebody's late Will over the birth that lives; it may even be ours, by its numbers:
        a counter that could not be stored, or was restored, has been used before."""
        return Verdict.REPEAT if self._echoed else Verdict.NOTHING
