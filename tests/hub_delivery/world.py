"""One or two hubs, devices, a model of the broker and one of the API server, in virtual time.

The hub's real code from the connection to the API port; what a test says takes no real time.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cloudhub.kube.memory import MemoryKube
from cloudhub.kube.port import CONFIG_MAPS, PODS, SECRETS
from cloudhub.metrics import Metrics
from cloudhub.nodes.presence import Heard, Presence
from cloudhub.sync import Sync
from shared.errors import KubeError
from shared.messages import Report, Session
from shared.objects import Json, ObjectKey
from shared.tasks import stop
from shared.topics import SLOTS, Topics, slot_of
from simulator import broker as model
from simulator.broker_session import Publication, Traits
from simulator.clock import SimClock
from simulator.loop import VirtualLoop
from simulator.network import Path
from simulator.sim_link import SimLink
from tests.hub_delivery.device import Device

NODE = "edge-1"


class Listener:
    """Stands for the Node code: hears and remembers."""

    def __init__(self) -> None:
        self.presence = Presence()
        self.reports: list[Report] = []
        self.labels: dict[str, str] | None = {}
        """What the API says when the Node is read; None while it does not answer."""
        self.describe: Callable[[str, list[Json], Mapping[str, str]], None] | None = None
        self.reads = 0

    def heard(self, node: str, session: Session) -> Heard:
        return self.presence.hear(node, session)

    def reported(self, node: str, report: Report) -> None:
        self.reports.append(report)

    def slot_up(self, slot: int) -> None:
        """Nobody settles here."""

    def slot_down(self, slot: int) -> None:
        for node in [one for one in self.presence.nodes() if slot_of(one) == slot]:
            self.presence.forget(node)

    def linked(self, up: bool) -> None:
        self.presence.doubt_all(0.0)

    def uid(self, node: str) -> str:
        return f"uid-of-{node}"

    async def read(self, node: str) -> bool:
        self.reads += 1
        await asyncio.sleep(0.01)
        if self.labels is None:
            raise KubeError("away")
        assert self.describe is not None
        self.describe(node, [], self.labels)
        return True


@dataclass
class Hub:
    sync: Sync
    listener: Listener
    path: Path
    metrics: Metrics
    task: asyncio.Task[None]

    async def stop(self) -> None:
        await stop(self.task)


@dataclass
class World:
    loop: VirtualLoop
    broker: model.Broker
    kube: MemoryKube
    clock: SimClock
    sent: list[Publication] = field(default_factory=list)
    """Every PUBLISH that the broker took, but what a hub says to itself."""
    hubs: list[Hub] = field(default_factory=list)
    devices: dict[str, Device] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)
    """Of the devices."""
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    # -- the parts

    def hub(
        self,
        name: str = "hub-a",
        *nodes: str,
        slots: range = range(SLOTS),
        kube: Any = None,
        bandwidth: float = 1e7,
        ahead: float = 0.0,
    ) -> Hub:
        """``ahead``: seconds by which its wall clock is."""
        listener, metrics = Listener(), Metrics()
        path = Path(random.Random(len(self.hubs)), latency=(0.0005, 0.001), bandwidth=bandwidth)
        sync = Sync(
            *(kube or self.kube, SimLink(self.broker, path), listener),
            topics=Topics(),
            replica=name,
            clock=SimClock(self.loop, offset=ahead),
            rng=random.Random(7 + len(self.hubs)),
            metrics=metrics,
        )
        listener.describe = sync.describe
        for node in nodes or (NODE,):
            sync.manage(node)
        sync.nodes_known()
        sync.own(slots)
        hub = Hub(sync, listener, path, metrics, self.loop.create_task(sync.run()))
        self.hubs.append(hub)
        return hub

    def device(self, node: str = NODE, *, instance: str = "i1") -> Device:
        path = Path(random.Random(99), latency=(0.001, 0.002))
        device = Device(SimLink(self.broker, path), node=node, clock=self.clock, instance=instance)
        self.devices[node], self.paths[node] = device, path
        self.tasks.append(self.loop.create_task(device.run()))
        return device

    async def close(self) -> None:
        for hub in self.hubs:
            await hub.stop()
        await stop(*self.tasks)

    # -- what happens

    async def pod(self, name: str, node: str = NODE, **spec: object) -> Json:
        pod = {"metadata": {"name": name}, "spec": {"nodeName": node, "containers": [], **spec}}
        return await self.kube.create(PODS, "default", pod)

    async def config(self, name: str, data: dict[str, str]) -> Json:
        return await self.kube.create(
            CONFIG_MAPS, "default", {"metadata": {"name": name}, "data": data}
        )

    async def secret(self, name: str, data: dict[str, str]) -> Json:
        return await self.kube.create(
            SECRETS, "default", {"metadata": {"name": name}, "data": data}
        )

    async def quiet(self, seconds: float = 5.0) -> list[Publication]:
        """Let time pass; answers what was published meanwhile, but whether somebody lives."""
        return [one for one in await self.everything(seconds) if not _asks_or_answers(one)]

    async def everything(self, seconds: float) -> list[Publication]:
        before = len(self.sent)
        await asyncio.sleep(seconds)
        return self.sent[before:]


def _asks_or_answers(one: Publication) -> bool:
    is_session = one.topic.endswith("/session") and one.payload
    return bool(is_session and Session.decode(one.payload).question)


def in_world(
    story: Callable[[World], Awaitable[None]], *, seed: int = 1, traits: Traits | None = None
) -> None:
    """Run the story to its end on a virtual clock."""
    loop = VirtualLoop(random.Random(seed))

    async def tell() -> None:
        clock = SimClock(loop)
        sent: list[Publication] = []

        def heard(publication: Publication, retain: bool) -> None:
            if "/echo/" not in publication.topic:
                sent.append(publication)

        broker = model.Broker(
            loop,
            random.Random(seed),
            traits=traits,
            heard=heard,
        )
        world = World(loop, broker, MemoryKube(clock), clock, sent)
        try:
            async with asyncio.timeout(100_000):
                await story(world)
        finally:
            await world.close()

    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(tell())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def pod_key(name: str) -> ObjectKey:
    return ObjectKey("Pod", "default", name)


def config_key(name: str) -> ObjectKey:
    return ObjectKey("ConfigMap", "default", name)


def topics_of(sent: list[Publication]) -> list[str]:
    """Below the node, in order of sending."""
    return [one.topic.split("/", 4)[-1] for one in sent]
