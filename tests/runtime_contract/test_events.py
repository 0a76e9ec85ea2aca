"""Changes are told within a second, whatever the runtime has to tell them with."""

from __future__ import annotations

import asyncio
import time

from edgeagent.runtime.cri import CriRuntime
from edgeagent.runtime.cri_channel import CriChannel
from edgeagent.runtime.cri_events import CriEvents
from edgeagent.runtime.port import RuntimeAway, Sandbox
from tests.runtime_contract.worlds import RUNS, World, ended, eventually, exits, listening


async def test_events_begin_with_what_is_there(world: World) -> None:
    first, second = await world.pod(), await world.pod()
    before = time.monotonic()
    async with listening(world.runtime) as heard:
        await heard.names(first.config.uid, since=before, within=1)
        await heard.names(second.config.uid, since=before, within=1)


async def test_an_exit_is_told_within_a_second(world: World) -> None:
    pod, other = await world.pod(), await world.pod()
    await other.run(RUNS)
    container_id = await pod.run(exits(1, after=1.5))
    async with listening(world.runtime) as heard:
        await heard.names(pod.config.uid, since=0, within=1)
        begun = len(heard.uids)
        await ended(world, container_id)
        assert await heard.names(pod.config.uid, since=time.monotonic() - 0.1, within=1) < 1
        assert {uid for _, uid in heard.uids[begun:]} == {pod.config.uid}


async def test_creation_and_removal_are_told(world: World) -> None:
    async with listening(world.runtime) as heard:
        before = time.monotonic()
        pod = await world.pod()
        await heard.names(pod.config.uid, since=before, within=1.5)
        before = time.monotonic()
        await pod.run(RUNS)
        await heard.names(pod.config.uid, since=before, within=1.5)
        before = time.monotonic()
        await world.runtime.remove_sandbox(pod.id)
        await heard.names(pod.config.uid, since=before, within=1.5)


async def test_events_end_with_an_error_when_the_runtime_dies(daemon_world: World) -> None:
    world = daemon_world
    await world.pod()
    async with listening(world.runtime) as heard:
        await eventually(lambda: _true(heard.uids), within=2)
        world.crash()
        try:
            await eventually(lambda: _true(heard.error), within=3)
        finally:
            world.come_back()
        assert isinstance(heard.error, RuntimeAway)
    await eventually(world.runtime.info, within=3)


async def test_containerd_pushes(isolating_world: World) -> None:
    """Without a push this runtime would be polled once a second for ever."""
    runtime = isolating_world.runtime
    assert isinstance(runtime, CriRuntime)
    async with listening(runtime):
        pod = await isolating_world.pod()
        await pod.run(RUNS)

        async def pushed() -> bool:
            return (await runtime.info()).has_events

        await eventually(pushed, within=2)


async def _true(value: object) -> object:
    return value


async def test_health_checks_do_not_cause_looks(isolating_world: World) -> None:
    """containerd tells of every process that an exec starts; a probe a second must cost nothing."""
    world = isolating_world
    pod = await world.pod()
    container_id = await pod.run(RUNS)
    private = world.runtime
    assert isinstance(private, CriRuntime)
    looked = 0

    async def counted() -> list[Sandbox]:
        nonlocal looked
        looked += 1
        return await private.list_sandboxes()

    channel = CriChannel(world.address)
    events = CriEvents(channel, counted)
    following = asyncio.create_task(_drain(events))
    await asyncio.sleep(0.5)
    await pod.run(exits(0), name="other")
    await asyncio.sleep(4.5)
    assert events.pushed
    before = looked
    for _ in range(5):
        await private.exec_sync(container_id, ["true"], 5)
    await asyncio.sleep(0.5)
    assert looked == before
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    channel.close()


async def _drain(events: CriEvents) -> None:
    async for _ in events.follow():
        pass
