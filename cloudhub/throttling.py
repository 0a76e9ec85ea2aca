"""How much one node may cost: log lines that repeat themselves, work that it asks for at will.

Bounded by themselves: a bucket that was full again is as good as a new one. Pure but for the log.
Used by ``uplink.py``, ``tokens.py`` and ``reporting/``.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import structlog

from shared.clock import Clock

log = structlog.get_logger()

SAY_AGAIN = 10.0
"""Seconds between two log lines about the same reason."""
MOST_NODES = 20_000
MOST_REASONS = 1000


class Sayings:
    """Warnings that a device could bring about without end: each reason now and then."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._said: OrderedDict[str, float] = OrderedDict()

    def warn(self, reason: str, text: str, /, **details: Any) -> None:
        now = self._clock.monotonic()
        if now - self._said.get(reason, -SAY_AGAIN) < SAY_AGAIN:
            return
        self._said[reason] = now
        self._said.move_to_end(reason)
        if len(self._said) > MOST_REASONS:
            self._said.popitem(last=False)
        log.warning(text, **details)


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float


class Buckets:
    """A token bucket for every node."""

    def __init__(self, *, burst: float, per_second: float, clock: Clock) -> None:
        self._burst = burst
        self._per_second = per_second
        self._clock = clock
        self._of: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, node: str) -> bool:
        """A token, if there is one."""
        now = self._clock.monotonic()
        bucket = self._of.setdefault(node, _Bucket(self._burst, now))
        self._of.move_to_end(node)
        if len(self._of) > MOST_NODES:
            self._of.popitem(last=False)
        filled = bucket.tokens + (now - bucket.filled_at) * self._per_second
        bucket.tokens, bucket.filled_at = min(self._burst, filled), now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True
