"""Objects over the broker's packet limit, and bytes that are no messages."""

from __future__ import annotations

import json
import random

import pytest

from cloudhub.kube.port import EVENTS, PODS
from cloudhub.refusing import BURST, PER_SECOND
from shared import codec
from shared.messages import Inventory, Report
from shared.objects import NO_NAMESPACE, Json, ObjectKey
from shared.topics import Topics
from simulator.broker_session import Publication, Traits
from tests.hub_delivery.test_delivery import env_from
from tests.hub_delivery.world import NODE, World, config_key, in_world, pod_key

TOPICS = Topics().of(NODE)
NOISE = random.Random(4)


def noise(size: int) -> str:
    return "".join(NOISE.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(size))


def test_an_object_over_the_packet_limit_is_left_out_and_said() -> None:
    async def story(world: World) -> None:
        world.hub()
        device = world.device()
        await world.config("big", {"a": noise(30_000)})
        await world.pod("web", containers=env_from("big"))
        await world.pod("other")
        await world.quiet()
        assert device.applied.entries.keys() == {pod_key("web"), pod_key("other")}
        [event] = await world.kube.list(EVENTS)
        assert event["involvedObject"]["name"] == "web"
        assert (event["type"], event["reason"]) == ("Warning", "TooLargeForBroker")
        assert "ConfigMap/default/big" in event["message"]
        await world.pod("third")
        await world.quiet()
        assert pod_key("third") in device.applied.entries

    in_world(story, traits=Traits(max_packet_size=8000))


def test_the_older_body_stays_in_force_when_the_new_one_is_too_large() -> None:
    async def story(world: World) -> None:
        world.hub()
        device = world.device()
        await world.config("grows", {"a": "small"})
        await world.pod("web", containers=env_from("grows"))
        await world.quiet()
        before = device.applied.entries[config_key("grows")]
        await grow(world, noise(30_000))
        await world.quiet(30)
        assert device.applied.entries[config_key("grows")] == before
        await world.hubs[0].stop()
        world.hub("hub-b")
        await world.quiet(30)
        assert device.applied.entries[config_key("grows")] == before
        await grow(world, "small again")
        await world.quiet()
        assert device.applied.entries[config_key("grows")] != before
        assert not device.missing

    async def grow(world: World, value: str) -> None:
        from cloudhub.kube.port import CONFIG_MAPS

        await world.kube.patch(CONFIG_MAPS, "default", "grows", {"data": {"a": value}})

    in_world(story, traits=Traits(max_packet_size=8000))


@pytest.mark.parametrize(
    "odd",
    [{"args": [""] * 300_000}, {"args": json.loads("[" * 98 + "]" * 98)}],
    ids=["many", "deep"],
)
def test_a_pod_that_its_device_would_not_take_is_left_out_and_said(odd: Json) -> None:
    """Sent, it would be missing there for ever, and be sent again and again."""

    async def story(world: World) -> None:
        world.hub()
        device = world.device()
        await world.pod("odd", containers=[{"name": "c", **odd}])
        await world.pod("other")
        await world.quiet()
        assert device.applied.entries.keys() == {pod_key("other")}
        [event] = await world.kube.list(EVENTS)
        assert (event["involvedObject"]["name"], event["reason"]) == ("odd", "NotSendable")

    in_world(story)


GARBAGE = [
    b"\x00",
    b"\x01garbage",
    codec.encode({"r": 1})[:-2],
    codec.encode({}),
    codec.encode({"r": 2**60, "e": [], "d": b""}),
    b"\x02" + codec.encode({})[1:],
    Inventory(2**52, {}).encode(),
]


@pytest.mark.parametrize("branch", ["session", "inventory", "change", "reported/Pod/default/web"])
@pytest.mark.parametrize("payload", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_on_any_topic_is_counted_and_otherwise_nothing(branch: str, payload: bytes) -> None:
    async def story(world: World) -> None:
        world.broker.publish(Publication(f"{TOPICS.base}/{branch}", payload, "x"), retain=True)
        hub = world.hub()
        device = world.device()
        await world.pod("web")
        await world.quiet(30)
        world.broker.publish(Publication(f"{TOPICS.base}/{branch}", payload, "x"), retain=False)
        await world.pod("second")
        await world.quiet(30)
        assert device.applied.entries.keys() == {pod_key("web"), pod_key("second")}
        assert b"rejected_messages_total{reason=" in hub.metrics.text()

    in_world(story)


def test_a_message_that_nobody_foresaw_ends_no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be retained, and wait for the next one."""

    async def story(world: World) -> None:
        hub = world.hub()
        device = world.device()
        await world.quiet()

        def odd(node: str, report: object) -> None:
            raise RecursionError("while getting the repr of an object")

        monkeypatch.setattr(hub.listener, "reported", odd)
        key = ObjectKey("Node", NO_NAMESPACE, NODE)
        payload = Report(key, "", 1, 0, {"conditions": []}).encode()
        world.broker.publish(Publication(TOPICS.reported(key), payload, "x"), retain=True)
        await world.pod("web")
        await world.quiet()
        assert pod_key("web") in device.applied.entries
        assert b'reason="RecursionError"' in hub.metrics.text()

    in_world(story)


def test_a_pod_that_may_take_for_ever_to_stop_stops_nobody_elses_changes() -> None:
    async def story(world: World) -> None:
        world.hub()
        device = world.device()
        pod = await world.pod("slow", terminationGracePeriodSeconds=2**63 - 1)
        await world.quiet()
        uid = pod["metadata"]["uid"]
        await world.kube.delete(PODS, "default", "slow", uid=uid, grace=3_000_000_000)
        await world.pod("other")
        await world.quiet()
        assert pod_key("other") in device.applied.entries

    in_world(story)


def test_a_topic_that_is_nobodys_is_counted() -> None:
    async def story(world: World) -> None:
        hub = world.hub()
        await world.quiet()
        topic = TOPICS.base.replace(NODE, "no-such-slot") + "/session"
        world.broker.publish(Publication(topic, b"x", "x"), retain=False)
        await world.quiet()
        assert b'reason="bad-topic"' in hub.metrics.text()

    in_world(story)


def retained(world: World, topic: str) -> bool:
    return topic in dict(world.broker.retained.items())


def test_what_no_hub_can_ever_take_does_not_stay_at_the_broker() -> None:
    """A device could fill it with so many that each reading of its slot overflows."""

    async def story(world: World) -> None:
        reports = f"{TOPICS.base}/reported"
        about_another = Report(ObjectKey("Node", NO_NAMESPACE, "edge-2"), "", 1, 0, {}).encode()
        newer = b"\x02" + about_another[1:]
        cleared = {f"{reports}/Pod/default/NO": b"x", f"{reports}/Node/-/edge-2": about_another}
        stays = {
            f"{reports}/Volume/default/a": Report(
                ObjectKey("Volume", "default", "a"), "", 1, 0, {}
            ).encode(),
            f"{reports}/Pod/default/newer": newer,
            f"{TOPICS.base}/session/other": b"x",
        }
        for topic, payload in (cleared | stays).items():
            world.broker.publish(Publication(topic, payload, "x"), retain=True)
        world.hub()
        await world.quiet()
        assert [topic for topic in cleared if retained(world, topic)] == []
        assert [topic for topic in stays if not retained(world, topic)] == []

    in_world(story)


def test_what_is_over_a_nodes_share_is_cleared_a_little_at_a_time() -> None:
    async def story(world: World) -> None:
        world.hub()
        world.device()
        await world.quiet()
        sent = 3 * int(BURST)
        for number in range(sent):
            topic = f"{TOPICS.base}/reported/Pod/default/NO{number}"
            world.broker.publish(Publication(topic, b"x", "x"), retain=True)
        await world.quiet(1)
        left = [topic for topic, _ in world.broker.retained.items() if "/NO" in topic]
        assert sent - BURST - 2 * PER_SECOND <= len(left) <= sent - BURST

    in_world(story)
