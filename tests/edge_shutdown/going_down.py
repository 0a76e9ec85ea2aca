"""A device whose shutdown a test announces over a real D-Bus; what it tells is written down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from edgeagent.pods.held import HeldPod, PodsToStop, ShutdownOf
from edgeagent.pods.model.podevents import PodEvent
from edgeagent.pods.model.specs import CRITICAL_PRIORITY
from edgeagent.shutdown.logind import connected
from edgeagent.shutdown.planning import turns_of
from edgeagent.shutdown.port import Connect
from edgeagent.shutdown.stopping import Neighbours, NodeShutdown
from shared.clock import SystemClock
from shared.tasks import stop
from tests.parts.patience import PATIENCE


async def until(condition: Callable[[], bool], *, seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds * PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


@dataclass
class GivenPods:
    """Pods as values; what they are told is written down."""

    pods: list[HeldPod] = field(default_factory=list)
    told: list[ShutdownOf | None] = field(default_factory=list)
    looked_through: bool = True
    fenced: bool = False

    def held(self) -> list[HeldPod]:
        return self.pods

    def shut_down(self, shutdown: ShutdownOf | None) -> None:
        self.told.append(shutdown)


class Cloud:
    """What the hub would hear."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.node_ready: list[bool] = []
        self.delivered: list[float] = []
        self.delivery_seconds = 0.0
        self.shutdown: NodeShutdown | None = None

    def record(self, event: PodEvent) -> None:
        assert event.reason == "Shutdown"
        self.words.append(event.message)

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def tell(self) -> None:
        assert self.shutdown is not None
        self.node_ready.append(not self.shutdown.shutting_down)

    async def deliver(self, *, within: float) -> bool:
        self.delivered.append(within)
        await asyncio.sleep(self.delivery_seconds)
        return True


@asynccontextmanager
async def shutting_down_with(
    pods: PodsToStop,
    logind: Connect | str,
    cloud: Cloud,
    *,
    regular: float = 20,
    critical: float = 10,
    by_priority: Mapping[int, float] | None = None,
) -> AsyncIterator[NodeShutdown]:
    """``logind`` may be the address of its bus."""
    connect = partial(connected, logind) if isinstance(logind, str) else logind
    shutdown = NodeShutdown(
        turns_of(by_priority or {0: regular, CRITICAL_PRIORITY: critical}),
        connect,
        Neighbours(
            pods=pods,
            events=cloud,  # type: ignore[arg-type]
            tell=cloud.tell,
            deliver=cloud.deliver,
            clock=SystemClock(),
        ),
    )
    cloud.shutdown = shutdown
    task = asyncio.create_task(shutdown.run())
    try:
        yield shutdown
    finally:
        await stop(task)
