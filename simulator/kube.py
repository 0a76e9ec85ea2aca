"""The API server's bad days: the hub's way to ``MemoryKube``, which itself is always right.

``ApiWeather`` is what the scenario turns; one ``FaultyKube`` per run of a hub. A request may be
slow, refused, or carried out although the answer is lost; a watch lags, breaks, and begins again
with a complete list, so that whatever came and went in between is seen only by its outcome.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeVar

from cloudhub.kube.memory import MemoryKube
from cloudhub.kube.port import PatchType, Resource, WatchEvent
from shared.errors import KubeError, KubeRefused
from shared.objects import Json
from shared.tasks import stop

Answer = TypeVar("Answer")
WRITES = ("patch", "replace", "create", "delete")


@dataclass
class ApiWeather:
    rng: random.Random
    up: bool = True
    delay: float = 0.01
    watch_delay: float = 0.02
    fails: float = 0.0
    """Chance of a 5xx or 429 instead of the request."""
    loses_answers: float = 0.0
    """Chance that a write is carried out and its answer lost."""
    conflicts: float = 0.0
    """Chance that a write is refused because somebody else was faster."""
    watches: list[Callable[[], None]] = field(default_factory=list)
    """Each breaks one watch that is open."""

    def calm(self) -> None:
        self.up = True
        self.watch_delay = 0.02
        self.calm_requests()

    def calm_requests(self) -> None:
        self.delay = 0.01
        self.fails = self.loses_answers = self.conflicts = 0.0

    def go_down(self) -> None:
        self.up = False
        self.break_watches()

    def break_watches(self) -> None:
        for break_off in list(self.watches):
            break_off()


class FaultyKube:
    """Implements ``cloudhub.kube.port.Kube``."""

    def __init__(
        self, server: MemoryKube, weather: ApiWeather, stalled: Callable[[], float]
    ) -> None:
        """``stalled``: how long the way to the server stands still yet."""
        self._server = server
        self._weather = weather
        self._stalled = stalled

    async def watch(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
    ) -> AsyncIterator[WatchEvent]:
        weather = self._weather
        while True:
            while not weather.up:
                await asyncio.sleep(weather.rng.uniform(0.5, 5.0))
            source = self._server.watch(
                resource,
                namespace=namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                metadata_only=metadata_only,
            )
            async with aclosing(self._until_broken(source)) as events:
                async for event in events:
                    yield event
            await asyncio.sleep(weather.rng.uniform(0.1, 3.0))

    async def _until_broken(
        self, events: AsyncIterator[WatchEvent]
    ) -> AsyncGenerator[WatchEvent, None]:
        """What was under way when the watch breaks is lost."""
        queue: asyncio.Queue[WatchEvent | None] = asyncio.Queue()
        broken = asyncio.Event()

        def break_off() -> None:
            broken.set()
            queue.put_nowait(None)

        self._weather.watches.append(break_off)
        relay = asyncio.create_task(_relay(events, queue), name="watch relay")
        try:
            while (event := await queue.get()) is not None:
                await asyncio.sleep(self._weather.rng.uniform(0, self._weather.watch_delay))
                await self._while_stalled()
                if broken.is_set():
                    return
                yield event
        finally:
            self._weather.watches.remove(break_off)
            await stop(relay)

    async def get(self, resource: Resource, namespace: str, name: str) -> Json | None:
        return await self._request("get", self._server.get(resource, namespace, name))

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> list[Json]:
        asked = self._server.list(
            resource,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
        )
        return await self._request("list", asked)

    async def create(
        self, resource: Resource, namespace: str, obj: Json, *, subresource: str = ""
    ) -> Json:
        asked = self._server.create(resource, namespace, obj, subresource=subresource)
        return await self._request("create", asked)

    async def replace(self, resource: Resource, namespace: str, obj: Json) -> Json:
        return await self._request("replace", self._server.replace(resource, namespace, obj))

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        patch: Json,
        *,
        subresource: str = "",
        patch_type: PatchType = "merge",
    ) -> Json:
        asked = self._server.patch(
            *(resource, namespace, name, patch), subresource=subresource, patch_type=patch_type
        )
        return await self._request("patch", asked)

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str, grace: int
    ) -> None:
        asked = self._server.delete(resource, namespace, name, uid=uid, grace=grace)
        await self._request("delete", asked)

    async def close(self) -> None:
        """Nothing is open."""

    async def _request(self, verb: str, asked: Coroutine[Any, Any, Answer]) -> Answer:
        weather, chance = self._weather, self._weather.rng.random
        try:
            await asyncio.sleep(weather.rng.uniform(0, weather.delay))
            await self._while_stalled()
            self._refuse_perhaps(verb)
        except BaseException:
            asked.close()
            raise
        answer = await asked
        await asyncio.sleep(weather.rng.uniform(0, weather.delay))
        if not weather.up or (verb in WRITES and chance() < weather.loses_answers):
            raise KubeError("the connection broke before the answer")
        return answer

    async def _while_stalled(self) -> None:
        while (seconds := self._stalled()) > 0:
            await asyncio.sleep(seconds)

    def _refuse_perhaps(self, verb: str) -> None:
        weather, chance = self._weather, self._weather.rng.random
        if not weather.up:
            raise KubeError("connection refused")
        if chance() < weather.fails:
            status, delay = weather.rng.choice([(429, 2.0), (500, None), (503, None)])
            raise KubeError(f"the server says {status}", status=status, delay=delay)
        if verb in ("patch", "replace") and chance() < weather.conflicts:
            raise KubeRefused("the object has been modified", status=409, reason="Conflict")


async def _relay(
    events: AsyncIterator[WatchEvent], queue: asyncio.Queue[WatchEvent | None]
) -> None:
    async for event in events:
        queue.put_nowait(event)
