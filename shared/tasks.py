"""How work runs: a few named root tasks, and one sequential worker per key.

``run_together`` is the shape of both programs: root tasks are eternal, so the first one that ends
(by error or not) stops all of them. ``KeyedWorkers`` is the shape of all per-object work: in order
within a key, parallel across keys, level-triggered (a wake during work means once more, however
often it came), and a worker costs nothing while its key is quiet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

import structlog

from shared.backoff import Backoff
from shared.clock import Clock
from shared.errors import KubetideError, TemporaryError

log = structlog.get_logger()

Key = TypeVar("Key", bound=Hashable)


async def run_together(**roots: Coroutine[Any, Any, None]) -> None:
    """Run the named root tasks until the first ends, stop the others, raise what it raised."""
    tasks = [asyncio.create_task(root, name=name) for name, root in roots.items()]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await stop(*tasks)


async def stop(*tasks: asyncio.Task[Any]) -> None:
    """Cancel and wait; errors of cancelled tasks were or will be handled by who awaited them."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def alone(work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
    """A task that nobody awaits: what it raises is logged when it ends, not lost with it."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_tell)
    return task


def _tell(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("task failed", task=task.get_name(), exc_info=error)


class KeyedWorkers(Generic[Key]):
    """One sequential worker per key.

    ``work(key)`` does what is due for the key and returns in how many seconds it wants to be
    called again without a wake (None: only when woken). What it raises is logged and retried
    with back-off; a wake cuts every wait short.
    """

    def __init__(
        self,
        work: Callable[[Key], Awaitable[float | None]],
        *,
        clock: Clock,
        name: str,
        retry_most: float = 60.0,
    ) -> None:
        self._work = work
        self._clock = clock
        self._name = name
        self._retry_most = retry_most
        self._woken: dict[Key, asyncio.Event] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}

    def wake(self, key: Key) -> None:
        """Call ``work(key)`` soon; callable from any coroutine of the loop."""
        event = self._woken.get(key)
        if event is None:
            event = self._woken[key] = asyncio.Event()
        event.set()
        if key not in self._tasks:
            self._tasks[key] = asyncio.create_task(self._run(key), name=f"{self._name} {key}")

    def keys(self) -> list[Key]:
        """Keys with a live worker: busy, or waiting for their next due time."""
        return list(self._tasks)

    async def stop(self) -> None:
        """Whoever is woken later begins anew; a task that had not begun cleans nothing up."""
        stopped = dict(self._tasks)
        await stop(*stopped.values())
        for key, task in stopped.items():
            if self._tasks.get(key) is task:
                del self._tasks[key], self._woken[key]

    async def _run(self, key: Key) -> None:
        event = self._woken[key]
        backoff = Backoff(1, self._retry_most)
        try:
            while event.is_set():
                event.clear()
                delay = await self._try(key, backoff)
                if delay is not None:
                    await self._wait(event, delay)
        finally:
            self._tasks.pop(key, None)
            self._woken.pop(key, None)

    async def _try(self, key: Key, backoff: Backoff) -> float | None:
        try:
            delay = await self._work(key)
        except KubetideError as error:
            at_least = error.delay if isinstance(error, TemporaryError) else None
            delay = backoff.next(at_least=at_least)
            log.warning(f"{self._name} failed", key=str(key), error=str(error), retry_in=delay)
        except Exception:
            delay = backoff.next(at_least=self._retry_most / 10)
            log.exception(f"{self._name} failed", key=str(key), retry_in=delay)
        else:
            backoff.reset()
        return delay

    async def _wait(self, event: asyncio.Event, delay: float) -> None:
        """Until woken or due, whichever is first; either way the event is set afterwards."""
        timer = asyncio.ensure_future(self._clock.sleep(delay))
        woken = asyncio.ensure_future(event.wait())
        try:
            await asyncio.wait({timer, woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            woken.cancel()
        event.set()
