"""What shutdowns of one device explain, and what is wrong about how the agent uses their time.

While logind prepares one, a stop of any container has a cause; so has one that was begun then and
ends a little later, though the shutdown was called off. Pods of a system priority stop after all
others, and the machine is not let go while containers run that had time left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from edgeagent.pods.model.specs import CRITICAL_PRIORITY
from simulator.runtime import Run

REGULAR, CRITICAL = 20.0, 10.0
"""Seconds of the two turns, as the agent's settings have them unless told otherwise."""
LATE = 60.0
"""What a stop may take that was under way when the shutdown was called off: its grace period, and
a slow runtime. An agent that starts ends the stops that the one before it had begun, and gives them
the same time again."""
CLOSE = 1.0
"""Seconds of a turn in which nothing is judged: everybody's clock is a little behind."""

PriorityOf = Callable[[Run], int | None]
"""None for what nobody waits for: the API had it deleted, or it has finished."""


class Shutdowns:
    def __init__(self, now: Callable[[], float], priority: PriorityOf) -> None:
        self._now = now
        self._priority = priority
        self._began: float | None = None
        self._ended: float | None = None
        self._able = 0.0
        """Since when the agent could act: it was started, or its runtime came back."""
        self._last: float | None = None
        self._part = 1.0

    def announced(self, allowed: float) -> None:
        self._began = self._last = self._now()
        self._part = min(1.0, allowed / (REGULAR + CRITICAL))

    def agent_can_act(self) -> None:
        self._able = self._now()

    def over(self) -> None:
        """Called off, or the device is down."""
        if self._began is not None:
            self._began, self._ended = None, self._now()

    def explains(self, run: Run, *, for_good: bool) -> bool:
        """``for_good``: its pod never restarts, so its failure is decided and not taken back."""
        if self._began is not None or self._was_under_way(run):
            return True
        return for_good and self._ended is not None and run.started <= self._ended

    def ended_meanwhile(self, run: Run) -> bool:
        """Whether it came to its end in a shutdown: its pod may have been failed by then, as on a
        kubelet, above all when the runtime did not answer."""
        if run.ended is None or self._last is None or run.ended < self._last:
            return False
        return self._began is not None or self._ended is None or run.ended <= self._ended

    def _was_under_way(self, run: Run) -> bool:
        ended = self._ended
        if ended is None or run.started > ended:
            return False
        return self._now() <= max(ended, self._able) + LATE

    def out_of_turn(self, run: Run, running: Iterable[Run]) -> Run | None:
        """The run for which this one, which is being stopped, should have waited."""
        if not self._is_critical(run) or self._was_under_way(run) or not self._left(REGULAR):
            return None
        return next((one for one in running if self._is_regular(one)), None)

    def abandoned(self, running: Iterable[Run]) -> Run | None:
        """A run that still had time to stop when the agent let the machine go down."""
        for one in running:
            critical = self._is_critical(one)
            if (critical or self._is_regular(one)) and self._left(
                CRITICAL if critical else REGULAR
            ):
                return one
        return None

    def _left(self, share: float) -> bool:
        return self._began is not None and self._now() < self._began + share * self._part - CLOSE

    def _is_critical(self, run: Run) -> bool:
        return (self._priority(run) or 0) >= CRITICAL_PRIORITY

    def _is_regular(self, run: Run) -> bool:
        priority = self._priority(run)
        return priority is not None and priority < CRITICAL_PRIORITY
