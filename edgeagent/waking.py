"""Waiting for an event or a time, whichever is first."""

from __future__ import annotations

import asyncio
import contextlib


async def woken(event: asyncio.Event, *, within: float | None = None) -> bool:
    """Wait for ``event`` and clear it; False when ``within`` seconds passed without it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within):
            await event.wait()
    came = event.is_set()
    event.clear()
    return came
