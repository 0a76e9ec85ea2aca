"""The API server as a user watches it: a live copy of some objects, and waiting for what is true.

Event-driven, so a wait ends when the watch says so and measured times are not rounded to a poll.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from cloudhub.kube.port import NODES, PODS, Change, Kube, Resource
from shared.objects import Json
from shared.tasks import stop
from tests.parts.patience import PATIENCE


class View:
    """Holds the newest pods and nodes; ``history`` has every pod version that the watch told."""

    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        self.pods: dict[str, Json] = {}
        self.nodes: dict[str, Json] = {}
        self.history: list[Json] = []
        self._changed = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._follow(PODS, self.pods)),
            asyncio.create_task(self._follow(NODES, self.nodes)),
        ]

    async def close(self) -> None:
        await stop(*self._tasks)

    async def until(self, what: str, holds: Callable[[], Any], *, within: float = 60.0) -> Any:
        """The first true value of ``holds()``; ``what`` goes into the failure."""
        try:
            async with asyncio.timeout(within * PATIENCE), self._changed:
                while not (value := holds()):
                    await self._changed.wait()
                return value
        except TimeoutError:
            raise AssertionError(f"not within {within} s: {what}\n{self.summary()}") from None

    def summary(self) -> str:
        pods = [f"  {name}: {_short(pod)}" for name, pod in sorted(self.pods.items())]
        nodes = [f"  {name}: {ready_of(node)}" for name, node in sorted(self.nodes.items())]
        return "\n".join(["pods:", *pods, "nodes:", *nodes])

    async def _follow(self, resource: Resource, into: dict[str, Json]) -> None:
        async for event in self.kube.watch(resource):
            async with self._changed:
                if event.change is Change.LISTED:
                    into.clear()
                    into.update({obj["metadata"]["name"]: obj for obj in event.objects})
                elif event.change is Change.SET:
                    into[event.object["metadata"]["name"]] = event.object
                    if resource is PODS:
                        self.history.append(event.object)
                else:
                    into.pop(event.object["metadata"]["name"], None)
                self._changed.notify_all()


def is_ready(pod: Json | None) -> bool:
    conditions = (pod or {}).get("status", {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def phase_of(pod: Json | None) -> str:
    return str((pod or {}).get("status", {}).get("phase", ""))


def container_of(pod: Json | None, index: int = 0) -> Json:
    statuses: list[Json] = (pod or {}).get("status", {}).get("containerStatuses") or []
    return statuses[index] if index < len(statuses) else {}


def restarts_of(pod: Json | None) -> int:
    return int(container_of(pod).get("restartCount", 0))


def ready_of(node: Json | None) -> str:
    """True, False, Unknown, or empty when the node has no Ready condition."""
    conditions = (node or {}).get("status", {}).get("conditions") or []
    return next((one["status"] for one in conditions if one["type"] == "Ready"), "")


def _short(pod: Json) -> str:
    status = pod.get("status", {})
    states = [one.get("state") for one in status.get("containerStatuses") or []]
    leaving = " (being deleted)" if pod["metadata"].get("deletionTimestamp") else ""
    return f"{status.get('phase')} {states} {status.get('reason', '')}{leaving}"
