"""One answer for everybody who asked before the question was put.

``Joint`` owns a question that many ask at the same moment: it is put once at a time, and who asks
while it is being put waits for the next one, for its answer could be older than the asking. The
agent's pods ask the runtime through it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from shared.tasks import stop

Answer = TypeVar("Answer")


class Joint(Generic[Answer]):
    def __init__(self, put: Callable[[], Awaitable[Answer]], *, name: str) -> None:
        self._put = put
        self._name = name
        self._under_way: asyncio.Task[Answer] | None = None
        self._next: asyncio.Task[Answer] | None = None

    @property
    def is_idle(self) -> bool:
        return self._next is None and (self._under_way is None or self._under_way.done())

    async def ask(self) -> Answer:
        """Raises what the question raised. Who is cancelled leaves the answer to the others."""
        if self._next is None:
            self._next = asyncio.create_task(self._put_after(self._under_way), name=self._name)
            self._next.add_done_callback(_heard)
        return await asyncio.shield(self._next)

    async def close(self) -> None:
        await stop(*(task for task in (self._under_way, self._next) if task is not None))

    async def _put_after(self, before: asyncio.Task[Answer] | None) -> Answer:
        if before is not None:
            await asyncio.wait({before})
        self._under_way, self._next = self._next, None
        return await self._put()


def _heard(task: asyncio.Task[Answer]) -> None:
    """Nobody may be left to whom an error matters."""
    if not task.cancelled():
        task.exception()
