"""The promise: a pod runs, the link is cut, the device heals itself, the API catches up."""

from __future__ import annotations

import asyncio

from tests.parts.system import System
from tests.parts.view import container_of, is_ready, restarts_of


async def test_a_pod_lives_through_a_disconnection(system: System) -> None:
    await system.create_pod("web")
    await system.running("web")
    first = container_of(system.view.pods["web"])
    assert first["containerID"].startswith("containerd://")
    assert first["restartCount"] == 0

    system.switch.cut()
    await system.node_is("Unknown")
    system.kill_container(first["containerID"])
    await _restarted_by_the_device(system, first["containerID"])
    assert restarts_of(system.view.pods["web"]) == 0, "the API cannot know yet"

    system.switch.restore()
    await system.view.until(
        "the API has caught up",
        lambda: is_ready(pod := system.view.pods.get("web")) and restarts_of(pod) == 1,
    )
    await system.node_is("True")
    last = container_of(system.view.pods["web"])["lastState"]["terminated"]
    assert last["exitCode"] == 137
    assert last["containerID"] == first["containerID"]

    await system.delete_pod("web")
    await system.gone("web")
    await system.only_run()


async def test_a_reconnect_restarts_nothing(system: System) -> None:
    names = [f"web-{number}" for number in range(3)]
    for name in names:
        await system.create_pod(name)
    await system.running(*names)
    before = system.running_ids()
    for _ in range(2):
        system.switch.cut()
        await system.status_says("link:     not connected")
        system.switch.restore()
        await system.status_says("link:     connected, for", "all delivered to the broker")
    await system.node_is("True")
    assert system.running_ids() == before


async def test_changes_made_while_away_arrive_at_the_reconnect(system: System) -> None:
    await system.create_pod("stays")
    await system.create_pod("goes")
    await system.create_pod("forced")
    await system.running("stays", "goes", "forced")
    kept = container_of(system.view.pods["stays"])["containerID"]
    system.switch.cut()
    await system.node_is("Unknown")
    await system.delete_pod("goes")
    await system.delete_pod("forced", grace=0)
    await system.create_pod("comes")
    await asyncio.sleep(1)
    system.switch.restore()
    await system.running("stays", "comes")
    await system.gone("goes", "forced")
    await system.only_run("stays", "comes")
    assert container_of(system.view.pods["stays"])["containerID"] == kept


async def test_the_broker_alone_brings_a_device_up_to_date(system: System) -> None:
    """The hub dies after it has published; the device was away and comes back without it."""
    await system.create_pod("first")
    await system.running("first")
    system.switch.cut()
    await system.node_is("Unknown")
    await system.create_pod("second")
    await asyncio.sleep(2)
    await system.hub.kill()
    system.switch.restore()
    await system.only_run("first", "second")
    await system.hub.start()
    await system.running("first", "second")


async def _restarted_by_the_device(system: System, killed: str) -> None:
    bare = killed.removeprefix("containerd://")
    async with asyncio.timeout(40):
        while bare in (running := system.running_ids()) or len(running) < 2:
            await asyncio.sleep(0.1)
