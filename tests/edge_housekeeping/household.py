"""What tests of housekeeping share: pods as values, and a clock that is moved by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from edgeagent.pods.held import HeldPod
from edgeagent.pods.model.podevents import PodEvent
from edgeagent.pods.model.view import Eviction
from shared.objects import Json


async def at_once(work: Callable[[], Any]) -> Any:
    return work()


class Hands:
    def __init__(self) -> None:
        self.at = 1_780_000_000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds


def a_pod(name: str = "web", *, priority: int = 0, image: str = "app:1", **container: Any) -> Json:
    return {
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}"},
        "spec": {
            "priority": priority,
            "containers": [{"name": "main", "image": image, **container}],
        },
    }


@dataclass
class Pods:
    """Pods of a device that remember who was evicted."""

    pods: list[HeldPod] = field(default_factory=list)
    remembered: set[str] = field(default_factory=set)
    adopted: bool = True
    evicted: dict[str, Eviction] = field(default_factory=dict)

    def held(self) -> list[HeldPod]:
        return self.pods

    def known(self) -> set[str]:
        return {*self.remembered, *(one.uid for one in self.pods)}

    def evict(self, uid: str, eviction: Eviction) -> None:
        self.evicted[uid] = eviction


class Told:
    """Node Events as they are recorded."""

    def __init__(self) -> None:
        self.events: list[PodEvent] = []

    def record(self, event: PodEvent) -> None:
        self.events.append(event)

    def reasons(self) -> list[str]:
        return [one.reason for one in self.events]
