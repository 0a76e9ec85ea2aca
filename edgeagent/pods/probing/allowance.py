"""The time that a probe gives a container, of which only what was really waited for it counts.

Owns the difference between a container that is slow and an agent that is: an event loop with much
to do, or a process that gets no processor, sees an answer late however early it came. The time
passes in slices; by as much as the loop wakes late from one, by so much less of it counts. On a
quiet device that is the time itself. Called by ``dialing``, ``http_client`` and ``grpc_health``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_SLICES = 20
_MOST = 10
"""How many times its length a time can take; an agent that is so busy has to say something."""


class Allowance:
    """For one attempt, however many steps it has; ``running`` may be entered once for each."""

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._left = seconds
        self._slice = seconds / _SLICES
        self._ends = self._loop.time() + _MOST * seconds
        self._began = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Raises TimeoutError when the time is over before the block is."""
        async with asyncio.timeout(None) as scope:
            self._next(scope)
            try:
                yield
            finally:
                if self._timer is not None:
                    self._timer.cancel()
                self._left -= min(self._loop.time() - self._began, self._slice)

    def _next(self, scope: asyncio.Timeout) -> None:
        self._began = self._loop.time()
        if self._left < self._slice / 2 or self._began >= self._ends:
            scope.reschedule(self._began)
        else:
            self._timer = self._loop.call_later(self._slice, self._passed, scope)

    def _passed(self, scope: asyncio.Timeout) -> None:
        late = self._loop.time() - self._began - self._slice
        self._left -= max(self._slice - late, 0.0)
        self._next(scope)
