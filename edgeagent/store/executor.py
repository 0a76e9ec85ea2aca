"""Where the database's blocking calls run: one thread of their own, or inline.

The simulator and short tests run inline, so that one seed gives one order of events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

Result = TypeVar("Result")


class Executor(Protocol):
    async def run(self, work: Callable[[], Result]) -> Result: ...

    def close(self) -> None: ...


class ThreadExecutor:
    """One thread: SQLite connections belong to the thread that opened them."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")

    async def run(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        self._pool.shutdown(wait=True)


class InlineExecutor:
    """In the caller's thread; what is done is done before others run, as with a real thread."""

    async def run(self, work: Callable[[], Result]) -> Result:
        result = work()
        await asyncio.sleep(0)
        return result

    def close(self) -> None:
        """Nothing was started."""
