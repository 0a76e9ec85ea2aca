"""Events are written once and counted up, in their order, and hold up no status."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from cloudhub.events.events import BURST, LONGEST_WAIT, PER_SECOND, QUIET_SECONDS, Events
from cloudhub.kube.port import EVENTS, Resource
from shared.errors import KubeError
from shared.messages import ReportedEvent
from shared.tasks import stop
from simulator.clock import EPOCH
from tests.hub_delivery.world import NODE, World, in_world, pod_key
from tests.hub_reporting.reported import (
    RUNNING,
    pod_of,
    running,
)


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
