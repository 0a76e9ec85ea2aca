"""The real things behind the agent's ports: MQTT, the runtime, the disk, the machine's clocks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace

from edgeagent.app import Ports
from edgeagent.commanding import commands
from edgeagent.desired import DesiredSet
from edgeagent.node.device import read_device, read_disk, read_now
from edgeagent.node.subids import read_first_ids
from edgeagent.pods.images.pulling import Images
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.model.paths import PodPaths
from edgeagent.pods.podmaterials import PodMaterials
from edgeagent.pods.resources.cgroup_files import CgroupFiles
from edgeagent.pods.resources.slices import Slices
from edgeagent.pods.volumes.contents import Tokens
from edgeagent.pods.volumes.making import Volumes
from edgeagent.runtime.opening import open_runtime
from edgeagent.settings import Settings
from edgeagent.shutdown.logind import connected
from edgeagent.store.database import RESERVE, Database
from edgeagent.store.executor import ThreadExecutor
from shared.clock import SystemClock
from shared.objects import Json
from shared.paho_link import PahoLink


@asynccontextmanager
async def open_ports(
    settings: Settings, *, ready: Callable[[], None], told: Callable[[str], None]
) -> AsyncIterator[Ports]:
    clock = SystemClock()
    first_ids = read_first_ids()
    runtime = open_runtime(settings.runtime, data_dir=settings.data_dir, clock=clock)
    images = Images(runtime, clock)
    paths = PodPaths(settings.data_dir, settings.log_dir)
    slices = Slices()
    cgroup_files = None if settings.runtime == "process" else CgroupFiles()

    def materials(
        node: NodeFacts,
        *,
        desired: DesiredSet,
        tokens: Tokens,
        others: Callable[[], Iterable[Json]],
    ) -> PodMaterials:
        return PodMaterials(
            paths=paths,
            volumes=Volumes(paths, clock, tokens=tokens),
            images=images,
            sources=desired,
            node=node,
            others=others,
            cgroup_files=cgroup_files,
            slices=slices,
        )

    try:
        yield Ports(
            link=PahoLink(settings.broker),
            runtime=runtime,
            clock=clock,
            database=Database(settings.data_dir, executor=ThreadExecutor()),
            rng=random.SystemRandom(),
            device=replace(read_device(settings.data_dir), first_ids=first_ids),
            look=lambda: read_now(settings.data_dir, node_ips=settings.node_ips),
            materials=materials,
            disk=read_disk,
            offload=asyncio.to_thread,
            cgroup_files=cgroup_files,
            slices=slices,
            ready=ready,
            commands=lambda answers: commands(settings.data_dir, answers),
            reserve=RESERVE,
            told=told,
            logind=connected,
        )
    finally:
        await images.close()
        await runtime.close()
