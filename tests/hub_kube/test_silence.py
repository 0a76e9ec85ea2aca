"""How long a watch may say nothing: less where the server was heard to send bookmarks."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Mapping

from cloudhub.kube.port import PODS
from cloudhub.kube.watching import (
    BOOKMARKED_SILENCE,
    SILENCE_MARGIN,
    WATCH_SECONDS,
    Query,
    Watching,
)
from shared.objects import Json
from simulator.clock import SimClock
from tests.parts.virtual_time import virtual


class Server:
    """Each of its watches sends so many bookmarks, and ends."""

    def __init__(self, *bookmarks: int) -> None:
        self._bookmarks = list(bookmarks)
        self.allowed: list[float] = []
        """Silence that each watch was allowed."""

    async def page(self, query: Query, parameters: Mapping[str, str]) -> Json:
        return {"kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": []}

    async def lines(
        self, query: Query, parameters: Mapping[str, str], *, silence: float
    ) -> AsyncGenerator[bytes, None]:
        self.allowed.append(silence)
        if not self._bookmarks:
            await asyncio.Event().wait()
        for _ in range(self._bookmarks.pop(0)):
            await asyncio.sleep(60)
            mark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "1"}}}
            yield json.dumps(mark).encode()
        await asyncio.sleep(60)


@virtual
async def test_a_server_that_sends_bookmarks_may_be_silent_for_two_and_a_half_minutes() -> None:
    server = Server(0, 1, 4, 4, 0)
    clock = SimClock(asyncio.get_running_loop())
    watching = Watching(server, Query(PODS), clock=clock, rng=random.Random(1))

    async def watch() -> None:
        async for _ in watching.forever():
            """Nothing happens to any pod."""

    task = asyncio.create_task(watch())
    await asyncio.sleep(3600)
    task.cancel()
    short = [one == BOOKMARKED_SILENCE for one in server.allowed]
    assert short == [False, False, False, True, True, False]
    longest = WATCH_SECONDS[1] + SILENCE_MARGIN
    assert all(BOOKMARKED_SILENCE <= one <= longest for one in server.allowed)
