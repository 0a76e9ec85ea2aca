"""Changes are told within a second, whatever the runtime has to tell them with."""

from __future__ import annotations

import asyncio
import time

import pytest

from edgeagent.runtime import cri_events
from edgeagent.runtime.cri import CriRuntime
from edgeagent.runtime.cri_channel import CriChannel
from edgeagent.runtime.cri_errors import translated
from edgeagent.runtime.cri_events import CriEvents
from edgeagent.runtime.cri_messages import cri
from edgeagent.runtime.port import RuntimeAway, Sandbox
from tests.runtime_contract.worlds import RUNS, World, ended, eventually, exits, listening

SOON = 1.0 + 2.0
"""Seconds: those that are promised, and some for a busy machine; what is missed comes after 10."""


async def test_events_begin_with_what_is_there(world: World) -> None:
    first, second = await world.pod(), await world.pod()
    before = time.monotonic()
    async with listening(world.runtime) as heard:
        await heard.names(first.config.uid, since=before, within=SOON)
        await heard.names(second.config.uid, since=before, within=SOON)


async def test_an_exit_is_told_within_a_second(world: World) -> None:
    pod, other = await world.pod(), await world.pod()
    await other.run(RUNS)
    container_id = await pod.run(exits(1, after=1.5))
    async with listening(world.runtime) as heard:
        await heard.names(pod.config.uid, since=0, within=SOON)
        begun, before = len(heard.uids), time.monotonic()
        await ended(world, container_id)
        over = time.monotonic() - before
        assert await heard.names(pod.config.uid, since=before, within=SOON) - over < SOON
        assert {uid for _, uid in heard.uids[begun:]} == {pod.config.uid}


async def test_creation_and_removal_are_told(world: World) -> None:
    async with listening(world.runtime) as heard:
        before = time.monotonic()
        pod = await world.pod()
        await heard.names(pod.config.uid, since=before, within=SOON)
        before = time.monotonic()
        await pod.run(RUNS)
        await heard.names(pod.config.uid, since=before, within=SOON)
        before = time.monotonic()
        await world.runtime.remove_sandbox(pod.id)
        await heard.names(pod.config.uid, since=before, within=SOON)


async def test_events_end_with_an_error_when_the_runtime_dies(daemon_world: World) -> None:
    world = daemon_world
    await world.pod()
    async with listening(world.runtime) as heard:
        await eventually(lambda: _true(heard.uids))
        world.crash()
        try:
            await eventually(lambda: _true(heard.error))
        finally:
            world.come_back()
        assert isinstance(heard.error, RuntimeAway)
    await eventually(world.runtime.info)


async def test_containerd_pushes(isolating_world: World) -> None:
    """Without a push this runtime would be polled once a second for ever."""
    runtime = isolating_world.runtime
    assert isinstance(runtime, CriRuntime)
    async with listening(runtime):
        pod = await isolating_world.pod()
        await pod.run(RUNS)

        async def pushed() -> bool:
            return (await runtime.info()).has_events

        await eventually(pushed)


async def test_a_change_is_told_whoever_else_follows_too(
    isolating_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``crictl events``, or an agent that is gone and whose stream containerd still has."""
    monkeypatch.setattr(cri_events, "_PUSHED", ((0.06, 0.12), 60.0))
    world = isolating_world
    pod = await world.pod()
    elsewhere = CriChannel(world.address)
    other = asyncio.create_task(_take_events(elsewhere))
    try:
        async with listening(world.runtime) as heard:
            await ended(world, await pod.run(exits(0), name="before"))
            for number in range(4):
                container_id = await pod.run(exits(0, after=1.5), name=f"c{number}")
                await ended(world, container_id)
                await heard.names(pod.config.uid, since=time.monotonic() - 0.5, within=SOON)
    finally:
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)
        elsewhere.close()


async def _take_events(channel: CriChannel) -> None:
    with translated("take events"):
        async with channel.runtime.GetContainerEvents.open() as stream:
            await stream.send_message(cri.GetEventsRequest(), end=True)
            async for _ in stream:
                pass


async def _true(value: object) -> object:
    return value


async def test_health_checks_do_not_cause_looks(
    isolating_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """containerd tells of every process that an exec starts; a probe a second must cost nothing."""
    monkeypatch.setattr(cri_events, "_PUSHED", ((0.06, 0.12), 60.0))
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
    await ended(world, await pod.run(exits(0), name="other"))

    async def pushed() -> bool:
        return events.pushed

    await eventually(pushed)
    before = -1
    while looked != before:
        before = looked
        await asyncio.sleep(1)
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
