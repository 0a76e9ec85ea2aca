"""Counts what was refused and says so in the log, at most once a minute per reason."""

from __future__ import annotations

from collections import Counter

import structlog

from shared.clock import Clock

log = structlog.get_logger()

QUIET_SECONDS = 60.0


class Rejections:
    def __init__(self, clock: Clock) -> None:
        self.counts: Counter[str] = Counter()
        self._clock = clock
        self._said: dict[str, float] = {}

    def count(self, reason: str, **details: object) -> None:
        """``reason`` is one of a few short words; details only go into the log."""
        self.counts[reason] += 1
        now = self._clock.monotonic()
        if now - self._said.get(reason, -QUIET_SECONDS) >= QUIET_SECONDS:
            self._said[reason] = now
            log.warning("message rejected", reason=reason, so_far=self.counts[reason], **details)
