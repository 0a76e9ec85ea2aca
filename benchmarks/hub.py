"""Rows about the hub: its restart over a fleet that is in step, and its cost per pod change."""

from __future__ import annotations

import asyncio
import time

from benchmarks.counting import cpu_seconds, rss_mb
from benchmarks.fleet import announced_fleet
from benchmarks.rows import Row
from cloudhub.kube.port import LEASES, PODS
from shared.link import Broker
from shared.objects import Json
from tests.parts.system import System, pod
from tests.parts.view import ready_of

IN_STEP = 200
PODS_EACH = 5
AGENTS = 1000
CHANGES = 1000


async def restart_rows(system: System) -> list[Row]:
    nodes = [f"sim-{number}" for number in range(IN_STEP)]
    async with announced_fleet(Broker("127.0.0.1", system.broker.port), nodes) as fleet:
        await _known(system, nodes)
        names = [f"{node}-{number}" for node in nodes for number in range(PODS_EACH)]
        for name in names:
            await system.create(PODS, pod(name, node=name.rpartition("-")[0]))
        await system.running(*names, within=300)
        await asyncio.sleep(5)
        fleet.published.clear()
        took, lost = await _restart(system, nodes)
        await asyncio.sleep(10)
        sent = dict(fleet.published)
        memory = rss_mb(system.hub.pid)
        for name in names:
            await system.delete_pod(name)
        await system.gone(*names, within=300)
    return [
        Row(
            what="hub restarts → node Ready again",
            ours=f"{took:.2f} s until the new hub serves every node; "
            f"{lost} nodes lost Ready meanwhile",
            peer="42 s",
            target="≤ 2 s",
            met=took <= 2 and not lost,
            method=f"kill -9, start at once; {IN_STEP} nodes with {PODS_EACH} pods each; until "
            "the lease of each node is renewed by the new process",
        ),
        Row(
            what=f"sent again to {IN_STEP} agents in step by a hub restart",
            ours=f"{sum(sent.values())} messages {sent or ''}",
            target="no desired object",
            met=not sent,
            method="live PUBLISH packets on desired, inventory and change; "
            f"hub RSS {memory:.0f} MB",
        ),
    ]


async def cost_rows(system: System) -> list[Row]:
    nodes = [f"cost-{number}" for number in range(AGENTS)]
    async with announced_fleet(Broker("127.0.0.1", system.broker.port), nodes):
        await _known(system, nodes)
        await asyncio.sleep(5)
        names = [f"change-{number}" for number in range(CHANGES)]
        before, started = cpu_seconds(system.hub.pid), time.monotonic()
        for number, name in enumerate(names):
            await system.create(PODS, pod(name, node=nodes[number % AGENTS]))
        await system.running(*names, within=300)
        took = time.monotonic() - started
        spent = (cpu_seconds(system.hub.pid) - before) / CHANGES
        for name in names:
            await system.delete_pod(name)
        await system.gone(*names, within=300)
    return [
        Row(
            what=f"hub CPU per pod change with {AGENTS} simulated agents",
            ours=f"{spent * 1000:.2f} ms",
            method=f"{CHANGES} pods created, published, reported Running and patched in "
            f"{took:.1f} s, leases of {AGENTS} nodes included; hub RSS "
            f"{rss_mb(system.hub.pid):.0f} MB",
        )
    ]


async def _known(system: System, nodes: list[str]) -> None:
    await system.view.until(
        "every simulated node Ready",
        lambda: all(ready_of(system.view.nodes.get(node)) == "True" for node in nodes),
        within=300,
    )


async def _restart(system: System, nodes: list[str]) -> tuple[float, int]:
    """Seconds until the new hub has renewed every lease; nodes that were not Ready on the way."""
    await system.hub.kill()
    old = await _renewals(system)
    lost: set[str] = set()
    started = time.monotonic()
    await system.hub.start()
    while True:
        lost |= {node for node in nodes if ready_of(system.view.nodes.get(node)) != "True"}
        new = await _renewals(system)
        if all(new.get(node, "") > old.get(node, "") for node in nodes):
            return time.monotonic() - started, len(lost)
        await asyncio.sleep(0.05)


async def _renewals(system: System) -> dict[str, str]:
    leases: list[Json] = await system.kube.list(LEASES, namespace="kube-node-lease")
    return {lease["metadata"]["name"]: lease["spec"]["renewTime"] for lease in leases}
