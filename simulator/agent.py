"""The real agent over the device's models: everything but link, runtime, clock and disk is real.

Blocking work of the pods layer runs on the spot; volumes and static pods are real files below the
device's folder.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeagent.app import Agent, MakeMaterials, Ports
from edgeagent.desired import DesiredSet
from edgeagent.node.device import Device, Readings
from edgeagent.pods.images.pulling import Images
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.model.paths import PodPaths
from edgeagent.pods.podmaterials import PodMaterials
from edgeagent.pods.volumes.contents import Tokens
from edgeagent.pods.volumes.making import Volumes
from edgeagent.runtime.memory import MemoryRuntime
from edgeagent.runtime.memory_device import MemoryDevice
from edgeagent.settings import Settings
from edgeagent.shutdown.port import Connect
from edgeagent.store.database import Database
from shared.clock import Clock
from shared.link import Broker, Link
from shared.objects import Json
from shared.topics import Topics

GIB = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What one run of an agent finds around it."""

    node: str
    boot: str
    folder: Path
    static_pods: Path | None
    link: Link
    device: MemoryDevice
    clock: Clock
    database: Database
    logind: Connect
    rng: random.Random


async def run_agent(machine: Machine) -> None:
    settings = Settings(
        node=machine.node,
        broker=Broker("broker", 1883),
        topics=Topics(),
        data_dir=machine.folder / "data",
        log_dir=machine.folder / "logs",
        runtime="memory",
        static_pods=machine.static_pods,
    )
    runtime = MemoryRuntime(machine.device)
    images = Images(runtime, machine.clock)
    ports = Ports(
        link=machine.link,
        runtime=runtime,
        clock=machine.clock,
        database=machine.database,
        rng=machine.rng,
        device=_hardware(machine),
        look=lambda: Readings(addresses=("10.0.0.1",)),
        materials=_materials(settings, images, machine.clock),
        logind=machine.logind,
    )
    try:
        await Agent(settings, ports).run()
    finally:
        await images.close()


def _hardware(machine: Machine) -> Device:
    return Device(
        hostname=machine.node,
        cpus=4,
        memory=4 * GIB,
        disk=16 * GIB,
        boot_id=machine.boot,
        architecture="amd64",
    )


def _materials(settings: Settings, images: Images, clock: Clock) -> MakeMaterials:
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

    return materials


async def _at_once(work: Callable[[], Any]) -> Any:
    result = work()
    await asyncio.sleep(0)
    return result
