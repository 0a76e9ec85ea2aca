"""Who stops when while a device shuts down, and how long each has. Pure.

Owns the turns: pods stop by priority, the least important first, as a kubelet with
``shutdownGracePeriodByPodPriority`` has it. A turn has its share of the grace period; of that a pod
gets at most all but a second, in which its end is told. Where less time is allowed than asked for,
all shares shrink alike.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edgeagent.pods.held import HeldPod
from edgeagent.pods.model.view import Shutdown
from shared.objects import Json

TELLING_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Turns:
    """One for each class of priority, the lowest first; one at least."""

    priorities: tuple[int, ...]
    """The least priority of each class, rising; what is below the first is of the first too."""
    shares: tuple[float, ...]
    """Seconds of each."""

    @property
    def total(self) -> float:
        return sum(self.shares)

    def within(self, allowed: float) -> Turns:
        if self.total <= allowed:
            return self
        part = allowed / self.total
        return Turns(self.priorities, tuple(share * part for share in self.shares))

    def of(self, pod: Json) -> int:
        """Which of the turns is this pod's."""
        priority = pod["spec"].get("priority") or 0
        return max(bisect_right(self.priorities, priority) - 1, 0)


def turns_of(seconds: Mapping[int, float]) -> Turns:
    """From the seconds of each class, by its least priority."""
    classes = sorted(seconds.items())
    return Turns(tuple(least for least, _ in classes), tuple(share for _, share in classes))


@dataclass(frozen=True, slots=True)
class Course:
    """How far a shutdown has come: whose turn it is."""

    turns: Turns
    since: tuple[float, ...]
    """When each turn that has come began, monotonic."""

    def __call__(self, pod: Json) -> Shutdown:
        turn = self.turns.of(pod)
        if turn >= len(self.since):
            return Shutdown()
        return Shutdown(most_grace(self.turns.shares[turn]), self.since[turn])

    def waits_for(self, pods: Iterable[HeldPod]) -> list[HeldPod]:
        """Those whose turn has come and who are not at rest."""
        return [one for one in pods if not one.rests and self(one.pod).grace is not None]


def most_grace(share: float) -> int:
    """Whole seconds, as runtimes count them; one at least, or nobody would get a signal to end."""
    return max(int(share - TELLING_SECONDS), 1) if share > 0 else 0
