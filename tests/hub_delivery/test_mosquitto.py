"""The same hub on a real mosquitto: the way down and up, restarts with and without the store."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from cloudhub.kube.memory import MemoryKube
from cloudhub.kube.port import PODS
from cloudhub.metrics import Metrics
from cloudhub.sync import Sync
from shared.clock import SystemClock
from shared.link import Broker
from shared.messages import Inventory
from shared.objects import Json
from shared.paho_link import PahoLink
from shared.tasks import stop
from shared.topics import SLOTS, Topics
from tests.hub_delivery.device import Device
from tests.hub_delivery.world import NODE, Listener, pod_key
from tests.parts.mosquitto import Mosquitto

PATIENCE = 15.0


class Real:
    def __init__(self, mosquitto: Mosquitto) -> None:
        self.mosquitto = mosquitto
        self.kube = MemoryKube(SystemClock())
        self.metrics = Metrics()

    def link(self) -> PahoLink:
        return PahoLink(Broker("127.0.0.1", self.mosquitto.port))

    @asynccontextmanager
    async def hub(self) -> AsyncIterator[Sync]:
        self.metrics = Metrics()
        sync = Sync(
            *(self.kube, self.link(), Listener()),
            topics=Topics(),
            replica="hub-a",
            clock=SystemClock(),
            rng=random.Random(1),
            metrics=self.metrics,
        )
        sync.manage(NODE)
        sync.nodes_known()
        sync.own(range(SLOTS))
        task = asyncio.create_task(sync.run())
        yield sync
        await stop(task)

    @asynccontextmanager
    async def device(self) -> AsyncIterator[Device]:
        device = Device(self.link(), node=NODE, clock=SystemClock())
        task = asyncio.create_task(device.run())
        yield device
        await stop(task)

    async def pod(self, name: str) -> Json:
        pod = {"metadata": {"name": name}, "spec": {"nodeName": NODE, "containers": []}}
        return await self.kube.create(PODS, "default", pod)

    def published(self, kind: str) -> float:
        found = self.metrics.registry.get_sample_value(
            "kubetide_hub_publishes_total", {"kind": kind}
        )
        return found or 0.0


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.01)


@pytest.fixture
def real(mosquitto: Mosquitto) -> Real:
    return Real(mosquitto)


async def test_a_pod_down_and_its_status_up(real: Real) -> None:
    async with real.hub(), real.device() as device:
        pod = await real.pod("web")
        await until(lambda: pod_key("web") in device.applied.entries)
        assert not device.missing
        device.report(pod_key("web"), pod["metadata"]["uid"], {"phase": "Running"})
        async with asyncio.timeout(PATIENCE):
            while (await real.kube.get(PODS, "default", "web"))["status"]["phase"] != "Running":  # type: ignore[index]
                await asyncio.sleep(0.01)


async def test_a_restarted_hub_is_complete_in_time_and_sends_no_list(real: Real) -> None:
    async with real.device() as device:
        async with real.hub():
            await real.pod("web")
            await until(lambda: pod_key("web") in device.applied.entries)
            revision = device.applied.revision
        async with real.hub() as hub:
            async with asyncio.timeout(2):
                while not hub.linked:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(2.5)
            assert real.published("inventory") == real.published("body") == 0
            assert device.applied.revision == revision


async def test_a_broker_that_lost_its_store_is_given_everything_again(real: Real) -> None:
    async with real.hub(), real.device() as device:
        for number in range(3):
            await real.pod(f"web-{number}")
        await until(lambda: len(device.applied.entries) == 3)
        before = device.applied
        await asyncio.to_thread(real.mosquitto.stop)
        await real.pod("meanwhile")
        real.mosquitto.wipe()
        await asyncio.to_thread(real.mosquitto.start)
        await until(lambda: len(device.applied.entries) == 4)
        assert device.applied.revision > before.revision
        assert not device.missing
    fresh = Device(real.link(), node=NODE, clock=SystemClock(), instance="i2")
    task = asyncio.create_task(fresh.run())
    await until(lambda: fresh.applied != Inventory(0, {}) and not fresh.missing)
    assert fresh.applied.entries == device.applied.entries
    await stop(task)
