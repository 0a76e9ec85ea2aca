"""A pod of which its device reports, and what the hub makes of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from cloudhub.kube.port import PODS
from shared.objects import Json
from shared.topics import Topics
from tests.hub_delivery.world import NODE, World, pod_key

TOPICS = Topics().of(NODE)


RUNNING = {
    "phase": "Running",
    "podIP": "10.0.0.9",
    "conditions": [{"type": "Ready", "status": "True"}],
}


async def pod_of(world: World, name: str = "web") -> Json:
    found = await world.kube.get(PODS, "default", name)
    assert found is not None
    return found


async def running(world: World) -> str:
    """A pod that its device reported to run; answers its uid."""
    world.hub()
    world.device()
    pod = await world.pod("web")
    await world.quiet()
    uid = pod["metadata"]["uid"]
    world.devices[NODE].report(pod_key("web"), uid, RUNNING)
    await world.quiet(0.2)
    return uid


def writes(world: World) -> list[tuple[str, str, str]]:
    return [one for one in world.kube.requests if one[0] in ("patch", "create", "delete", "update")]


def retained_reports(world: World) -> list[str]:
    return [topic for topic, _ in world.broker.retained.items() if "/reported/" in topic]


async def bind(world: World, node: str) -> None:
    await world.kube.patch(PODS, "default", "web", {"spec": {"nodeName": node}})


def slowly(world: World, request: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def slow(*args: Any, **options: Any) -> None:
        await request(*args, **options)
        await world.clock.sleep(1)

    return slow
