"""Taints of Nodes: those that people set, and those that the control plane concludes."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from cloudhub.kube.port import NODES
from shared.objects import Json
from simulator.choosing import any_device, lasting
from simulator.users import MAINTENANCE

if TYPE_CHECKING:
    from simulator.world import World

UNREACHABLE: Json = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}


async def node_is_tainted(world: World, rng: random.Random) -> None:
    """For a while, or for good. Nobody drives pods away: only what a device makes of it counts."""
    name, taint = any_device(world, rng).name, rng.choice((MAINTENANCE, MAINTENANCE, UNREACHABLE))
    if not await _change(world, name, put=taint):
        return
    world.journal.say("user", f"taints node {name}", key=taint["key"])
    if taint is UNREACHABLE or rng.random() < 0.7:
        await asyncio.sleep(lasting(rng))
        await _change(world, name, drop=taint)
        world.journal.say("user", f"takes the taint from node {name}", key=taint["key"])


async def _change(
    world: World, name: str, *, put: Json | None = None, drop: Json | None = None
) -> bool:
    node = await world.server.get(NODES, "", name)
    if node is None:
        return False
    there = node["spec"].get("taints") or []
    kept = [one for one in there if one not in (put, drop)]
    patch = {"spec": {"taints": [*kept, put] if put else kept}}
    await world.server.patch(NODES, "", name, patch)
    if put is MAINTENANCE:
        world.history.maintained.add(name)
    return True
