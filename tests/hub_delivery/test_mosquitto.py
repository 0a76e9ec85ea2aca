"""The same hub on a real mosquitto: the way down and up, restarts with and without the store."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from cloudhub.broker import connection, lifesigns
from cloudhub.kube.memory import MemoryKube
from cloudhub.kube.port import PODS
from cloudhub.metrics import Metrics
from cloudhub.nodes.presence import Presence, Standing
from cloudhub.sync import Sync
from shared.clock import SystemClock
from shared.link import Broker, Connection, ConnectOptions
from shared.messages import Inventory, Report
from shared.objects import NO_NAMESPACE, Json, ObjectKey
from shared.paho_link import PahoLink
from shared.tasks import stop
from shared.topics import SLOTS, Topics
from tests.hub_delivery.device import Device
from tests.hub_delivery.world import NODE, Listener, pod_key
from tests.parts.mosquitto import Mosquitto
from tests.parts.patience import PATIENCE

LONGEST = 15.0 * PATIENCE


class Real:
    def __init__(self, mosquitto: Mosquitto) -> None:
        self.mosquitto = mosquitto
        self.kube = MemoryKube(SystemClock())
        self.metrics = Metrics()
        self.listener = Listener()

    def link(self) -> PahoLink:
        return PahoLink(Broker("127.0.0.1", self.mosquitto.port))

    @asynccontextmanager
    async def hub(self) -> AsyncIterator[Sync]:
        self.metrics = Metrics()
        sync = Sync(
            *(self.kube, self.link(), self.listener),
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
    async def device(self, node: str = NODE) -> AsyncIterator[Device]:
        device = Device(self.link(), node=node, clock=SystemClock())
        task = asyncio.create_task(device.run())
        yield device
        await stop(task)

    def online(self, node: str = NODE) -> bool:
        return self.listener.presence.standing(node) is Standing.ONLINE

    async def pod(self, name: str) -> Json:
        pod = {"metadata": {"name": name}, "spec": {"nodeName": NODE, "containers": []}}
        return await self.kube.create(PODS, "default", pod)

    def published(self, kind: str) -> float:
        found = self.metrics.registry.get_sample_value(
            "kubetide_hub_publishes_total", {"kind": kind}
        )
        return found or 0.0

    def told(self) -> set[str]:
        """Nodes whose report has reached the hub."""
        return {one.key.name for one in self.listener.reports}

    @property
    def read_again(self) -> bool:
        """Whether the hub has noticed that the broker may have dropped something."""
        return bool(self.metrics.registry.get_sample_value("kubetide_hub_broker_overflows_total"))


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(LONGEST):
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
        async with asyncio.timeout(LONGEST):
            while (await real.kube.get(PODS, "default", "web"))["status"]["phase"] != "Running":  # type: ignore[index]
                await asyncio.sleep(0.01)


async def test_a_restarted_hub_is_complete_in_time_and_sends_no_list(real: Real) -> None:
    async with real.device() as device:
        async with real.hub():
            await real.pod("web")
            await until(lambda: pod_key("web") in device.applied.entries)
            revision = device.applied.revision
        async with real.hub() as hub:
            async with asyncio.timeout(5 * PATIENCE):
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


NO_ECHOES = "topic readwrite kubetide/v1/#\ntopic deny kubetide/v1/echo/#\n"


async def test_a_small_queue_of_mosquitto_is_none_while_it_grants_what_the_hub_allows(
    new_mosquitto: Callable[..., Mosquitto],
) -> None:
    """Even where access rules keep the hub from noticing what is dropped."""
    real = Real(new_mosquitto(limits={"max_queued_messages": "50"}, acl=NO_ECHOES))
    await three_hundred_report(real)
    assert not real.read_again


async def test_a_small_queue_of_the_broker_loses_no_report_of_three_hundred_nodes(
    new_mosquitto: Callable[..., Mosquitto], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a broker that has only 100 messages under way, whatever the hub allows."""
    monkeypatch.setattr(connection, "RECEIVE_MAXIMUM", 100)
    real = Real(new_mosquitto(limits={"max_queued_messages": "50"}))
    await three_hundred_report(real)
    assert real.read_again


async def three_hundred_report(real: Real) -> None:
    """At once, while the hub is busy with something else; until it knows of all."""
    nodes = [f"n{number}" for number in range(300)]
    async with real.hub() as hub:
        await until(lambda: hub.linked)
        burst = threading.Thread(target=asyncio.run, args=(all_report(real.link(), nodes),))
        burst.start()
        burst.join()  # The hub's loop stands still meanwhile.
        await until(lambda: real.told() == set(nodes))


async def all_report(link: PahoLink, nodes: list[str]) -> None:
    options = ConnectOptions("crowd", True, 0, keep_alive=60, receive_maximum=20)
    async with link.connect(options) as crowd:
        await asyncio.gather(*(_report(crowd, node) for node in nodes))


async def _report(crowd: Connection, node: str) -> None:
    key = ObjectKey("Node", NO_NAMESPACE, node)
    report = Report(key, "", 1, 0, {}).encode()
    await crowd.publish(Topics().of(node).reported(key), report, retain=True)


async def test_a_device_that_went_away_together_with_the_broker_is_gone(
    new_mosquitto: Callable[..., Mosquitto], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mosquitto that crashed has its births still, and has forgotten its Wills."""
    monkeypatch.setattr(lifesigns, "PATIENCE", (0.5, 1.0))
    monkeypatch.setattr(lifesigns, "ANSWER_SECONDS", 1.0)
    saves_all = {"autosave_on_changes": "true", "autosave_interval": "1"}
    real = Real(new_mosquitto(limits=saves_all))
    async with real.hub(), real.device("edge-2") as kept:
        async with real.device():
            await until(lambda: real.online() and real.online("edge-2"))
            await asyncio.sleep(2.5)
            await asyncio.to_thread(real.mosquitto.kill)
        await asyncio.to_thread(real.mosquitto.start)
        await until(lambda: real.online() and real.online("edge-2") and kept.counter > 1)
        await until(lambda: not real.online())
        await asyncio.sleep(3)
        assert real.online("edge-2") and not real.online()
    real.listener.presence = Presence()
    async with real.hub():
        await until(lambda: NODE in real.listener.presence.nodes())
        assert not real.online(), "what the hub said in the Will's place is retained"
