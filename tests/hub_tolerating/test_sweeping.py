"""Pods of nodes that went away, against a model of the API server and against real ones."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

from cloudhub.fleet.fleet import Fleet
from cloudhub.kube.access import open_access
from cloudhub.kube.client import KubeClient
from cloudhub.kube.memory import MemoryKube
from cloudhub.kube.port import PODS, Kube
from cloudhub.nodes.tolerating import AWAY_SECONDS, EVERY, KEEP_OUT, TAINTS, Tolerating
from shared.clock import SystemClock
from shared.objects import Json
from simulator.clock import SimClock
from tests.parts.kubernetes import Cluster
from tests.parts.virtual_time import virtual

LONG = AWAY_SECONDS + 3 * EVERY


@dataclass
class World:
    kube: MemoryKube
    fleet: Fleet = field(default_factory=Fleet)
    away: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for node in ("n1", "n2"):
            self.fleet.manage(node)

    async def pod(self, name: str, node: str = "n1", labels: Json | None = None) -> None:
        pod = {"metadata": {"name": name, "labels": labels or {}}, "spec": {"nodeName": node}}
        self.fleet.put_pod(await self.kube.create(PODS, "default", pod))

    async def follow(self) -> None:
        """What the watch would bring."""
        for pod in await self.kube.list(PODS):
            self.fleet.put_pod(pod)

    def patches(self) -> int:
        return sum(row[0] == "patch" for row in self.kube.requests)


def tolerating(world: World, clock: SimClock) -> asyncio.Task[None]:
    part = Tolerating(world.kube, away=lambda: world.away, pods=world.fleet.pods, clock=clock)
    return asyncio.create_task(part.run())


async def keys(kube: Kube, name: str) -> list[str]:
    pod = await kube.get(PODS, "default", name)
    return [one["key"] for one in (pod or {})["spec"].get("tolerations", ())]


def new_world() -> tuple[World, SimClock]:
    clock = SimClock(asyncio.get_running_loop())
    return World(MemoryKube(clock)), clock


@virtual
async def test_nothing_is_written_while_nodes_are_connected_or_flap() -> None:
    world, clock = new_world()
    await world.pod("a")
    task = tolerating(world, clock)
    for _ in range(20):
        world.away = {"n1"}
        await asyncio.sleep(AWAY_SECONDS / 2)
        world.away = set()
        await asyncio.sleep(EVERY)
    assert world.patches() == 0
    task.cancel()


@virtual
async def test_each_pod_of_a_node_that_stays_away_is_patched_once() -> None:
    world, clock = new_world()
    await world.pod("a")
    await world.pod("b", labels={KEEP_OUT: "true"})
    await world.pod("c", node="n2")
    world.away = {"n1"}
    task = tolerating(world, clock)
    await asyncio.sleep(LONG)
    await world.follow()
    await asyncio.sleep(10 * LONG)
    assert await keys(world.kube, "a") == list(TAINTS)
    assert await keys(world.kube, "b") == await keys(world.kube, "c") == []
    assert world.patches() == 1
    await world.pod("late")
    await asyncio.sleep(LONG)
    assert await keys(world.kube, "late") == list(TAINTS)
    task.cancel()


@virtual
async def test_a_pod_that_changed_meanwhile_is_patched_as_it_is_then() -> None:
    world, clock = new_world()
    await world.pod("a")
    mine = {"key": "mine", "operator": "Exists"}
    await world.kube.patch(PODS, "default", "a", {"spec": {"tolerations": [mine]}})
    world.away = {"n1"}
    task = tolerating(world, clock)
    await asyncio.sleep(LONG)
    assert await keys(world.kube, "a") == ["mine"], "a conflict, not an overwrite"
    await world.follow()
    await asyncio.sleep(LONG)
    assert await keys(world.kube, "a") == ["mine", *TAINTS]
    task.cancel()


async def test_real_servers_take_the_seconds_away(kubernetes: Cluster) -> None:
    clock = SystemClock()
    kube = KubeClient(
        await open_access(str(kubernetes.kubeconfig_path)), clock=clock, rng=random.Random(1)
    )
    try:
        spec = {
            "nodeName": "away-1",
            "automountServiceAccountToken": False,
            "containers": [{"name": "c", "image": "busybox"}],
        }
        body = {"metadata": {"name": "kept-pod"}, "spec": spec}
        created = await kube.create(PODS, "default", body)
        seconds = [one["tolerationSeconds"] for one in created["spec"]["tolerations"]]
        assert seconds == [300, 300], "the server gives them"
        fleet = Fleet()
        fleet.manage("away-1")
        fleet.put_pod(created)
        now = iter((0.0, AWAY_SECONDS))
        part = Tolerating(kube, away=lambda: ["away-1"], pods=fleet.pods, clock=_At(now))
        await part.sweep()
        await part.sweep()
        found = await kube.get(PODS, "default", "kept-pod")
        assert found is not None
        assert sorted(one["key"] for one in found["spec"]["tolerations"]) == sorted(TAINTS)
        assert not any("tolerationSeconds" in one for one in found["spec"]["tolerations"])
        await kube.delete(PODS, "default", "kept-pod", uid=found["metadata"]["uid"], grace=0)
    finally:
        await kube.close()


class _At(SystemClock):
    """Stands at each of the given moments once."""

    def __init__(self, moments: object) -> None:
        self._moments = moments

    def monotonic(self) -> float:
        return next(self._moments)  # type: ignore[call-overload, no-any-return]
