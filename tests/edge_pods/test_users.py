"""Users of their own for pods with ``hostUsers: false``, whatever becomes of agent and device.

The runtime in memory refuses two pods with a user in common. What such users mean to a process is
shown on containerd.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeagent.pods.materials.userids import LENGTH
from edgeagent.pods.model.view import Refusal
from edgeagent.runtime.memory import MemoryRuntime
from edgeagent.runtime.memory_device import Behaviour
from edgeagent.runtime.port import SandboxSecurity
from shared.errors import TemporaryError
from tests.edge_pods.world import World, a_pod
from tests.parts.virtual_time import virtual


def users(world: World) -> dict[str, int]:
    """First user of each pod that has a sandbox, by the pod's name."""
    ids = {pod.config.name: pod.config.security.ids for pod in world.device.pods.values()}
    return {name: one.first for name, one in ids.items() if one is not None}


@virtual
async def test_every_pod_that_asks_for_them_gets_users_of_its_own() -> None:
    async with World() as world:
        for name in ("a", "b", "c"):
            world.apply(a_pod(name, hostUsers=False))
        world.apply(a_pod("plain"))
        world.apply(a_pod("shares", hostUsers=True))
        await world.passes(5)
        assert len(world.running()) == 5
        assert set(users(world)) == {"a", "b", "c"}
        assert set(users(world).values()) == {LENGTH, 2 * LENGTH, 3 * LENGTH}


@virtual
async def test_a_pod_keeps_its_users_over_a_reboot_of_the_device() -> None:
    async with World() as world:
        for name in ("a", "b"):
            world.apply(a_pod(name, hostUsers=False))
        await world.passes(5)
        before = users(world)
        await world.kill_agent()
        world.device.reboot()
        world.desired.wanted = dict(reversed(world.desired.wanted.items()))
        world.facts.records = dict(reversed(world.facts.records.items()))
        world.start_agent()
        await world.passes(60)
        assert len(world.running()) == 2
        assert users(world) == before


@virtual
async def test_users_of_a_pod_that_has_ended_are_free_once_nothing_of_it_is_left() -> None:
    async with World() as world:
        world.behaviours["main"] = Behaviour(exit_after=1.0)
        uid = world.apply(a_pod("once", hostUsers=False, restartPolicy="Never"))
        await world.passes(5)
        assert world.phase(uid) == "Succeeded"
        world.behaviours["main"] = Behaviour()
        world.apply(a_pod("next", hostUsers=False))
        await world.passes(5)
        assert users(world)["next"] == LENGTH + LENGTH * ("once" in users(world))
        world.delete(uid)
        await world.passes(5)
        world.drop(uid)
        await world.passes(5)
        world.apply(a_pod("last", hostUsers=False))
        await world.passes(5)
        assert sorted(users(world).values()) == [LENGTH, 2 * LENGTH]


@virtual
async def test_an_agent_without_its_database_knows_from_the_runtime_whose_users_are_taken() -> None:
    async with World() as world:
        world.apply(a_pod("runs", hostUsers=False))
        await world.passes(5)
        await world.kill_agent()
        world.facts.records.clear()
        world.desired.wanted = dict(reversed(world.desired.wanted.items()))
        world.apply(a_pod("comes", hostUsers=False))
        world.start_agent()
        await world.passes(30)
        assert len(world.running()) == 2
        assert len(world.starts()) == 2, "the first was never started again"
        assert users(world) == {"runs": LENGTH, "comes": 2 * LENGTH}


@virtual
async def test_the_runtime_in_memory_refuses_users_that_are_not_the_pods() -> None:
    """More than a real one does: it is what the tests above, and the simulator, rely on."""
    async with World() as world:
        world.apply(a_pod("web", hostUsers=False))
        await world.passes(5)
        (there,) = world.device.pods.values()
        runtime = MemoryRuntime(world.device)
        thief = replace(there.config, uid="uid-thief", name="thief")
        with pytest.raises(TemporaryError, match="the users of thief are web's"):
            await runtime.start_sandbox(thief)
        (process,) = there.containers.values()
        wrong = replace(there.config, security=SandboxSecurity())
        with pytest.raises(TemporaryError, match="user namespace"):
            await runtime.create_container(
                there.seen.id, wrong, replace(process.config, name="other")
            )


@virtual
async def test_a_pod_that_is_refused_takes_no_users() -> None:
    async with World() as world:
        world.materials.refused = Refusal("NodePorts", "taken")
        world.apply(a_pod("no", hostUsers=False))
        await world.passes(5)
        world.materials.refused = None
        world.apply(a_pod("yes", hostUsers=False))
        await world.passes(5)
        assert users(world) == {"yes": LENGTH}


@virtual
async def test_what_would_be_refused_now_and_runs_keeps_its_users() -> None:
    """Its facts are lost: only the sandbox tells that the pod was taken up once."""
    async with World() as world:
        uid = world.apply(a_pod("web", hostUsers=False))
        await world.passes(5)
        await world.kill_agent()
        world.facts.records.clear()
        world.materials.refused = Refusal("OutOfcpu", "full")
        world.start_agent()
        await world.passes(5)
        world.crash(uid)
        await world.passes(30)
        assert world.container(uid)["restartCount"] == 1
        assert world.running(uid) == ["main"]
        assert users(world) == {"web": LENGTH}
