"""A device's clocks over virtual time: uptime that only grows, a wall clock that jumps."""

from __future__ import annotations

import asyncio

EPOCH = 1_780_000_000.0
"""The true wall clock at virtual time 0."""


class SimClock:
    """``offset`` is how wrong the wall clock is; ``boot`` restarts the monotonic clock."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, offset: float = 0.0) -> None:
        self._loop = loop
        self._booted = loop.time()
        self.offset = offset

    def now(self) -> float:
        return EPOCH + self._loop.time() + self.offset

    def monotonic(self) -> float:
        return self._loop.time() - self._booted

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def boot(self) -> None:
        self._booted = self._loop.time()

    def set_wall(self, now: float) -> None:
        self.offset = now - EPOCH - self._loop.time()
