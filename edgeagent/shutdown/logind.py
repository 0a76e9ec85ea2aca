"""What systemd-logind says about a shutdown, and the lock that delays it.

Owns three calls and two signals of org.freedesktop.login1, over ``systembus.py``. Whatever goes
wrong is ``LogindAway``.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from edgeagent import systembus
from edgeagent.shutdown.port import LogindAway
from edgeagent.systembus import SYSTEM_BUS, Bus, Service

LOGIND = Service(
    "logind",
    name="org.freedesktop.login1",
    path="/org/freedesktop/login1",
    interface="org.freedesktop.login1.Manager",
    away=LogindAway,
)


class Lock:
    """A file descriptor that logind waits to see closed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @property
    def held(self) -> bool:
        return self._descriptor is not None

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Logind:
    """Implements ``port.Logind``."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def preparing(self) -> bool:
        return bool(await self._bus.property("PreparingForShutdown"))

    async def longest_delay(self) -> float:
        return int(await self._bus.property("InhibitDelayMaxUSec")) / 1e6

    async def inhibit(self) -> Lock:
        body = ("shutdown", "Kubetide", "Pods are stopped in their order", "delay")
        (descriptor,) = await self._bus.call("Inhibit", "ssss", body)
        return Lock(descriptor.to_raw_fd())

    async def news(self) -> None:
        await self._bus.news()


@asynccontextmanager
async def connected(bus: str = SYSTEM_BUS) -> AsyncIterator[Logind]:
    """``bus`` is an address in D-Bus' own form. Raises LogindAway, also inside the block."""
    async with systembus.connected(LOGIND, bus) as connection:
        await connection.listen("PrepareForShutdown")
        yield Logind(connection)
