"""Commands of probes, some at a time: each may hold megabytes of output and a call of the runtime.

Owns the turns. Invariant: a probe's own time begins with its command, so waiting fails none; and
none waits for long, since how long the others take is in the hands of those who wrote them.
Made by ``workers.py``, one for all pods; hooks, which may take hours, do not come here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from edgeagent.runtime.port import ExecResult

_AT_ONCE = 16
_PATIENCE = 10.0
"""Seconds after which a command is run without a turn, and after which one that runs has none."""


class Executes(Protocol):
    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout: float
    ) -> ExecResult:
        """As ``Runtime``'s."""
        ...


class InTurns:
    def __init__(self, runtime: Executes) -> None:
        self._runtime = runtime
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout: float
    ) -> ExecResult:
        async with self._turn():
            return await self._runtime.exec_sync(container_id, command, timeout)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """For a while: a command that hangs does not keep it from others."""
        taken = [self._turns.release] if await self._wait() else []

        def give_back() -> None:
            if taken:
                taken.pop()()

        late = asyncio.get_running_loop().call_later(_PATIENCE, give_back)
        try:
            yield
        finally:
            late.cancel()
            give_back()

    async def _wait(self) -> bool:
        try:
            async with asyncio.timeout(_PATIENCE):
                return await self._turns.acquire()
        except TimeoutError:
            return False
