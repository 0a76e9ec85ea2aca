"""Mirror pods follow what devices say they run by themselves, and nothing else."""

from __future__ import annotations

from typing import Any

from cloudhub.kube.port import EVENTS, PODS, Resource
from shared.errors import KubeRefused
from shared.messages import ReportedEvent
from shared.objects import Json, ObjectKey
from shared.static_pods import list_key
from shared.topics import SLOTS
from tests.hub_delivery.world import NODE, World, in_world
from tests.hub_mirrors.test_rules import UID, body

NAME = f"web-{NODE}"
OTHER = "f" * 32
RUNNING = {
    "phase": "Running",
    "startTime": "2026-01-01T00:00:00Z",
    "podIP": "10.0.0.9",
    "conditions": [{"type": "Ready", "status": "True"}],
}


def say(world: World, *bodies: Json) -> None:
    world.devices[NODE].report(list_key(NODE), NODE, {"pods": list(bodies)})


def report(world: World, status: Json = RUNNING, *, uid: str = UID, **more: Any) -> None:
    world.devices[NODE].report(ObjectKey("StaticPod", "default", NAME), uid, status, **more)


async def mirror(world: World) -> Json | None:
    return await world.kube.get(PODS, "default", NAME)


async def there(world: World) -> Json:
    found = await mirror(world)
    assert found is not None
    return found


async def begin(world: World) -> None:
    world.hub()
    world.device()
    await world.quiet()
    say(world, body())
    report(world)
    await world.quiet(0.5)


def test_a_static_pod_appears_in_the_api_with_its_status() -> None:
    async def story(world: World) -> None:
        await begin(world)
        made = await there(world)
        assert made["metadata"]["annotations"]["kubernetes.io/config.mirror"] == UID
        assert made["metadata"]["ownerReferences"][0]["uid"] == f"uid-of-{NODE}"
        assert made["status"]["phase"] == "Running"
        conditions = {one["type"]: one["status"] for one in made["status"]["conditions"]}
        assert conditions == {"Ready": "True", "PodScheduled": "True"}

    in_world(story)


def test_the_order_of_list_and_report_does_not_matter() -> None:
    async def story(world: World) -> None:
        world.hub()
        world.device()
        await world.quiet()
        report(world)
        await world.quiet()
        say(world, body())
        await world.quiet(0.5)
        assert (await there(world))["status"]["phase"] == "Running"

    in_world(story)


def test_it_is_never_sent_to_the_device_as_a_second_pod() -> None:
    async def story(world: World) -> None:
        await begin(world)
        sent = await world.quiet(60)
        assert not sent
        assert not [key for key in world.devices[NODE].applied.entries if key.kind == "Pod"]

    in_world(story)


def test_a_quiet_device_causes_no_writes() -> None:
    async def story(world: World) -> None:
        await begin(world)
        before = len(world.kube.requests)
        say(world, body())
        report(world)
        await world.quiet(60)
        assert len(world.kube.requests) == before

    in_world(story)


def test_a_mirror_that_somebody_deletes_comes_back_with_its_status() -> None:
    async def story(world: World) -> None:
        await begin(world)
        first = (await there(world))["metadata"]["uid"]
        for grace in (30, 0):
            await world.kube.delete(PODS, "default", NAME, uid=first, grace=grace)
            await world.quiet(0.5)
            made = await there(world)
            assert made["metadata"]["uid"] != first
            assert "deletionTimestamp" not in made["metadata"]
            assert made["status"]["phase"] == "Running"
            first = made["metadata"]["uid"]

    in_world(story)


def test_another_version_of_the_pod_replaces_the_mirror() -> None:
    async def story(world: World) -> None:
        await begin(world)
        first = (await there(world))["metadata"]["uid"]
        say(world, body(uid=OTHER))
        await world.quiet(0.5)
        made = await there(world)
        assert made["metadata"]["uid"] != first
        assert made["metadata"]["annotations"]["kubernetes.io/config.mirror"] == OTHER
        assert made["status"]["phase"] == "Pending", "the old pod's report says nothing of it"
        report(world, uid=OTHER)
        await world.quiet(0.5)
        assert (await there(world))["status"]["phase"] == "Running"

    in_world(story)


def test_a_pod_that_is_gone_from_the_list_is_gone_from_api_and_broker() -> None:
    async def story(world: World) -> None:
        await begin(world)
        say(world)
        await world.quiet(0.5)
        assert await mirror(world) is None
        retained = [
            topic for topic, _ in world.broker.retained.items() if "/reported/StaticPod/" in topic
        ]
        assert not retained

    in_world(story)


def test_without_a_list_no_mirror_is_touched() -> None:
    async def story(world: World) -> None:
        await begin(world)
        await world.hubs[0].stop()
        topic = world.devices[NODE].topics.reported(list_key(NODE))
        world.broker.retained.drop(topic)
        world.hub("hub-b")
        await world.quiet(60)
        assert await mirror(world) is not None

    in_world(story)


def test_a_list_that_may_not_be_believed_changes_nothing() -> None:
    async def story(world: World) -> None:
        await begin(world)
        before = await there(world)
        say(world, body(serviceAccountName="robot"))
        await world.quiet(0.5)
        world.devices[NODE].report(list_key("edge-2"), "edge-2", {"pods": []})
        await world.quiet(0.5)
        assert await mirror(world) == before

    in_world(story)


def test_a_restarted_hub_finds_everything_as_it_should_be() -> None:
    async def story(world: World) -> None:
        await begin(world)
        before = await there(world)
        await world.hubs[0].stop()
        world.hub("hub-b")
        await world.quiet(60)
        assert await mirror(world) == before

    in_world(story)


def test_what_happened_while_no_hub_was_there_is_made_true() -> None:
    async def story(world: World) -> None:
        await begin(world)
        await world.hubs[0].stop()
        say(world)
        await world.quiet()
        world.hub("hub-b")
        await world.quiet(10)
        assert await mirror(world) is None

    in_world(story)


def test_only_the_owner_of_the_slot_acts() -> None:
    async def story(world: World) -> None:
        world.hub("hub-b", slots=range(0))
        await begin(world)
        assert len([one for one in world.kube.requests if one[0] == "create"]) == 1
        world.hubs[0].sync.own(range(SLOTS))
        world.hubs[1].sync.own(())
        await world.quiet()
        say(world)
        await world.quiet(0.5)
        assert await mirror(world) is None

    in_world(story)


def test_a_pod_that_was_there_before_keeps_its_name_and_the_node_says_so() -> None:
    async def story(world: World) -> None:
        await world.pod(NAME, "elsewhere")
        await begin(world)
        await world.quiet(1)
        assert "annotations" not in (await there(world))["metadata"]
        (event,) = await world.kube.list(EVENTS)
        assert event["involvedObject"]["name"] == NODE
        assert "another pod has that name" in event["message"]
        uid = (await there(world))["metadata"]["uid"]
        await world.kube.delete(PODS, "default", NAME, uid=uid, grace=0)
        await world.quiet(90)
        assert (await there(world))["metadata"]["annotations"]

    in_world(story)


def test_a_server_that_refuses_is_asked_again_later() -> None:
    async def story(world: World) -> None:
        refusing = True

        def fail(verb: str, resource: Resource, name: str) -> None:
            if refusing and (verb, resource) == ("create", PODS):
                raise KubeRefused("exceeded quota", status=403)

        world.kube.fail = fail
        await begin(world)
        await world.quiet(600)
        assert await mirror(world) is None
        refusing = False
        await world.quiet(90)
        assert (await there(world))["status"]["phase"] == "Running"
        (event,) = await world.kube.list(EVENTS)
        assert "exceeded quota" in event["message"]
        assert event.get("count", 1) == 1, "it is said once, however often it is tried"

    in_world(story)


def test_its_events_are_those_that_kubectl_describe_looks_for() -> None:
    async def story(world: World) -> None:
        world.hub()
        world.device()
        await world.quiet()
        now = int(world.clock.now())
        report(world, events=(ReportedEvent("Normal", "Started", "Started it", now, now),))
        await world.quiet()
        say(world, body())
        await world.quiet(2)
        (event,) = await world.kube.list(EVENTS)
        assert event["involvedObject"]["uid"] == UID, "describe asks for the hash of a mirror pod"
        assert event["reason"] == "Started"

    in_world(story)


def test_a_foreign_mirror_on_the_node_is_an_orphan_and_goes() -> None:
    """As on a kubelet: who makes a mirror pod by hand does not make a static pod."""

    async def story(world: World) -> None:
        world.hub()
        world.device()
        await world.quiet()
        fake: Json = {
            "metadata": {"name": "fake", "annotations": {"kubernetes.io/config.mirror": "x"}},
            "spec": {"nodeName": NODE, "containers": []},
        }
        await world.kube.create(PODS, "default", fake)
        await world.quiet()
        assert await world.kube.get(PODS, "default", "fake") is not None, "no list, no evidence"
        say(world)
        await world.quiet(0.5)
        assert await world.kube.get(PODS, "default", "fake") is None

    in_world(story)


def test_a_report_that_comes_before_its_list_is_kept_though_an_older_list_lacks_it() -> None:
    async def story(world: World) -> None:
        world.hub()
        world.device()
        await world.quiet()
        say(world)
        await world.quiet()
        report(world)
        await world.quiet()
        say(world, body())
        await world.quiet(0.5)
        assert (await there(world))["status"]["phase"] == "Running"

    in_world(story)
