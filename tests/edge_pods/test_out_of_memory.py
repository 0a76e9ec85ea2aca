"""A runtime that says a moment late that memory ran out, as on cgroup version 2."""

from __future__ import annotations

from dataclasses import replace

from edgeagent.runtime.memory_device import Process
from tests.edge_pods.world import World, a_pod
from tests.parts.virtual_time import virtual


async def run_out(world: World, uid: str) -> None:
    """The kernel's word for it comes beside the end of the process, and after it."""
    (process,) = (one for one in world.processes(uid) if not one.seen.finished_at)
    world.crash(uid, exit_code=137)
    await world.passes(0.1)
    says_why(process)


def says_why(process: Process) -> None:
    process.seen = replace(process.seen, reason="OOMKilled")


@virtual
async def test_that_memory_ran_out_is_told_though_the_runtime_says_so_late() -> None:
    async with World() as world:
        uid = world.apply(a_pod())
        await world.passes(5)
        await run_out(world, uid)
        await world.passes(5)
        assert world.container(uid)["lastState"]["terminated"]["reason"] == "OOMKilled"
        assert world.container(uid)["restartCount"] == 1


@virtual
async def test_who_was_killed_otherwise_is_asked_about_once_more_and_goes_on() -> None:
    async with World() as world:
        uid = world.apply(a_pod())
        await world.passes(5)
        world.device.history.clear()
        world.crash(uid, exit_code=137)
        await world.passes(1)
        assert len(world.starts()) == 1
        assert world.container(uid)["lastState"]["terminated"]["reason"] == "Error"
        asked = world.device.calls("inspect_container")
        await world.passes(100)
        assert len(world.device.calls("inspect_container")) == len(asked)
