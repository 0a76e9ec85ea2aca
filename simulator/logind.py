"""systemd-logind of one device: announces a shutdown, and delays it for whoever holds a lock.

Does what the agent relies on as the real one does: ``tests/edge_shutdown/test_logind_contract.py``
holds both to it. Lives as long as the machine runs; an agent that dies loses its lock, because the
kernel closes its descriptors (``let_go``). Implements ``edgeagent.shutdown.port``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from edgeagent.shutdown.port import LogindAway

CALL_SECONDS = 0.0005
"""What a call over D-Bus takes: enough for others to run meanwhile."""


class SimLogind:
    def __init__(
        self, *, longest_delay: float = 5.0, released: Callable[[], None] = lambda: None
    ) -> None:
        """``released`` is told when somebody gives a lock back during a shutdown."""
        self.longest_delay = longest_delay
        self.preparing = False
        self.off = asyncio.Event()
        """Nothing holds up the shutdown any more."""
        self.off_after: float | None = None
        self.up = True
        self._released = released
        self._locks: dict[SimLock, None] = {}
        self._connections: dict[SimConnection, None] = {}
        self._began = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def locks(self) -> int:
        return len(self._locks)

    # -- what happens to the machine

    def shut_down(self) -> None:
        """As ``systemctl poweroff``."""
        loop = asyncio.get_running_loop()
        self.preparing, self._began = True, loop.time()
        self._timer = loop.call_later(self.longest_delay, self._go_down)
        self._tell()
        self._look()

    def call_off(self) -> None:
        """As when a job of the shutdown fails."""
        self._begin_anew()
        self._tell()

    def close(self) -> None:
        """logind ends; with ``open`` another one comes."""
        self.up = False
        for connection in list(self._connections):
            connection.lose("logind has ended")
        self._connections.clear()
        self._locks.clear()

    def open(self) -> None:
        self.up = True

    def let_go(self) -> None:
        """Everybody who held something is dead."""
        self._connections.clear()
        self._locks.clear()
        self._look()

    def boot(self) -> None:
        self.let_go()
        self._begin_anew()
        self.up = True

    def _begin_anew(self) -> None:
        self.preparing = False
        self.off.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tell(self) -> None:
        for connection in self._connections:
            connection.hear()

    def _look(self) -> None:
        if self.preparing and not self._locks:
            self._go_down()

    def _go_down(self) -> None:
        if self.preparing and not self.off.is_set():
            self.off_after = asyncio.get_running_loop().time() - self._began
            self.off.set()

    # -- what its clients do

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[SimConnection]:
        if not self.up:
            raise LogindAway("there is no logind")
        connection = SimConnection(self)
        self._connections[connection] = None
        try:
            yield connection
        finally:
            self._connections.pop(connection, None)

    def lock(self) -> SimLock:
        lock = SimLock(self)
        self._locks[lock] = None
        return lock

    def unlock(self, lock: SimLock) -> None:
        if lock not in self._locks:
            return
        if self.preparing and not self.off.is_set():
            self._released()
        del self._locks[lock]
        self._look()


class SimLock:
    def __init__(self, logind: SimLogind) -> None:
        self._logind = logind

    def release(self) -> None:
        self._logind.unlock(self)


class SimConnection:
    def __init__(self, logind: SimLogind) -> None:
        self._logind = logind
        self._news = asyncio.Event()
        self._lost = ""

    def hear(self) -> None:
        self._news.set()

    def lose(self, why: str) -> None:
        self._lost = why
        self._news.set()

    async def preparing(self) -> bool:
        await self._call()
        return self._logind.preparing

    async def longest_delay(self) -> float:
        await self._call()
        return self._logind.longest_delay

    async def inhibit(self) -> SimLock:
        await self._call()
        if self._logind.preparing:
            raise LogindAway("logind refused: org.freedesktop.login1.OperationInProgress not now")
        return self._logind.lock()

    async def news(self) -> None:
        await self._news.wait()
        self._news.clear()
        self._check()

    async def _call(self) -> None:
        self._check()
        await asyncio.sleep(CALL_SECONDS)
        self._check()

    def _check(self) -> None:
        if self._lost:
            raise LogindAway(self._lost)
