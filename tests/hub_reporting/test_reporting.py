"""The way up: reports become pod statuses, deletions end, Events are written, once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from cloudhub.kube.port import EVENTS, PODS, Resource
from cloudhub.reporting.events import BURST, LONGEST_WAIT, PER_SECOND, QUIET_SECONDS, Events
from shared.errors import KubeError, KubeRefused
from shared.messages import Report, ReportedEvent, Session
from shared.objects import Json
from shared.tasks import stop
from shared.topics import Topics
from simulator.broker_session import Publication
from simulator.clock import EPOCH
from tests.hub_delivery.test_bad_days import LaggingKube
from tests.hub_delivery.world import NODE, World, in_world, pod_key

TOPICS = Topics().of(NODE)
RUNNING = {
    "phase": "Running",
    "podIP": "10.0.0.9",
    "conditions": [{"type": "Ready", "status": "True"}],
}


async def pod_of(world: World, name: str = "web") -> Json:
    found = await world.kube.get(PODS, "default", name)
    assert found is not None
    return found


async def running(world: World) -> str:
    """A pod that its device reported to run; answers its uid."""
    world.hub()
    world.device()
    pod = await world.pod("web")
    await world.quiet()
    uid = pod["metadata"]["uid"]
    world.devices[NODE].report(pod_key("web"), uid, RUNNING)
    await world.quiet(0.2)
    return uid


def writes(world: World) -> list[tuple[str, str, str]]:
    return [one for one in world.kube.requests if one[0] in ("patch", "create", "delete", "update")]


def retained_reports(world: World) -> list[str]:
    return [topic for topic, _ in world.broker.retained.items() if "/reported/" in topic]


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


async def bind(world: World, node: str) -> None:
    await world.kube.patch(PODS, "default", "web", {"spec": {"nodeName": node}})


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


def slowly(world: World, request: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def slow(*args: Any, **options: Any) -> None:
        await request(*args, **options)
        await world.clock.sleep(1)

    return slow


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


def test_events_are_written_once_and_counted_up() -> None:
    async def story(world: World) -> None:
        uid = await running(world)
        now = int(EPOCH + asyncio.get_running_loop().time())
        device = world.devices[NODE]

        def say(count: int, last: int) -> None:
            event = ReportedEvent("Warning", "BackOff", "again", now, last, count, "spec.x{c}")
            device.report(pod_key("web"), uid, {**RUNNING, "message": str(count)}, events=(event,))

        say(1, now)
        await world.quiet()
        [event] = await world.kube.list(EVENTS)
        assert event["metadata"]["name"].startswith("web.")
        assert event["involvedObject"] == {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": "default",
            "name": "web",
            "uid": uid,
            "fieldPath": "spec.x{c}",
        }
        assert event["reportingComponent"] == "kubetide-agent"
        assert event["source"] == {"component": "kubetide-agent", "host": NODE}
        await world.hubs[0].stop()
        world.kube.requests.clear()
        world.hub("hub-b")
        await world.quiet()
        assert [one for one in world.kube.requests if one[1] == "events"] == [
            ("list", "events", "")
        ]
        say(4, now + 3)
        await world.quiet()
        [event] = await world.kube.list(EVENTS)
        assert event["count"] == 4

    in_world(story)


def test_events_of_one_second_are_listed_in_their_order_also_when_some_repeat() -> None:
    async def story(world: World) -> None:
        uid = await running(world)
        now = int(EPOCH + asyncio.get_running_loop().time())
        reasons = ["Pulled", "Created", "Started"]
        said = [
            ReportedEvent("Normal", reason, "x", now, now, order=place)
            for place, reason in enumerate(reasons)
        ]
        world.devices[NODE].report(pod_key("web"), uid, RUNNING, events=tuple(said))
        await world.quiet()
        pulled_again = replace(said[0], last=now + 5, count=2)
        said = [*said[1:], pulled_again, ReportedEvent("Warning", "BackOff", "x", now + 1, now + 5)]
        again = {**RUNNING, "message": "again"}
        world.devices[NODE].report(pod_key("web"), uid, again, events=tuple(said))
        await world.quiet()
        found = sorted(await world.kube.list(EVENTS), key=lambda one: one["metadata"]["name"])
        assert [one["reason"] for one in found] == [*reasons, "BackOff"]
        assert [one["count"] for one in found] == [2, 1, 1, 1]

    in_world(story)


def test_events_wait_while_their_node_still_talks_and_statuses_do_not() -> None:
    async def story(world: World) -> None:
        uid = await running(world)
        now = int(EPOCH + asyncio.get_running_loop().time())
        device = world.devices[NODE]

        def say(message: str) -> None:
            event = ReportedEvent("Normal", "Started", "x", now, now)
            status = {**RUNNING, "message": message}
            device.report(pod_key("web"), uid, status, events=(event,))

        say("0")
        await world.quiet(QUIET_SECONDS * 0.8)
        say("1")
        await world.quiet(QUIET_SECONDS * 0.8)
        assert (await pod_of(world))["status"]["message"] == "1"
        assert await world.kube.list(EVENTS) == []
        await world.quiet(QUIET_SECONDS)
        assert len(await world.kube.list(EVENTS)) == 1

    in_world(story)


def test_events_of_a_node_that_never_pauses_do_not_wait_for_ever() -> None:
    async def story(world: World) -> None:
        uid = await running(world)
        now = int(EPOCH + asyncio.get_running_loop().time())
        said = (ReportedEvent("Normal", "Started", "x", now, now),)
        for turn in range(int(LONGEST_WAIT / 0.2) + 5):
            status = {**RUNNING, "message": str(turn)}
            world.devices[NODE].report(pod_key("web"), uid, status, events=said)
            await world.quiet(0.2)
        assert len(await world.kube.list(EVENTS)) == 1

    in_world(story)


def test_an_event_that_its_device_has_forgotten_begins_anew() -> None:
    async def story(world: World) -> None:
        uid = await running(world)
        now = int(EPOCH + asyncio.get_running_loop().time())
        for count, later in ((5, 0), (1, 4000)):
            await world.quiet(later)
            event = ReportedEvent("Warning", "BackOff", "again", now + later, now + later, count)
            status = {**RUNNING, "message": str(count)}
            world.devices[NODE].report(pod_key("web"), uid, status, events=(event,))
            await world.quiet()
        found = await world.kube.list(EVENTS)
        assert [one["count"] for one in found] == [5, 1]
        assert len({one["metadata"]["name"] for one in found}) == 2

    in_world(story)


def test_the_hub_says_the_same_of_a_pod_once_an_hour() -> None:
    async def story(world: World) -> None:
        events = Events(world.kube, clock=world.clock)
        writing = asyncio.create_task(events.run())
        for wait in (10, 10, 4000, 10):
            events.warn(pod_key("web"), "uid", NODE, reason="NotSendable", message="too large")
            await world.quiet(wait)
        found = await world.kube.list(EVENTS)
        assert [one["count"] for one in found] == [1, 1]
        await stop(writing)

    in_world(story)


def test_what_the_hub_says_of_an_object_in_a_row_is_written_whole_and_repeats_are_counted() -> None:
    async def story(world: World) -> None:
        events = Events(world.kube, clock=world.clock)
        writing = asyncio.create_task(events.run())
        for turn in ("NodeReady", "NodeNotReady", "NodeReady"):
            events.say(NODE, "Normal", turn, f"Node {NODE} status is now: {turn}")
        await world.quiet(10)
        events.say(NODE, "Normal", "NodeReady", f"Node {NODE} status is now: NodeReady")
        for reason in ("NotSendable", "BadSecret"):
            events.warn(pod_key("web"), "uid", NODE, reason=reason, message="too large")
        await world.quiet(10)
        found = {one["reason"]: one for one in await world.kube.list(EVENTS)}
        counts = {reason: one["count"] for reason, one in found.items()}
        assert counts == {"NodeReady": 3, "NodeNotReady": 1, "NotSendable": 1, "BadSecret": 1}
        about = found["NodeReady"]["involvedObject"]
        assert about == {"apiVersion": "v1", "kind": "Node", "name": NODE, "uid": NODE}
        await stop(writing)

    in_world(story)


def test_what_the_hub_says_is_not_lost_while_the_api_server_is_away() -> None:
    async def story(world: World) -> None:
        events = Events(world.kube, clock=world.clock)
        writing = asyncio.create_task(events.run())
        for reason in ("First", "Second"):
            events.warn(pod_key("web"), "uid", NODE, reason=reason, message="m")
        later = ["Third", "Fourth"]

        def away(verb: str, resource: Resource, name: str) -> None:
            if verb == "create" and later:
                warned = later.pop(0)
                events.warn(pod_key("web"), "uid", NODE, reason=warned, message="m")
                raise KubeError("connection refused")

        world.kube.fail = away
        await world.quiet(60)
        found = sorted(one["reason"] for one in await world.kube.list(EVENTS))
        assert found == ["First", "Fourth", "Second", "Third"]
        await stop(writing)

    in_world(story)


def test_a_device_whose_clock_was_never_set_speaks_in_the_hubs_time() -> None:
    async def story(world: World) -> None:
        uid = await running(world)
        said = (ReportedEvent("Normal", "Started", "x", 12, 15),)
        world.devices[NODE].report(pod_key("web"), uid, {"phase": "Running"}, events=said)
        await world.quiet()
        [event] = await world.kube.list(EVENTS)
        assert event["lastTimestamp"] > "2026"

    in_world(story)


def test_old_events_are_not_told_and_many_are_told_slowly() -> None:
    async def story(world: World) -> None:
        uid = await running(world)
        now = int(EPOCH + asyncio.get_running_loop().time())
        old = ReportedEvent("Normal", "Old", "x", now - 9000, now - 8000)
        device = world.devices[NODE]
        loop = asyncio.get_running_loop()
        began = loop.time()
        for burst in range(40):
            said = tuple(
                ReportedEvent("Normal", "Said", f"{burst}-{n}", now, now) for n in range(31)
            )
            status = {"phase": "Running", "message": str(burst)}
            device.report(pod_key("web"), uid, status, events=(old, *said))
            await world.quiet(1)
        found = await world.kube.list(EVENTS)
        assert BURST <= len(found) <= BURST + PER_SECOND * (loop.time() - began) + 1 < 40 * 31
        assert {event["reason"] for event in found} == {"Said"}
        await world.quiet(120)
        assert len(await world.kube.list(EVENTS)) > len(found)

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
