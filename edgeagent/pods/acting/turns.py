"""So many starts at a time: pods that have begun come before those that have not.

With twenty pods at once the first runs soon, instead of all at the end. Called by
``starting.py``.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import IntEnum


class Start(IntEnum):
    """What is to be started; the lower comes first."""

    CONTAINER = 0
    SANDBOX = 1


class Turns:
    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._came = 0
        self._waiting: list[tuple[Start, int, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def take(self, start: Start) -> AsyncIterator[None]:
        """Within it the caller has a turn."""
        await self._acquire(start)
        try:
            yield
        finally:
            self._release()

    async def _acquire(self, start: Start) -> None:
        if self._free:
            self._free -= 1
            return
        called = asyncio.get_running_loop().create_future()
        self._came += 1
        heapq.heappush(self._waiting, (start, self._came, called))
        try:
            await called
        except asyncio.CancelledError:
            if called.done() and not called.cancelled():
                self._release()
            raise

    def _release(self) -> None:
        """Hand the turn to the next who still waits."""
        while self._waiting:
            _, _, called = heapq.heappop(self._waiting)
            if not called.done():
                called.set_result(None)
                return
        self._free += 1
