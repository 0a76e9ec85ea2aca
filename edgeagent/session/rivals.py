"""Two agents with one name: which of them goes on. Pure.

Every birth passes through the broker in one order, and comes back to its sender (the subscription
is not "no local", for this). The agent whose birth is the last goes on. One that sees another's
birth after its own, or finds another's in the place of its own when it comes back, has a rival
perhaps: it leaves, and ``yielding.py`` asks. An agent is told apart by instance and boot, so two
devices from one disk image are two.

What stands at a broker is never proof of a life: one that went back to an older store shows births
of our own past, also of an instance that was lost with its disk long ago. Only an answer is proof.
What is past for certain is not even asked after: earlier connections of this instance, and who
stood there before our first birth. Should such a one live after all, it sees our birth come after
its own, and asks us.
"""

from __future__ import annotations

import enum

from shared.messages import Session


class Verdict(enum.Enum):
    NOTHING = "nothing"
    REPEAT = "repeat"
    """Something old covers our birth: publish the birth again."""
    ANSWER = "answer"
    """Somebody asks whether we live: publish the birth again, with the question."""
    RIVAL = "rival"
    """Somebody else may live under our name: leave, and ask."""


class Rivals:
    def __init__(self, *, instance: str, boot: str) -> None:
        self._me = (instance, boot)
        self._counter = 0
        self._published = False
        self._echoed = False
        self._covered = False
        """Somebody past has come over the birth of this connection once."""
        self._past: dict[str, int] = {}
        """By instance: up to which counter its births are older than ours."""
        self.lived = False
        """A birth of this process has come back from the broker."""

    def connecting(self, counter: int) -> None:
        """A new connection begins; its birth has this counter."""
        self._counter = counter
        self._published = self._echoed = self._covered = False
        self._note(self._me[0], counter - 1)

    def publishing(self) -> None:
        """Our birth is on its way to the broker."""
        self._published = True

    def alone(self) -> None:
        """We asked, and nobody answered: who stands there now is past."""
        self.lived = False

    def judge(self, found: Session, *, retained: bool) -> Verdict:
        """``retained``: it stands at the broker now; others may be old, sent once more."""
        is_me = (found.instance, found.boot) == self._me
        if found.asks:
            asked = self._published and not retained and not is_me
            return Verdict.ANSWER if asked else Verdict.NOTHING
        if not found.online:
            return self._judge_death()
        if is_me:
            if found.counter == self._counter:
                self._echoed = self.lived = True
            return Verdict.NOTHING
        if not self.lived and (retained or not self._published):
            self._note(found.instance, found.counter)
        if found.counter <= self._past.get(found.instance, -1):
            return self._judge_past()
        in_our_place = retained and self.lived and not self._published
        return Verdict.RIVAL if self._echoed or in_our_place else Verdict.NOTHING

    def _note(self, instance: str, counter: int) -> None:
        self._past[instance] = max(counter, self._past.get(instance, -1))

    def _judge_past(self) -> Verdict:
        """Counters can be lost (a full disk, an older image): who comes twice may live."""
        if not self._echoed:
            return Verdict.NOTHING
        if self._covered:
            return Verdict.RIVAL
        self._covered = True
        return Verdict.REPEAT

    def _judge_death(self) -> Verdict:
        """Somebody's late Will over the birth that lives; it may even be ours, by its numbers:
        a counter that could not be stored, or was restored, has been used before."""
        return Verdict.REPEAT if self._echoed else Verdict.NOTHING
