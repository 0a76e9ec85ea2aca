"""A device in step with its hub, and an API server that is late, for the tests of bad days."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from cloudhub.kube.memory import MemoryKube
from cloudhub.kube.port import (
    WatchEvent,
)
from shared.objects import NO_NAMESPACE, ObjectKey
from shared.topics import Topics
from tests.hub_delivery.test_delivery import env_from
from tests.hub_delivery.world import NODE, World

TOPICS = Topics().of(NODE)


RUNTIME_CLASS = ObjectKey("RuntimeClass", NO_NAMESPACE, "kata")


async def settled(world: World) -> None:
    """A hub, a device in step with a pod and its settings."""
    world.hub()
    world.device()
    await world.config("settings", {"a": "1"})
    await world.pod("web", containers=env_from("settings"))
    await world.quiet()


def of_node(sent: list) -> list:
    return [one for one in sent if not one.topic.endswith("/hub")]


class LaggingKube:
    """The API server as one sees it whose watches are late."""

    def __init__(self, kube: MemoryKube) -> None:
        self._kube = kube
        self.lag = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kube, name)

    async def watch(self, *args: Any, **options: Any) -> AsyncIterator[WatchEvent]:
        async for event in self._kube.watch(*args, **options):
            await asyncio.sleep(self.lag)
            yield event
