"""Room for a critical pod: who is told to go for it, and who is not, in virtual time.

Who goes is the real choice (``tests/edge_materials/test_preemption.py``); on a real containerd it
is in ``test_preemption_on_containerd.py``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from fractions import Fraction

from edgeagent.pods.admission import preemption
from edgeagent.pods.model import specs
from edgeagent.pods.model.view import Eviction
from edgeagent.pods.workers import WHY_SECONDS
from edgeagent.runtime.memory_device import Behaviour
from shared.objects import Json
from tests.edge_pods.world import NODE, PlainMaterials, World, a_container, a_pod
from tests.parts.virtual_time import virtual

FULL = replace(NODE, allocatable={"cpu": Fraction(2), "pods": Fraction(9)})


class Crowded(PlainMaterials):
    """Two cpus for all."""

    world: World

    def in_the_way(self, pod: Json, leaving: Collection[str]) -> Collection[str]:
        assert self.world.pods is not None
        uid = specs.uid_of(pod)
        others = [one for one in self.world.pods.active() if specs.uid_of(one) != uid]
        return preemption.in_the_way(pod, others, leaving, FULL)


@asynccontextmanager
async def a_crowd() -> AsyncIterator[World]:
    world = World()
    world.materials = crowded = Crowded(world.device)
    crowded.world = world
    async with world:
        yield world


def asks(name: str, container: str = "main", *, priority: int = 0, **requests: str) -> Json:
    one = a_container(container, resources={"requests": requests})
    return a_pod(name, one, priority=priority)


CRITICAL = asks("critical", priority=2_000_000_000, cpu="1")


@virtual
async def test_a_pod_that_leaves_anyway_is_waited_for_and_told_nothing() -> None:
    """It may come back, when the room is not needed any more."""
    async with a_crowd() as world:
        world.behaviours["slow"] = Behaviour(ignores_stop=True)
        slow = world.apply(asks("web", "slow", cpu="2"))
        await world.passes(2)
        world.drop(slow)
        await world.passes(2)
        critical = world.apply(CRITICAL)
        await world.passes(2)
        assert world.running() == ["slow"], "the critical one waits for it"
        world.drop(critical)
        world.apply(asks("web", "slow", cpu="2"))
        await world.passes(120)
        assert world.phase(slow) == "Running"
        assert "Preempting" not in world.reasons(slow)


@virtual
async def test_a_pod_that_was_told_to_go_counts_as_leaving_before_its_end_has_begun() -> None:
    """Its worker waits just now for why a container was killed."""
    async with a_crowd() as world:
        large = world.apply(asks("large", cpu="1", memory="1Gi"))
        small = world.apply(asks("small", cpu="1"))
        await world.passes(2)
        world.crash(large, exit_code=137)
        await world.passes(WHY_SECONDS / 2)
        assert world.pods is not None
        world.pods.evict(large, Eviction("The node was low on resource: memory. "))
        critical = world.apply(CRITICAL)
        await world.passes(5)
        assert (world.phase(large), world.phase(critical)) == ("Failed", "Running")
        assert world.status(large)["reason"] == "Evicted"
        assert world.phase(small) == "Running", "the room of one was enough"
