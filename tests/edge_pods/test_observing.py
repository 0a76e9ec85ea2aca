"""What the agent asks the runtime, and what it takes from the answers."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from edgeagent.pods.observing import Observer
from edgeagent.runtime.memory import MemoryRuntime
from edgeagent.runtime.port import Change, ContainerState, Sandbox, SandboxConfig
from shared.errors import TemporaryError
from tests.edge_pods.world import NODE, World, a_container, a_pod
from tests.parts.virtual_time import virtual


def asked(world: World) -> list[str]:
    """Which questions went to the runtime, without the lists."""
    return [one.name for one in world.device.history if one.name.startswith("inspect_")]


@virtual
async def test_of_a_pod_that_starts_only_what_is_new_is_looked_up() -> None:
    async with World() as world:
        world.apply(a_pod("web", a_container("one"), a_container("two")))
        await world.passes(5)
        assert asked(world) == ["inspect_sandbox", "inspect_container", "inspect_container"]


@virtual
async def test_of_a_container_that_ends_the_others_are_not_looked_up() -> None:
    async with World() as world:
        uid = world.apply(
            a_pod("web", a_container("one"), a_container("two"), restartPolicy="Never")
        )
        await world.passes(5)
        world.device.history.clear()
        world.crash(uid, "one")
        await world.passes(5)
        assert asked(world) == ["inspect_container"]


@virtual
async def test_a_slow_answer_never_covers_a_newer_one() -> None:
    async with World() as world:
        uid = world.apply(a_pod(restartPolicy="Never"))
        await world.passes(1)
        await world.kill_agent()
        observer = Observer(MemoryRuntime(world.device), node=NODE.name)
        world.device.latency = {"inspect_sandbox": 2.0}
        slow = asyncio.create_task(observer.look(uid))
        await world.passes(1)
        world.crash(uid)
        world.device.latency = {}
        observer.changed(uid)
        newer = await observer.look(uid)
        await slow
        for [sandbox] in (newer, await observer.look(uid)):
            assert [one.state for one in sandbox.containers] == [ContainerState.EXITED]


@virtual
async def test_nothing_of_a_look_that_failed_goes_on_behind_it() -> None:
    async with World() as world:
        uid = world.apply(a_pod())
        await world.passes(1)
        await world.kill_agent()
        runtime = Uneven(world.device)
        await runtime.start_sandbox(replace(await config_of(runtime), attempt=1))
        with pytest.raises(TemporaryError):
            await Observer(runtime, node=NODE.name).look(uid)
        assert asyncio.all_tasks() == {asyncio.current_task()}


class Uneven(MemoryRuntime):
    """Of two sandboxes one is not answered for, and the other late."""

    async def inspect_sandbox(self, sandbox_id: str, *, new: bool = False) -> Sandbox | None:
        if sandbox_id == min(self.device.pods):
            raise TemporaryError("no answer")
        await asyncio.sleep(1)
        return await super().inspect_sandbox(sandbox_id, new=new)


@virtual
async def test_a_new_sandbox_that_was_looked_at_already_keeps_its_containers() -> None:
    async with World() as world:
        uid = world.apply(a_pod())
        await world.passes(1)
        assert world.pods is not None
        pod = world.pods._pods[uid]
        observer = Observer(MemoryRuntime(world.device), node=NODE.name)
        [seen] = await observer.look(uid)
        await observer.see(pod, seen.id, new=True)
        assert await observer.look(uid) == (seen,)


@virtual
async def test_after_an_operation_that_failed_no_older_list_is_good_enough() -> None:
    async with World() as world:
        uid = world.apply(a_pod(restartPolicy="Never"))
        await world.passes(1)
        observer = Observer(MemoryRuntime(world.device), node=NODE.name)
        await observer.look(uid)
        world.device.history.clear()
        observer.changed(uid)
        assert observer.shows_news(Change(uid, ()))
        await observer.look(uid)
        assert world.device.calls("list_sandboxes") == ["list_sandboxes"]


@virtual
async def test_pods_that_start_within_five_seconds_ask_once_for_the_network() -> None:
    async with World() as world:
        for name in ("a", "b", "c", "d"):
            world.apply(a_pod(name))
        await world.passes(1)
        calls = world.device.calls("start_sandbox", "network_ready")
        assert calls[:2] == ["network_ready", "start_sandbox default/a"]
        for wait, asked in ((3, 1), (2, 2)):
            await world.passes(wait)
            world.apply(a_pod(f"after-{wait}"))
            await world.passes(0.1)
            assert len(world.device.calls("network_ready")) == asked


async def config_of(runtime: MemoryRuntime) -> SandboxConfig:
    """Of the one sandbox that is there."""
    (pod,) = runtime.device.pods.values()
    return pod.config


@virtual
async def test_sandboxes_of_another_agent_are_not_seen() -> None:
    async with World() as world:
        uid = world.apply(a_pod())
        await world.passes(1)
        runtime = MemoryRuntime(world.device)
        [ours] = await Observer(runtime, node=NODE.name).look(uid)
        assert [one.state for one in ours.containers] == [ContainerState.RUNNING]
        assert await Observer(runtime, node="another").look(uid) == ()


@virtual
async def test_the_list_that_told_of_a_change_serves_for_the_look_that_follows() -> None:
    async with World() as world:
        pod = a_pod("web", a_container("one"), a_container("two"), restartPolicy="Never")
        uid = world.apply(pod)
        await world.passes(5)
        world.device.history.clear()
        world.crash(uid, "one")
        await world.passes(5)
        assert asked(world) == ["inspect_container"]
        assert world.device.calls("list_sandboxes") == []


@virtual
async def test_a_change_that_shows_what_is_known_is_no_news() -> None:
    async with World() as world:
        uid = world.apply(a_pod(restartPolicy="Never"))
        await world.passes(1)
        observer = Observer(MemoryRuntime(world.device), node=NODE.name)
        running = world.device.change(uid)
        assert observer.shows_news(running)
        await observer.look(uid)
        assert not observer.shows_news(running)
        world.crash(uid)
        assert observer.shows_news(world.device.change(uid))
        assert observer.shows_news(Change(uid, ()))
        assert not Observer(MemoryRuntime(world.device), node="another").shows_news(running)


@virtual
async def test_an_old_list_brings_no_container_back_and_takes_none_away() -> None:
    async with World() as world:
        uid = world.apply(a_pod(restartPolicy="Never"))
        await world.passes(1)
        observer = Observer(MemoryRuntime(world.device), node=NODE.name)
        [before] = await observer.look(uid)
        [runs] = before.containers
        made = replace(runs, id="gone-since", state=ContainerState.CREATED)
        assert not observer.shows_news(Change(uid, (replace(before, containers=(made, runs)),)))
        for old in ((replace(before, containers=(made,)),), ()):
            assert observer.shows_news(Change(uid, old))
            assert await observer.look(uid) == (before,)
