"""What the hub writes about a node, taken by API servers that validate it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cloudhub.kube.access import open_access
from cloudhub.kube.client import KubeClient
from cloudhub.kube.port import EVENTS, LEASES, NODES, Kube
from cloudhub.nodes.nodes import Nodes
from cloudhub.replicas import Replicas
from shared.clock import SystemClock
from shared.messages import Report
from shared.objects import NO_NAMESPACE, Json, ObjectKey
from shared.tasks import stop
from shared.topics import SLOTS
from tests.hub_nodes.test_node_status import REPORT
from tests.hub_nodes.test_presence import birth, death
from tests.hub_nodes.world import Heeded, listen
from tests.parts.kubernetes import Cluster

ALL = frozenset(range(SLOTS))


@asynccontextmanager
async def hub_at(cluster: Cluster) -> AsyncIterator[tuple[Nodes, Kube]]:
    clock, rng = SystemClock(), random.Random(1)
    access = await open_access(str(cluster.kubeconfig_path))
    kube = KubeClient(access, clock=clock, rng=rng)
    nodes = Nodes(kube, clock=clock, rng=rng, taints=({"key": "edge", "effect": "NoSchedule"},))
    task = asyncio.create_task(nodes.run(Heeded()))
    nodes.own(ALL)
    listen(nodes)
    try:
        yield nodes, kube
    finally:
        await stop(task)
        await kube.close()


async def ready_node(kube: Kube, name: str, reason: str) -> Json:
    """The Node as soon as its Ready condition has this reason."""
    async with asyncio.timeout(10):
        while True:
            node = await kube.get(NODES, "", name)
            rows = (node or {}).get("status", {}).get("conditions") or []
            if node and any(row["type"] == "Ready" and row["reason"] == reason for row in rows):
                return node
            await asyncio.sleep(0.02)


async def lease_of(kube: Kube, name: str) -> Json:
    """It is written beside the Node, not before it."""
    async with asyncio.timeout(10):
        while (lease := await kube.get(LEASES, "kube-node-lease", name)) is None:
            await asyncio.sleep(0.02)
    return lease


def report(name: str) -> Report:
    return Report(ObjectKey("Node", NO_NAMESPACE, name), "", 1, 1, REPORT)


async def test_a_node_is_born_kept_alive_and_seen_to_go(kubernetes: Cluster) -> None:
    async with hub_at(kubernetes) as (nodes, kube):
        nodes.heard("edge-life", birth(1))
        nodes.reported("edge-life", report("edge-life"))
        node = await ready_node(kube, "edge-life", "AgentConnected")
        assert node["status"]["addresses"] == REPORT["addresses"]
        if kubernetes.minor >= 36:
            assert node["status"]["declaredFeatures"] == REPORT["declaredFeatures"]
        assert {"key": "edge", "effect": "NoSchedule"} in node["spec"]["taints"]
        lease = await lease_of(kube, "edge-life")
        assert lease["metadata"]["ownerReferences"][0]["uid"] == node["metadata"]["uid"]
        nodes.heard("edge-life", death(1))
        node = await ready_node(kube, "edge-life", "AgentDisconnected")
        assert node["status"]["images"] == REPORT["images"]


async def test_what_the_server_stored_is_what_we_compare_with(kubernetes: Cluster) -> None:
    """Quantities are rewritten by the server; a second look must still find no difference."""
    async with hub_at(kubernetes) as (nodes, kube):
        nodes.heard("edge-calm", birth(1))
        nodes.reported("edge-calm", report("edge-calm"))
        node = await ready_node(kube, "edge-calm", "AgentConnected")
        while "images" not in node["status"]:
            node = await ready_node(kube, "edge-calm", "AgentConnected")
        await asyncio.sleep(0.5)
    before = await version_of(kubernetes, "edge-calm")
    async with hub_at(kubernetes) as (nodes, _kube):
        nodes.heard("edge-calm", birth(1))
        nodes.reported("edge-calm", report("edge-calm"))
        await asyncio.sleep(1)
    assert await version_of(kubernetes, "edge-calm") == before


async def test_an_extended_resource_advertised_by_hand_becomes_allocatable(
    kubernetes: Cluster,
) -> None:
    async with hub_at(kubernetes) as (nodes, kube):
        nodes.heard("edge-rich", birth(1))
        nodes.reported("edge-rich", report("edge-rich"))
        await ready_node(kube, "edge-rich", "AgentConnected")
        advertised = {"status": {"capacity": {"example.com/dongle": "4"}}}
        await kube.patch(NODES, "", "edge-rich", advertised, subresource="status")
        async with asyncio.timeout(10):
            while True:
                status = (await ready_node(kube, "edge-rich", "AgentConnected"))["status"]
                if status["allocatable"].get("example.com/dongle") == "4":
                    break
                await asyncio.sleep(0.02)
        assert status["capacity"]["example.com/dongle"] == "4"
        assert status["allocatable"]["cpu"] == REPORT["allocatable"]["cpu"]


async def version_of(cluster: Cluster, name: str) -> str:
    async with hub_at(cluster) as (_, kube):
        node = await kube.get(NODES, "", name)
        assert node is not None
        return str(node["metadata"]["resourceVersion"])


async def test_another_kubelets_node_is_left_alone_with_an_event(kubernetes: Cluster) -> None:
    async with hub_at(kubernetes) as (nodes, kube):
        info = {"nodeInfo": {"kubeletVersion": "v1.33.1"}}
        made = await kube.create(NODES, "", {"metadata": {"name": "theirs"}, "status": info})
        nodes.heard("theirs", birth(1))
        async with asyncio.timeout(10):
            while not await kube.get(EVENTS, "default", "theirs.kubetide-name-taken"):
                await asyncio.sleep(0.02)
        found = await kube.get(NODES, "", "theirs")
        assert found is not None
        assert found["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_replicas_share_on_a_server_too(kubernetes: Cluster) -> None:
    clock = SystemClock()
    access = await open_access(str(kubernetes.kubeconfig_path))
    kube = KubeClient(access, clock=clock, rng=random.Random(1))
    slots: dict[str, frozenset[int]] = {}

    def replica(name: str) -> asyncio.Task[None]:
        made = Replicas(
            *(kube, lambda owned: slots.__setitem__(name, owned)),
            name=name,
            namespace="default",
            linked=lambda: True,
            clock=clock,
        )
        return asyncio.create_task(made.run())

    tasks = [replica("hub-a"), replica("hub-b")]
    async with asyncio.timeout(10):
        while len(slots) < 2 or slots["hub-a"] | slots["hub-b"] != ALL:
            await asyncio.sleep(0.02)
        while slots["hub-a"] & slots["hub-b"]:
            await asyncio.sleep(0.02)
    await stop(tasks[1])
    async with asyncio.timeout(10):
        while slots["hub-a"] != ALL:
            await asyncio.sleep(0.02)
    await stop(tasks[0])
    left = {lease["metadata"]["name"] for lease in await kube.list(LEASES, namespace="default")}
    assert not {"hub-a", "hub-b"} & left, "who stops takes its Lease along"
    await kube.close()
