"""Blocking work on the files of pods: for each pod one piece after the other.

Owns which pods have a piece under way. A thread can not be cancelled: what nobody waits for any
more goes on, and the pod's next piece begins when it has ended, so that nothing is made again
after it was removed. A disk that hangs (NFS) holds up its own pod only. Called by ``making.py``
and ``podmaterials.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from shared.threads import Offload, in_own_thread


async def own_thread(work: Callable[[], Any]) -> Any:
    return await in_own_thread(work, name="volumes")


class FileTurns:
    def __init__(self, offload: Offload = own_thread) -> None:
        self._offload = offload
        self._under_way: dict[str, asyncio.Task[Any]] = {}

    async def take(self, uid: str, work: Callable[[], Any]) -> Any:
        """What ``work`` returns or raises. Who is cancelled before its turn leaves no work."""
        while before := self._under_way.get(uid):
            await asyncio.wait({before})
        task = self._under_way[uid] = asyncio.create_task(self._run(uid, work))
        return await asyncio.shield(task)

    async def _run(self, uid: str, work: Callable[[], Any]) -> Any:
        try:
            return await self._offload(work)
        finally:
            del self._under_way[uid]
