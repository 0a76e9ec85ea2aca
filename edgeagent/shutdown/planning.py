"""Who stops when while a device shuts down, and how long each has. Pure.

Owns the two turns of a kubelet: pods of a priority that is reserved for the system stop after all
others. Each turn has its share of the grace period; of that a pod gets at most all but a second, in
which its end is told. Where less time is allowed than asked for, both shares shrink alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgeagent.pods.held import HeldPod
from edgeagent.pods.resources.kernel import CRITICAL_PRIORITY
from edgeagent.pods.view import Shutdown
from shared.objects import Json

TELLING_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Shares:
    """Seconds of each turn."""

    regular: float
    critical: float

    @property
    def total(self) -> float:
        return self.regular + self.critical

    def within(self, allowed: float) -> Shares:
        if self.total <= allowed:
            return self
        part = allowed / self.total
        return Shares(self.regular * part, self.critical * part)


@dataclass(frozen=True, slots=True)
class Course:
    """How far a shutdown has come: whose turn it is. Moments are monotonic."""

    shares: Shares
    regular_since: float
    critical_since: float | None = None
    """None = their turn has not come."""

    def __call__(self, pod: Json) -> Shutdown:
        if not is_critical(pod):
            return Shutdown(most_grace(self.shares.regular), self.regular_since)
        if self.critical_since is None:
            return Shutdown()
        return Shutdown(most_grace(self.shares.critical), self.critical_since)

    def waits_for(self, pods: Iterable[HeldPod]) -> list[HeldPod]:
        """Those whose turn has come and who are not at rest."""
        return [one for one in pods if not one.rests and self(one.pod).grace is not None]


def is_critical(pod: Json) -> bool:
    return (pod["spec"].get("priority") or 0) >= CRITICAL_PRIORITY


def most_grace(share: float) -> int:
    """Whole seconds, as runtimes count them; one at least, or nobody would get a signal to end."""
    return max(int(share - TELLING_SECONDS), 1) if share > 0 else 0
