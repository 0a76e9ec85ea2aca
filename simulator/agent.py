"""The real agent over the device's models: everything but link, runtime, clock and disk is real.

Blocking work of the pods layer runs on the spot; volumes are real files below the device's folder.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from edgeagent.app import Agent, Ports
from edgeagent.desired import DesiredSet
from edgeagent.device import Device, Readings
from edgeagent.pods.images import Images
from edgeagent.pods.materials import PodMaterials
from edgeagent.pods.nodefacts import NodeFacts
from edgeagent.pods.paths import PodPaths
from edgeagent.pods.volumes.contents import Tokens
from edgeagent.pods.volumes.making import Volumes
from edgeagent.runtime.memory import MemoryRuntime
from edgeagent.runtime.memory_device import MemoryDevice
from edgeagent.settings import Settings
from edgeagent.store.database import Database
from shared.clock import Clock
from shared.link import Broker, Link
from shared.objects import Json
from shared.topics import Topics

GIB = 1 << 30


async def run_agent(
    *,
    node: str,
    boot: str,
    link: Link,
    device: MemoryDevice,
    clock: Clock,
    database: Database,
    folder: Path,
    topics: Topics,
    rng: random.Random,
) -> None:
    settings = Settings(
        node=node,
        broker=Broker("broker", 1883),
        topics=topics,
        data_dir=folder / "data",
        log_dir=folder / "logs",
        runtime="memory",
    )
    runtime = MemoryRuntime(device)
    images = Images(runtime, clock)
    paths = PodPaths(settings.data_dir, settings.log_dir)

    def materials(
        node: NodeFacts,
        *,
        desired: DesiredSet,
        tokens: Tokens,
        others: Callable[[], Iterable[Json]],
    ) -> PodMaterials:
        return PodMaterials(
            paths=paths,
            volumes=Volumes(paths, clock, tokens=tokens, offload=_at_once),
            images=images,
            sources=desired,
            node=node,
            others=others,
            offload=_at_once,
        )

    hardware = Device(
        hostname=node,
        cpus=4,
        memory=4 * GIB,
        disk=16 * GIB,
        boot_id=boot,
        architecture="amd64",
    )
    ports = Ports(
        link=link,
        runtime=runtime,
        clock=clock,
        database=database,
        rng=rng,
        device=hardware,
        look=lambda: Readings(addresses=("10.0.0.1",)),
        materials=materials,
    )
    try:
        await Agent(settings, ports).run()
    finally:
        await images.close()


async def _at_once(work: Callable[[], Any]) -> Any:
    result = work()
    await asyncio.sleep(0)
    return result
