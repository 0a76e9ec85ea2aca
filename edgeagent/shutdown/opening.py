"""Keeps a connection to logind, for as long as the agent runs.

Owns when it is tried again and what is said about it. Where there is no logind (a container, a
machine without systemd) that is said once, and looked for once a minute: it may come.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from edgeagent.shutdown.port import Connect, Logind, LogindAway
from shared.backoff import Backoff
from shared.clock import Clock

log = structlog.get_logger()

SELDOM_SECONDS = 60.0
HELD_SECONDS = 30.0
"""A connection that lasted this long was a good one: the next try is soon again."""


async def follow_logind(
    connect: Connect, follow: Callable[[Logind], Awaitable[None]], *, clock: Clock
) -> None:
    """``follow`` works with one connection until it is lost; never returns."""
    backoff = Backoff(1.0, SELDOM_SECONDS)
    was_there, said = False, ""
    while True:
        began = clock.monotonic()
        try:
            async with connect() as logind:
                await logind.preparing()
                was_there = True
                await follow(logind)
        except LogindAway as error:
            why = str(error)
        if clock.monotonic() - began > HELD_SECONDS:
            backoff.reset()
        if not was_there and not said:
            log.info("no graceful shutdown of the device", reason=why)
        elif was_there and said != why:
            log.warning("a shutdown of the device would not be seen", reason=why)
        said = why
        await clock.sleep(backoff.next() if was_there else SELDOM_SECONDS)
