"""Takes pods off a runtime that tests share; called by the fixtures that made them.

A runtime may fail a stop once and do it the next time (a shim that dies just then answers
"ttrpc: closed"): the agent tries again and so does this, or one such moment fails a test that has
already passed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from edgeagent.runtime.port import Runtime, Sandbox
from shared.errors import TemporaryError

_TRIES = 10


async def cleared(runtime: Runtime, sandboxes: Iterable[Sandbox]) -> None:
    """Raises the runtime's TemporaryError when it goes on failing for some seconds."""
    await asyncio.gather(*(_removed(runtime, sandbox.id) for sandbox in sandboxes))


async def _removed(runtime: Runtime, sandbox_id: str) -> None:
    for tries_left in reversed(range(_TRIES)):
        try:
            await runtime.stop_sandbox(sandbox_id)
            await runtime.remove_sandbox(sandbox_id)
        except TemporaryError:
            if not tries_left:
                raise
            await asyncio.sleep(0.5)
        else:
            return
