"""What people do to static pods: to their files on devices, and to their mirror pods in the API."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING

from cloudhub.fleet.pods import is_mirror
from cloudhub.kube.port import PODS
from shared.errors import KubeRefused
from shared.objects import Json
from simulator.choosing import lasting
from simulator.manifests import Manifests
from simulator.runtime import IMAGES

if TYPE_CHECKING:
    from simulator.world import World

NAMESPACE = "default"


async def manifests_change(world: World, rng: random.Random) -> None:
    """Also while no agent runs, and while the device is off: somebody has its disk."""
    if (manifests := _manifests(world, rng)) is None:
        return
    for _ in range(rng.choice((1, 1, 2, 4))):
        await manifests.act()
        await asyncio.sleep(rng.choice((0.0, 1.0, 3.0, 20.0)))


async def mirror_is_deleted(world: World, rng: random.Random) -> None:
    mirrors = [pod for pod in await world.server.list(PODS) if is_mirror(pod)]
    if mirrors:
        await _delete(world, rng.choice(mirrors), grace=rng.choice((0, 30)))


async def mirror_name_is_taken(world: World, rng: random.Random) -> None:
    """Another pod has the name of a mirror pod for a while."""
    if (manifests := _manifests(world, rng)) is None:
        return
    name = rng.choice(manifests.names())
    found = await world.server.get(PODS, NAMESPACE, name)
    if found is not None and is_mirror(found):
        await _delete(world, found, grace=0)
    spec = {
        "nodeName": rng.choice(world.devices).name,
        "restartPolicy": "Always",
        "containers": [{"name": "main", "image": rng.choice(IMAGES[:3])}],
    }
    body = {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}
    try:
        made = await world.server.create(PODS, NAMESPACE, body)
    except KubeRefused:
        return
    world.journal.say("user", f"creates pod {name}", uid=made["metadata"]["uid"][-4:])
    await asyncio.sleep(lasting(rng))
    await _delete(world, made, grace=rng.choice((0, 30)))


async def free_names(world: World) -> None:
    """Nobody else has the name of a mirror pod any more."""
    names = {name for one in world.devices if one.manifests for name in one.manifests.names()}
    for pod in await world.server.list(PODS):
        if pod["metadata"]["name"] in names and not is_mirror(pod):
            await _delete(world, pod, grace=0)


def _manifests(world: World, rng: random.Random) -> Manifests | None:
    found = [device.manifests for device in world.devices if device.manifests]
    return rng.choice(found) if found else None


async def _delete(world: World, pod: Json, *, grace: int) -> None:
    name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
    what = "mirror" if is_mirror(pod) else "pod"
    world.journal.say("user", f"deletes {what} {name}", uid=uid[-4:], grace=grace)
    world.history.condemn(uid, forced=grace == 0)
    with contextlib.suppress(KubeRefused):  # It is gone, or another one has its name.
        await world.server.delete(PODS, NAMESPACE, name, uid=uid, grace=grace)
