"""Growing, jittered delays between tries; the caller sleeps.

Half of each delay is random, so that a fleet that lost its broker for long does not come back
together: after a minute's absence it is spread over half a minute. One
``Backoff`` belongs to one retried thing; ``reset`` after a success.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Delays in seconds: uniform between half and all of first, 2*first, 4*first … up to most."""

    first: float
    most: float
    rng: random.Random = field(default_factory=random.Random, repr=False)
    failures: int = 0

    def next(self, *, at_least: float | None = None) -> float:
        ceiling = min(self.most, self.first * 2.0 ** min(self.failures, 32))
        self.failures += 1
        delay = ceiling * (0.5 + self.rng.random() / 2)
        return max(delay, at_least or 0.0)

    def reset(self) -> None:
        self.failures = 0
