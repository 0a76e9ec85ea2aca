"""A blocking call in a thread of its own, which holds up nothing when it takes for ever.

The threads that a program shares are few, and are waited for at its end: for calls whose time
somebody else decides (a resolver, a handshake over a dead link, a volume over the network) neither
will do. Called by ``paho_link.py``, and by the agent for names that probes ask and for volumes.
"""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

Offload = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs blocking work away from the loop; a simulator runs it on the spot."""


async def in_own_thread(call: Callable[[], T], *, name: str) -> T:
    """What the call returns or raises; OSError when no thread can be made.

    Who is cancelled leaves the call alone: it goes on, unheard.
    """
    answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    try:
        threading.Thread(target=_run, args=(call, answer), name=name, daemon=True).start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, str(error)) from error
    return await answer


def _run(call: Callable[[], T], answer: asyncio.Future[T]) -> None:
    settle: Callable[[], None]
    try:
        settle = partial(answer.set_result, call())
    except Exception as error:
        settle = partial(answer.set_exception, error)
    with suppress(RuntimeError):  # The asker may have ended meanwhile, with its event loop.
        answer.get_loop().call_soon_threadsafe(_unless_done, answer, settle)


def _unless_done(answer: asyncio.Future[T], settle: Callable[[], None]) -> None:
    if not answer.done():
        settle()
