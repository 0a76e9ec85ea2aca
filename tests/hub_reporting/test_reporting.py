"""The way up: reports become pod statuses, once, whoever is late, restored or away."""

from __future__ import annotations

import asyncio

import pytest

from cloudhub.kube.port import EVENTS, PODS, Resource
from shared.errors import KubeError, KubeRefused
from shared.messages import Report, ReportedEvent, Session
from shared.tasks import stop
from simulator.broker_session import Publication
from simulator.clock import EPOCH
from tests.hub_delivery.in_step import LaggingKube
from tests.hub_delivery.world import NODE, World, in_world, pod_key
from tests.hub_reporting.reported import (
    RUNNING,
    TOPICS,
    pod_of,
    retained_reports,
    running,
    writes,
)


def test_a_report_becomes_the_status_with_one_request() -> None:
    async def story(world: World) -> None:
        await running(world)
        status = (await pod_of(world))["status"]
        assert (status["phase"], status["podIP"], status["qosClass"]) == (
            *("Running", "10.0.0.9"),
            "BestEffort",
        )
        assert [one for one in writes(world) if one[0] == "patch"] == [
            ("patch", "pods/status", "web")
        ]

    in_world(story)


def test_a_status_of_a_hundred_thousand_parts_is_refused_at_the_door() -> None:
    async def story(world: World) -> None:
        uid = await running(world)
        before = len(writes(world))
        many = {**RUNNING, "containerStatuses": [{}] * 100_000}
        world.devices[NODE].report(pod_key("web"), uid, many)
        await world.quiet()
        assert len(writes(world)) == before
        assert b'reason="too-many-values"' in world.hubs[0].metrics.text()

    in_world(story)


def test_a_restarted_hub_writes_only_what_differs() -> None:
    async def story(world: World) -> None:
        uid = await running(world)
        await world.hubs[0].stop()
        before = len(writes(world))
        world.hub("hub-b")
        await world.quiet()
        assert len(writes(world)) == before
        await world.hubs[1].stop()
        world.devices[NODE].report(pod_key("web"), uid, {"phase": "Succeeded"})
        await world.quiet()
        world.hub("hub-c")
        await world.quiet()
        assert (await pod_of(world))["status"]["phase"] == "Succeeded"

    in_world(story)


def test_a_device_cannot_write_about_a_pod_of_another_node() -> None:
    async def story(world: World) -> None:
        world.hub("hub-a", NODE, "edge-2")
        device = world.device()
        theirs = await world.pod("theirs", "edge-2")
        await world.quiet()
        said = (ReportedEvent("Warning", "Pwned", "x", int(EPOCH), int(EPOCH)),)
        uid = theirs["metadata"]["uid"]
        device.report(pod_key("theirs"), uid, {"phase": "Failed"}, finished=True, events=said)
        await world.quiet()
        found = await pod_of(world, "theirs")
        assert found["status"]["phase"] == "Pending"
        assert await world.kube.list(EVENTS) == []
        assert b'reason="foreign-pod"' in world.hubs[0].metrics.text()

    in_world(story)


def test_an_older_report_never_replaces_a_newer_one() -> None:
    async def story(world: World) -> None:
        uid = await running(world)
        old = Report(pod_key("web"), uid, 0, 1, {"phase": "Pending"})
        topic = TOPICS.reported(pod_key("web"))
        world.broker.publish(Publication(topic, old.encode(), "x"), retain=False)
        await world.quiet()
        assert (await pod_of(world))["status"]["phase"] == "Running"

    in_world(story)


def test_a_device_restored_from_an_old_image_is_believed() -> None:
    async def story(world: World) -> None:
        uid = await running(world)
        device = world.devices[NODE]
        for counter in (20, 5):
            device.report(pod_key("web"), uid, {**RUNNING, "message": str(counter)})
            device.counter = counter
            device._link._path.cut()  # type: ignore[attr-defined]
            await world.quiet()
        device.sequence = 0
        device.report(pod_key("web"), uid, {"phase": "Running", "podIP": "10.0.0.77"})
        await world.quiet()
        assert (await pod_of(world))["status"]["podIP"] == "10.0.0.77"

    in_world(story)


def test_a_device_that_lost_its_disk_and_is_off_when_the_hub_comes_back_is_believed() -> None:
    """The hub hears the death of the newer life only, never its birth."""

    async def story(world: World) -> None:
        uid = await running(world)
        hub, device = world.hubs[0], world.devices[NODE]
        for _ in range(5):
            device.report(pod_key("web"), uid, RUNNING)
        await world.quiet()
        hub.path.reachable = False
        hub.path.cut()
        newer = Report(pod_key("web"), uid, 1, 1, {**RUNNING, "podIP": "10.0.0.77"})
        for topic, payload in (
            (TOPICS.session, Session(True, "i2", 1, boot="b").encode()),
            (TOPICS.reported(pod_key("web")), newer.encode()),
            (TOPICS.session, Session(False, "i2", 1).encode()),
        ):
            world.broker.publish(Publication(topic, payload, "x"), retain=True)
        await stop(*world.tasks)
        hub.path.reachable = True
        sent = await world.quiet(120)
        assert TOPICS.reported(pod_key("web")) not in [one.topic for one in sent]
        assert (await pod_of(world))["status"]["podIP"] == "10.0.0.77"

    in_world(story)


def test_a_server_that_drops_a_field_is_not_asked_again_and_again() -> None:
    async def story(world: World) -> None:
        await running(world)
        drop = world.kube.patch

        async def dropping(*args, **options):  # type: ignore[no-untyped-def]
            patch = {"metadata": args[3]["metadata"], "status": dict(args[3]["status"])}
            patch["status"].pop("observedGeneration", None)
            return await drop(*args[:3], patch, **options)

        world.kube.patch = dropping  # type: ignore[method-assign]
        uid = (await pod_of(world))["metadata"]["uid"]
        newer = {**RUNNING, "observedGeneration": 3}
        world.devices[NODE].report(pod_key("web"), uid, newer)
        await world.quiet()
        world.kube.requests.clear()
        for number in range(5):
            note = {"metadata": {"labels": {"n": str(number)}}}
            await drop(PODS, "default", "web", note)
            await world.quiet()
        assert ("patch", "pods/status", "web") not in world.kube.requests

    in_world(story)


def test_what_a_condition_has_no_more_goes_though_the_watch_is_late() -> None:
    """The hub has not seen what its first patch made when it makes the second."""

    async def story(world: World) -> None:
        kube = LaggingKube(world.kube)
        world.device()
        world.hub(kube=kube)
        uid = (await world.pod("web"))["metadata"]["uid"]
        await world.quiet()
        ready = {"type": "Ready", "status": "True"}
        world.devices[NODE].report(pod_key("web"), uid, {**RUNNING, "conditions": [ready]})
        await world.quiet()
        kube.lag = 60.0
        unready = {"type": "Ready", "status": "False"}
        for why in ({"reason": "Waits", "message": "for main"}, {"reason": "PodFailed"}):
            told = {**RUNNING, "conditions": [{**unready, **why}]}
            world.devices[NODE].report(pod_key("web"), uid, told)
            await world.quiet(5)
        (row,) = (await pod_of(world))["status"]["conditions"]
        assert (row["reason"], row.get("message")) == ("PodFailed", None)

    in_world(story)


@pytest.mark.parametrize("status", [400, 422])
def test_a_status_that_the_server_refuses_is_not_repeated(status: int) -> None:
    async def story(world: World) -> None:
        def refuse(verb: str, resource: Resource, name: str) -> None:
            if verb == "patch":
                raise KubeRefused("bad", status=status, reason="Invalid")

        world.kube.fail = refuse
        await running(world)
        world.kube.requests.clear()
        await world.quiet(300)
        assert writes(world) == []

    in_world(story)


def test_an_api_server_that_is_away_gets_the_newest_status_later() -> None:
    async def story(world: World) -> None:
        uid = await running(world)

        def away(verb: str, resource: Resource, name: str) -> None:
            raise KubeError("connection refused")

        world.kube.fail = away
        for number in range(10):
            status = {**RUNNING, "message": str(number)}
            world.devices[NODE].report(pod_key("web"), uid, status)
            await world.quiet(1)
        world.kube.requests.clear()
        world.kube.fail = lambda verb, resource, name: None
        await world.quiet(60)
        assert (await pod_of(world))["status"]["message"] == "9"
        assert writes(world) == [("patch", "pods/status", "web")]

    in_world(story)


def test_what_kubernetes_says_of_an_absent_nodes_pods_stands_until_it_is_back() -> None:
    async def story(world: World) -> None:
        await running(world)
        path = world.devices[NODE]._link._path  # type: ignore[attr-defined]
        path.reachable = False
        path.cut()
        await world.quiet(60)
        not_ready = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
        await world.kube.patch(
            PODS, "default", "web", not_ready, subresource="status", patch_type="strategic"
        )
        await world.quiet(60)
        await world.hubs[0].stop()
        world.hub("hub-b")
        await world.quiet(60)
        assert (await pod_of(world))["status"]["conditions"][0]["status"] == "False"
        path.reachable = True
        await world.quiet(60)
        assert (await pod_of(world))["status"]["conditions"][0]["status"] == "True"

    in_world(story)


def test_a_replica_without_a_link_does_not_write_what_it_remembers() -> None:
    """Its memory is older than what the other one hears: they would undo each other for ever."""

    async def story(world: World) -> None:
        uid = await running(world)
        cut_off = world.hubs[0]
        cut_off.path.reachable = False
        cut_off.path.cut()
        world.hub("hub-b")
        await world.quiet()
        world.devices[NODE].report(pod_key("web"), uid, {**RUNNING, "podIP": "10.0.0.10"})
        await world.quiet(0.5)
        before = len(writes(world))
        await world.quiet(60)
        assert (await pod_of(world))["status"]["podIP"] == "10.0.0.10"
        assert writes(world)[before:] == []

    in_world(story)


def test_what_was_heard_before_a_loss_of_the_link_is_written_after_it() -> None:
    async def story(world: World) -> None:
        uid = await running(world)
        world.hubs[0].path.cut()
        await world.kube.patch(
            *(PODS, "default", "web"),
            {"metadata": {"uid": uid}, "status": {"podIP": "10.0.0.66"}},
            subresource="status",
            patch_type="strategic",
        )
        await world.quiet()
        assert (await pod_of(world))["status"]["podIP"] == "10.0.0.9"

    in_world(story)


def test_what_a_replica_remembers_clears_no_newer_report() -> None:
    """Cut off, it heard nothing of the new pod; back, it reads first what the broker retains."""

    async def story(world: World) -> None:
        uid = await running(world)
        cut_off = world.hubs[0]
        cut_off.path.reachable = False
        cut_off.path.cut()
        other = world.hub("hub-b")
        await world.quiet()
        await world.kube.delete(PODS, "default", "web", uid=uid, grace=0)
        new = (await world.pod("web"))["metadata"]["uid"]
        await world.quiet()
        world.devices[NODE].report(pod_key("web"), new, {**RUNNING, "podIP": "10.0.0.10"})
        await world.quiet()
        await other.stop()
        cut_off.path.reachable = True
        kept = retained_reports(world)
        for _ in range(100_000):
            if cut_off.sync.connected:
                break
            await asyncio.sleep(0.001)
        cut_off.sync._reporting.look_at(NODE)  # As when the API says something just then.
        await world.quiet()
        assert retained_reports(world) == kept
        assert (await pod_of(world))["status"]["podIP"] == "10.0.0.10"

    in_world(story)
