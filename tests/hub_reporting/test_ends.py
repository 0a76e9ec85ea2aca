"""Deletions end when the device says so; reports of pods that are not here are cleared."""

from __future__ import annotations

import pytest

from cloudhub.kube.port import PODS, Resource
from shared.objects import Json
from tests.hub_delivery.in_step import LaggingKube
from tests.hub_delivery.world import NODE, World, in_world, pod_key
from tests.hub_reporting.reported import (
    RUNNING,
    bind,
    pod_of,
    retained_reports,
    running,
    slowly,
    writes,
)


def test_a_deletion_ends_when_the_device_has_stopped_the_pod() -> None:
    async def story(world: World) -> None:
        uid = await running(world)
        await world.kube.delete(PODS, "default", "web", uid=uid, grace=30)
        await world.quiet()
        assert (await pod_of(world))["metadata"]["deletionGracePeriodSeconds"] == 30
        final = {"phase": "Succeeded"}
        world.kube.requests.clear()
        world.devices[NODE].report(pod_key("web"), uid, final, finished=True)
        await world.quiet(0.3)
        assert writes(world) == [("patch", "pods/status", "web"), ("delete", "pods", "web")]
        assert [one for one in world.kube.requests if one[0] == "get"] == []
        assert await world.kube.get(PODS, "default", "web") is None
        assert world.devices[NODE].applied.entries == {}
        assert retained_reports(world) == []

    in_world(story)


@pytest.mark.parametrize("faster", ["the watch", "the answer"])
def test_a_deletion_that_a_backup_of_the_api_server_brings_back_ends_again(faster: str) -> None:
    async def story(world: World) -> None:
        kube = LaggingKube(world.kube)
        world.device()
        world.hub(kube=kube)
        uid = (await world.pod("web"))["metadata"]["uid"]
        await world.quiet()
        await world.kube.delete(PODS, "default", "web", uid=uid, grace=30)
        await world.quiet()
        backup = world.kube.saved()
        if faster == "the answer":
            kube.lag = 5.0
        else:
            kube.delete = slowly(world, kube.delete)  # type: ignore[method-assign]
        world.devices[NODE].report(pod_key("web"), uid, {"phase": "Succeeded"}, finished=True)
        await world.quiet(2)
        assert await world.kube.get(PODS, "default", "web") is None
        world.kube.restore(backup)
        if faster == "the watch":
            world.devices[NODE].report(pod_key("web"), uid, {"phase": "Failed"}, finished=True)
        await world.quiet(60)
        assert await world.kube.get(PODS, "default", "web") is None
        assert retained_reports(world) == []

    in_world(story)


def test_a_pod_that_a_backup_of_the_api_server_puts_on_another_node_leaves_no_report_here() -> None:
    async def story(world: World) -> None:
        world.device()
        world.hub("hub-a", NODE, "edge-2")
        uid = (await world.pod("web", node=""))["metadata"]["uid"]
        unbound = world.kube.saved()
        await bind(world, "edge-2")
        elsewhere = world.kube.saved()
        world.kube.restore(unbound)
        await bind(world, NODE)
        await world.quiet()
        world.devices[NODE].report(pod_key("web"), uid, RUNNING)
        await world.quiet()
        assert len(retained_reports(world)) == 1
        world.kube.restore(elsewhere)
        await world.quiet(90)
        assert retained_reports(world) == []

    in_world(story)


def test_a_report_about_a_pod_that_has_just_come_to_the_node_is_kept_by_a_hub_that_lags() -> None:
    async def story(world: World) -> None:
        kube = LaggingKube(world.kube)
        world.device()
        world.hub("hub-a", NODE, "edge-2", kube=kube)
        uid = (await world.pod("web", node="edge-2"))["metadata"]["uid"]
        await world.quiet()
        kube.lag = 20.0
        await bind(world, NODE)
        await world.quiet()
        world.devices[NODE].report(pod_key("web"), uid, RUNNING)
        await world.quiet()
        assert len(retained_reports(world)) == 1
        await world.quiet(40)
        assert (await pod_of(world))["status"]["phase"] == "Running"

    in_world(story)


def test_a_finished_report_that_a_dead_hub_missed_ends_the_deletion() -> None:
    async def story(world: World) -> None:
        uid = await running(world)
        await world.kube.delete(PODS, "default", "web", uid=uid, grace=30)
        await world.quiet()
        await world.hubs[0].stop()
        world.devices[NODE].report(pod_key("web"), uid, {"phase": "Failed"}, finished=True)
        await world.quiet()
        world.hub("hub-b")
        await world.quiet()
        assert await world.kube.get(PODS, "default", "web") is None
        assert retained_reports(world) == []

    in_world(story)


def test_a_finished_report_deletes_nothing_that_nobody_deletes() -> None:
    async def story(world: World) -> None:
        uid = await running(world)
        world.devices[NODE].report(pod_key("web"), uid, {"phase": "Succeeded"}, finished=True)
        await world.quiet()
        assert "deletionTimestamp" not in (await pod_of(world))["metadata"]

    in_world(story)


def test_a_report_is_cleared_though_its_pod_went_before_our_watch_had_shown_it() -> None:
    """A replica that was cut off meanwhile never hears of that deletion."""

    async def story(world: World) -> None:
        world.hub()
        world.device()
        await world.quiet()
        get, unseen = world.kube.get, {"metadata": {"uid": "unseen"}, "spec": {"nodeName": NODE}}

        async def before(resource: Resource, namespace: str, name: str) -> Json | None:
            return unseen if name == "web" else await get(resource, namespace, name)

        world.kube.get = before  # type: ignore[method-assign]
        world.devices[NODE].report(pod_key("web"), "unseen", RUNNING)
        await world.quiet(30)
        assert len(retained_reports(world)) == 1
        world.kube.get = get  # type: ignore[method-assign]
        await world.quiet(60)
        assert retained_reports(world) == []

    in_world(story)


def test_a_report_about_a_namesake_is_cleared_and_never_written() -> None:
    async def story(world: World) -> None:
        await running(world)
        world.devices[NODE].report(
            pod_key("web"), "another-uid", {"phase": "Failed"}, finished=True
        )
        await world.quiet()
        assert (await pod_of(world))["status"]["phase"] == "Running"
        assert retained_reports(world) == []

    in_world(story)
