"""Addresses of the hosts that probes and hooks name, looked up beside everything else.

The resolver of the system blocks, and without DNS for half a minute. In the threads that the whole
agent shares, a few probes of names would hold up volumes, logs and the connection to the broker of
a device that is offline. So a name has a thread of its own, one however many ask; there are only so
many of them, and none holds up the end of the agent. Called by ``dialing.py``.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from contextlib import suppress
from weakref import WeakKeyDictionary

from shared.threads import in_own_thread

_MOST = 16
"""Names that are looked up at the same time; the next ones wait."""

_Addresses = list[str]


async def addresses(host: str) -> _Addresses:
    """In the order of the system's choice; never none. Raises OSError or UnicodeError."""
    with suppress(ValueError):
        ipaddress.ip_address(host)
        return [host]
    loop = asyncio.get_running_loop()
    return await _lookups.setdefault(loop, _Lookups()).of(host)


class _Lookups:
    def __init__(self) -> None:
        self._under_way: dict[str, asyncio.Task[_Addresses]] = {}
        self._room = asyncio.Semaphore(_MOST)

    async def of(self, host: str) -> _Addresses:
        """Who has no more time leaves the answer to the others."""
        task = self._under_way.get(host)
        if task is None:
            task = asyncio.create_task(self._look_up(host), name=f"look up {host}")
            self._under_way[host] = task
            task.add_done_callback(lambda done: self._over(host, done))
        return await asyncio.shield(task)

    def _over(self, host: str, task: asyncio.Task[_Addresses]) -> None:
        del self._under_way[host]
        if not task.cancelled():
            task.exception()  # Nobody may be left to whom it matters.

    async def _look_up(self, host: str) -> _Addresses:
        async with self._room:
            return await in_own_thread(lambda: _ask(host), name="lookup")


def _ask(host: str) -> _Addresses:
    """Blocks."""
    rows = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(row[4][0]) for row in rows))


_lookups: WeakKeyDictionary[asyncio.AbstractEventLoop, _Lookups] = WeakKeyDictionary()
