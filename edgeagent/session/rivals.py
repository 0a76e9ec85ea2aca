"""Two agents with one name: which of them goes on. Pure.

Every birth passes through the broker in one order, and comes back to its sender (the subscription
is not "no local", for this). The agent whose birth is the last goes on; one that sees another's
birth after its own, or finds another's in the place of its own when it comes back, stops acting.
An agent is told apart by instance and boot, so two devices from one disk image are two.
"""

from __future__ import annotations

import enum

from shared.messages import Session


class Verdict(enum.Enum):
    NOTHING = "nothing"
    REPEAT = "repeat"
    """Somebody's death covers our birth: publish the birth again."""
    FENCED = "fenced"


class Rivals:
    def __init__(self, *, instance: str, boot: str) -> None:
        self._me = (instance, boot)
        self._counter = 0
        self._published = False
        self._echoed = False
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
        took_our_place = retained and self.lived and not self._published
        return Verdict.FENCED if self._echoed or took_our_place else Verdict.NOTHING

    def _judge_death(self, found: Session) -> Verdict:
        """A late Will of an older connection, ours or another's, over the birth that lives."""
        ours = (found.instance, found.counter) == (self._me[0], self._counter)
        return Verdict.REPEAT if self._echoed and not ours else Verdict.NOTHING
