"""A virtual-time asyncio loop: when nothing is ready, the clock jumps to the next timer.

Invariants: one seed, one order of events (tasks and futures hash by their number, ties of timers
are broken by the seed's own jitter); no file descriptors, no threads (executors run inline); what
belongs to a ``Life`` that ended never runs again, not even a ``finally`` (kill -9 at an await).

Refuses to wait for ever: nothing to run and no timer is ``Deadlock``, a moment of virtual time
that never ends is ``Livelock``. Used by ``simulator.world`` only, and by the tests of models.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import random
import sys
import warnings
from asyncio import base_events
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextvars import Context, ContextVar, copy_context
from typing import Any

STEPS_PER_INSTANT = 200_000
"""Callbacks at one instant after which time counts as stuck."""


class Deadlock(Exception):
    """Nothing is ready and no timer is set."""


class Livelock(Exception):
    """Callbacks follow each other without an end, and time stands still."""


class Life:
    """One run of one process: everything started in its context stops existing with ``end``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True

    def end(self, loop: VirtualLoop) -> None:
        self.alive = False
        loop.bury(self)


LIFE: ContextVar[Life | None] = ContextVar("LIFE", default=None)


class NumberedTask(asyncio.Task[Any]):
    """Hashes by number, so that sets of tasks have the same order in every run."""

    __slots__ = ("life", "number")

    def __init__(self, coro: Any, *, number: int, life: Life | None, **rest: Any) -> None:
        self.number = number
        self.life = life
        super().__init__(coro, **rest)

    def __hash__(self) -> int:
        return self.number


class NumberedFuture(asyncio.Future[Any]):
    __slots__ = ("number",)
    number: int

    def __hash__(self) -> int:
        return self.number


class Callback(asyncio.TimerHandle):
    """A handle with less about it: no debugging, no text of its own, not weighed in a heap."""

    __slots__ = ()
    _context: Context
    _when: float

    def __init__(
        self, callback: Any, args: Any, loop: VirtualLoop, context: Context | None
    ) -> None:
        self._context = copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args: Any = args
        self._cancelled = False
        self._repr = self._source_traceback = None

    def cancel(self) -> None:
        self._cancelled = True
        self._callback = self._args = None


class VirtualLoop(base_events.BaseEventLoop):
    """Most of a seed's callbacks are small, so what the loop does around each of them counts."""

    _ready: deque[Callback]
    _stopping: bool
    _closed: bool

    def __init__(self, rng: random.Random, *, start: float = 0.0) -> None:
        super().__init__()
        self.steps = 0
        """Callbacks run so far: a finer clock than time, for faults between two awaits."""
        self.after_step: Callable[[], None] | None = None
        self._rng = rng
        self._now = start
        self._timers: list[tuple[float, int, Callback]] = []
        self._timed = 0
        self._numbers = 0
        self._steps_here = 0
        self._graves: list[NumberedTask] = []

    # -- time

    def time(self) -> float:
        return self._now

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: Context | None = None
    ) -> Callback:
        if self._closed:
            raise RuntimeError("the simulation is over")
        handle = Callback(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> Callback:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> Callback:
        """Real timers are never exact to the microsecond; here the seed decides how."""
        if self._closed:
            raise RuntimeError("the simulation is over")
        when += self._rng.random() * 1e-6
        timer = Callback(callback, args, self, context)
        timer._when = when
        self._timed += 1
        heapq.heappush(self._timers, (when, self._timed, timer))
        return timer

    def _run_once(self) -> None:
        ready = self._ready
        if not ready and not self._stopping:
            self._advance()
        for _ in range(len(ready)):
            handle = ready.popleft()
            if matters(handle):
                handle._run()
                self._count_step()

    def _count_step(self) -> None:
        self.steps += 1
        self._steps_here += 1
        if self._steps_here > STEPS_PER_INSTANT:
            raise Livelock(f"{STEPS_PER_INSTANT} callbacks at {self._now:.6f}")
        if self.after_step is not None:
            self.after_step()

    def _advance(self) -> None:
        """Jump to the first timer that still matters, and make everything due then ready."""
        timers = self._timers
        while timers and not matters(timers[0][2]):
            heapq.heappop(timers)
        if not timers:
            raise Deadlock(f"nothing left to happen at {self._now:.3f}")
        self._steps_here = 0
        self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            self._ready.append(heapq.heappop(timers)[2])

    # -- determinism

    def create_task(self, coro: Any, *, name: Any = None, context: Context | None = None) -> Any:
        self._numbers += 1
        life = LIFE.get() if context is None else context.get(LIFE)
        return NumberedTask(
            coro, loop=self, name=name, context=context, number=self._numbers, life=life
        )

    def create_future(self) -> asyncio.Future[Any]:
        future = NumberedFuture(loop=self)
        future.number = self._numbers = self._numbers + 1
        return future

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Inline; whoever awaits still lets others run first, as with a real thread."""
        future = self.create_future()
        try:
            result = func(*args)
        except Exception as error:
            self.call_soon(_settle, future, None, error)
        else:
            self.call_soon(_settle, future, result, None)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """There is none."""

    def _write_to_self(self) -> None:
        """``call_soon_threadsafe`` needs no waking here."""

    def _process_events(self, event_list: Any) -> None:
        """No file descriptors, no events."""

    # -- lives

    def bury(self, life: Life) -> None:
        """Keep its tasks as they stand: to collect one would run its ``finally`` blocks."""
        for task in asyncio.all_tasks(self):
            if isinstance(task, NumberedTask) and task.life is life:
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                self._graves.append(task)

    def close(self) -> None:
        """Empties the graves last, when no port leads anywhere any more."""
        super().close()
        self.set_exception_handler(lambda loop, context: None)
        for task in sorted(self._graves, key=lambda task: task.number):
            with contextlib.suppress(BaseException):
                task.get_coro().close()
        self._graves.clear()


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """What the dead say when their frames are taken apart, at ``close`` and after, is not news."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.unraisablehook = hook


def matters(handle: Callback) -> bool:
    """Neither cancelled nor of a life that has ended."""
    if handle._cancelled:
        return False
    life = handle._context.get(LIFE)
    return life is None or life.alive


def _settle(future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if future.cancelled():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
