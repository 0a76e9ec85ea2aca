"""Labels of Nodes that people set and take away, and pods past the scheduler that ask for one."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from cloudhub.kube.port import NODES, PODS
from shared.objects import Json
from simulator.choosing import any_device, lasting
from simulator.runtime import IMAGES
from simulator.users import NAMESPACE, PLACE

if TYPE_CHECKING:
    from simulator.world import World

PLACES = ("red", "blue", None)
PODS_PLACED = ("placed-0", "placed-1", "placed-2")


async def node_is_labelled(world: World, rng: random.Random) -> None:
    """And at once a pod is bound there: most ask for just that label, which is news itself."""
    name = any_device(world, rng).name
    for _ in range(rng.choice((1, 1, 2, 4))):
        place = rng.choice(PLACES)
        if await world.server.get(NODES, "", name) is None:
            return
        world.journal.say("user", f"labels node {name}", place=place)
        await world.server.patch(NODES, "", name, {"metadata": {"labels": {PLACE: place}}})
        await asyncio.sleep(rng.choice((0.0, 0.0, 0.0, 0.01, 3.0)))
        asked = place if place and rng.random() < 0.7 else rng.choice(PLACES[:2])
        await _place(world, rng, name, str(asked))
        await asyncio.sleep(lasting(rng) if rng.random() < 0.5 else 0.0)


async def _place(world: World, rng: random.Random, node: str, asked: str) -> None:
    name = rng.choice(PODS_PLACED)
    if await world.server.get(PODS, NAMESPACE, name) is not None:
        return
    spec: Json = {
        "nodeName": node,
        "nodeSelector": {PLACE: asked},
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "main", "image": IMAGES[0]}],
    }
    metadata = {"name": name, "namespace": NAMESPACE}
    made = await world.server.create(PODS, NAMESPACE, {"metadata": metadata, "spec": spec})
    uid = made["metadata"]["uid"][-4:]
    world.journal.say("user", f"creates pod {name}", uid=uid, node=node, place=asked)
