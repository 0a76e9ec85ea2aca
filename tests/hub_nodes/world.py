"""The Nodes of a hub over an API server in memory, on virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

from cloudhub.kube.memory import MemoryKube
from cloudhub.kube.port import LEASES, NODES
from cloudhub.nodes.nodes import Nodes
from cloudhub.nodes.presence import Heard
from shared.messages import Report, Session
from shared.objects import NO_NAMESPACE, Json, ObjectKey
from shared.tasks import stop
from shared.topics import SLOTS
from simulator.clock import SimClock
from tests.hub_nodes.test_node_status import REPORT

ALL = frozenset(range(SLOTS))
TAINT = {"key": "edge", "effect": "NoSchedule"}


class World:
    def __init__(self) -> None:
        self.clock = SimClock(asyncio.get_running_loop())
        self.kube = MemoryKube(self.clock)
        self.nodes = self.new_hub()

    def new_hub(self) -> Nodes:
        return Nodes(self.kube, clock=self.clock, rng=random.Random(1), taints=(TAINT,))

    def hear(self, session: Session, node: str = "n1") -> Heard:
        return self.nodes.heard(node, session)

    def report(self, status: Json = REPORT, node: str = "n1") -> None:
        key = ObjectKey("Node", NO_NAMESPACE, node)
        self.nodes.reported(node, Report(key, "", 1, 1, status))

    async def node(self, name: str = "n1") -> Json:
        found = await self.kube.get(NODES, "", name)
        assert found is not None
        return found

    async def ready(self, name: str = "n1") -> tuple[str, str]:
        rows = (await self.node(name))["status"]["conditions"]
        row = next(row for row in rows if row["type"] == "Ready")
        return row["status"], row["reason"]

    async def renewed(self, name: str = "n1") -> str | None:
        lease = await self.kube.get(LEASES, "kube-node-lease", name)
        return lease["spec"]["renewTime"] if lease else None

    def writes(self) -> list[tuple[str, str, str]]:
        """Of Nodes since the last call; Leases are written all the time."""
        found = [row for row in self.kube.requests if row[0] != "get" and "nodes" in row[1]]
        self.kube.requests.clear()
        return found


class Heeded:
    """What the rest of the hub was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.said: list[tuple[str, ...]] = []
        self.taints: dict[str, list[Json]] = {}
        self.labels: dict[str, Mapping[str, str]] = {}

    def manage(self, node: str) -> None:
        self.told.append(f"manage {node}")

    def unmanage(self, node: str) -> None:
        self.told.append(f"unmanage {node}")

    def describe(self, node: str, taints: list[Json], labels: Mapping[str, str]) -> None:
        self.taints[node], self.labels[node] = taints, labels

    def say(self, *said: str) -> None:
        self.said.append(said)

    def nodes_known(self) -> None:
        self.told.append("known")


def listen(nodes: Nodes, slots: Iterable[int] = ALL) -> None:
    """As the connection does: the link is there, then slot by slot has been read."""
    nodes.linked(True)
    for slot in slots:
        nodes.slot_up(slot)


@asynccontextmanager
async def running(
    nodes: Nodes, *, slots: frozenset[int] = ALL, heeded: Heeded | None = None
) -> AsyncIterator[None]:
    task = asyncio.create_task(nodes.run(heeded or Heeded()))
    nodes.own(slots)
    listen(nodes, slots)
    try:
        yield
        assert not task.done(), task
    finally:
        await stop(task)
