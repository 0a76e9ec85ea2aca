"""Writes that wait for the disk go to it together: one transaction, and one flush.

Owns the writes that came while another was under way. A flush takes tens of milliseconds on a
memory card, and with twenty pods at once each would wait for those of all the others. Everyone
still has an outcome of their own, and what a write returned for is on the disk. Used by
``Database``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlite_utils

Work = Callable[[sqlite_utils.Database], Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    result: Any = None
    error: Exception | None = None


@dataclass(eq=False, slots=True)
class _Write:
    work: Work
    done: asyncio.Future[Any] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Gathering:
    def __init__(self, run: Callable[[Sequence[Work]], Awaitable[Sequence[Outcome]]]) -> None:
        """``run`` answers with one outcome for each, in their order."""
        self._run = run
        self._waiting: list[_Write] = []
        self._running: asyncio.Task[None] | None = None

    async def add(self, work: Work) -> Any:
        """Raises what the work raised. Cancelled before its turn it is not done at all."""
        write = _Write(work)
        self._waiting.append(write)
        if self._running is None:
            self._running = asyncio.create_task(self._run_all(), name="store writes")
        return await write.done

    async def close(self) -> None:
        """When what was asked for is done."""
        if self._running is not None:
            await asyncio.shield(self._running)

    async def _run_all(self) -> None:
        try:
            while writes := [one for one in self._waiting if not one.done.cancelled()]:
                self._waiting = []
                outcomes = await self._outcomes([one.work for one in writes])
                for write, outcome in zip(writes, outcomes, strict=True):
                    _settle(write.done, outcome)
        finally:
            self._running = None

    async def _outcomes(self, works: Sequence[Work]) -> Sequence[Outcome]:
        """Whatever happens, nobody waits for ever."""
        try:
            return await self._run(works)
        except Exception as error:
            return [Outcome(error=error) for _ in works]


def _settle(done: asyncio.Future[Any], outcome: Outcome) -> None:
    if done.cancelled():
        return
    if outcome.error is not None:
        done.set_exception(outcome.error)
    else:
        done.set_result(outcome.result)
