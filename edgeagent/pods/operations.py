"""Actions of one pod that take time, each in a task of its own beside the pod's worker.

Owns which are under way. An operation that was abandoned is cancelled and no longer counts; what
takes its slot waits until it really has ended, except for a stop, which must not wait. Held by the
``LivePod``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from edgeagent.pods.model.actions import Action, StopContainer
from shared.tasks import stop


class Operations:
    def __init__(self, ended: Callable[[], None]) -> None:
        """``ended`` is called after each operation that was not abandoned."""
        self._ended = ended
        self._tasks: dict[Action, asyncio.Task[None]] = {}
        self._ending: dict[str, asyncio.Task[None]] = {}

    def under_way(self) -> tuple[Action, ...]:
        return tuple(self._tasks)

    def begin(self, action: Action, work: Callable[[], Awaitable[None]]) -> None:
        """``work`` handles its own errors."""
        running = self._run(action, work, self._ending.get(action.slot))
        self._tasks[action] = asyncio.create_task(running, name=f"pod {action.slot}")

    def abandon(self, action: Action) -> None:
        task = self._tasks.pop(action, None)
        if task is None:
            return
        task.cancel()
        if not isinstance(action, StopContainer):
            self._ending[action.slot] = task
            task.add_done_callback(lambda done: self._gone(action.slot, done))

    async def close(self) -> None:
        """Whatever begins later begins anew; a task that had not begun cleans nothing up."""
        stopped = dict(self._tasks)
        await stop(*stopped.values(), *self._ending.values())
        for action, task in stopped.items():
            if self._tasks.get(action) is task:
                del self._tasks[action]

    async def _run(
        self,
        action: Action,
        work: Callable[[], Awaitable[None]],
        before: asyncio.Task[None] | None,
    ) -> None:
        try:
            if before is not None:
                await asyncio.wait({before})
            await work()
        finally:
            if self._tasks.get(action) is asyncio.current_task():
                del self._tasks[action]
                self._ended()

    def _gone(self, slot: str, task: asyncio.Task[None]) -> None:
        if self._ending.get(slot) is task:
            del self._ending[slot]
