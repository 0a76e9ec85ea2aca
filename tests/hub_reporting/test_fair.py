"""A device that says too much: its own reports wait, nobody else's, and no log is filled."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from structlog.testing import capture_logs

from cloudhub.kube.memory import MemoryKube
from cloudhub.reporting.reporting import AT_ONCE, AT_ONCE_PER_NODE, STRANGE_BURST
from shared.messages import Report
from shared.objects import Json
from tests.hub_delivery.world import NODE, World, in_world, pod_key
from tests.hub_reporting.reported import RUNNING, pod_of, retained_reports


def slow_gets(world: World, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Looking for a pod takes a second; answers how many were looked for at once, each time."""
    under_way: list[int] = [0]
    most: list[int] = []
    get = MemoryKube.get

    async def slowly(self: MemoryKube, *args: Any, **options: Any) -> Json | None:
        under_way[0] += 1
        most.append(under_way[0])
        try:
            await world.clock.sleep(1)
            return await get(self, *args, **options)
        finally:
            under_way[0] -= 1

    monkeypatch.setattr(MemoryKube, "get", slowly)
    return most


def test_a_node_that_talks_without_end_takes_the_way_from_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(world: World) -> None:
        world.hub("hub-a", NODE, "edge-2")
        loud, other = world.device(), world.device("edge-2")
        pod = await world.pod("web", "edge-2")
        await world.quiet()
        most = slow_gets(world, monkeypatch)
        for number in range(4 * AT_ONCE):
            loud.report(pod_key(f"none-{number}"), "no-such-uid", RUNNING)
        await world.quiet(0.5)
        other.report(pod_key("web"), pod["metadata"]["uid"], RUNNING)
        await world.quiet(0.5)
        monkeypatch.undo()
        assert (await pod_of(world))["status"]["phase"] == "Running"
        assert max(most) == AT_ONCE_PER_NODE

    in_world(story)


def test_the_api_server_is_asked_about_strange_pods_now_and_then_only() -> None:
    """Each such report would be a request, a clear and a log line, as fast as a device speaks."""

    async def story(world: World) -> None:
        world.hub()
        device = world.device()
        await world.quiet()
        before = len(world.kube.requests)
        for number in range(300):
            device.report(pod_key(f"none-{number}"), "no-such-uid", RUNNING)
        await world.quiet(5)
        assert len(world.kube.requests) - before <= STRANGE_BURST + 30
        await world.quiet(120)
        assert retained_reports(world) == [], "all of them have their turn"

    in_world(story)


def test_what_waits_for_its_turn_is_not_held_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(world: World) -> None:
        world.hub()
        device = world.device()
        await world.quiet()
        slow_gets(world, monkeypatch)
        for number in range(50):
            device.report(pod_key(f"none-{number}"), "no-such-uid", RUNNING)
        await world.quiet(0.5)
        held = [one for one in gc.get_objects() if isinstance(one, Report)]
        assert len(held) == AT_ONCE_PER_NODE
        monkeypatch.undo()

    in_world(story)


def test_a_foreign_pod_is_logged_now_and_then_only() -> None:
    async def story(world: World) -> None:
        world.hub("hub-a", NODE, "edge-2")
        device = world.device()
        uids = [(await world.pod(f"p{n}", "edge-2"))["metadata"]["uid"] for n in range(20)]
        await world.quiet()
        with capture_logs() as logs:
            for number, uid in enumerate(uids):
                device.report(pod_key(f"p{number}"), uid, RUNNING)
            await world.quiet(5)
        said = [one for one in logs if one["event"] == "report about a pod of another node"]
        assert len(said) == 1
        assert b'rejected_messages_total{reason="foreign-pod"} 20.0' in (
            world.hubs[0].metrics.text()
        )

    in_world(story)
