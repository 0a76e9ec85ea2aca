"""Time as a port: everything that asks for it takes a ``Clock``, so that tests own it.

Durations come from ``monotonic`` (it also counts while the device sleeps); ``now`` is the wall
clock, which on a device may start in 1970 and jump, and is used for display and for stamps only.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

CLOCK_WAS_SET = 1_600_000_000.0
"""Before that second (13 September 2020) a wall clock is one that was never set."""


class Clock(Protocol):
    def now(self) -> float:
        """Wall clock, seconds since 1970. Never used for durations."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's own clocks; the monotonic one is CLOCK_BOOTTIME, which counts suspend."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
