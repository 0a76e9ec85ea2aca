"""What the agent needs of whoever announces a shutdown of the device, and lets it be delayed.

``logind.py`` is the real one, over D-Bus. Whatever goes wrong with it is ``LogindAway``, which also
ends a connection: another one is then made.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from edgeagent.systembus import BusAway


class LogindAway(BusAway):
    """There is no logind, it does not answer, or it refused."""


class Lock(Protocol):
    """Delays the shutdown as long as it is held; logind bounds how long."""

    def release(self) -> None: ...


class Logind(Protocol):
    """logind at the other end of one connection."""

    async def preparing(self) -> bool:
        """Whether the machine is about to shut down."""
        ...

    async def longest_delay(self) -> float:
        """Seconds after which it goes on, whoever holds a lock."""
        ...

    async def inhibit(self) -> Lock: ...

    async def news(self) -> None:
        """Until something may have changed."""
        ...


Connect = Callable[[], AbstractAsyncContextManager[Logind]]
