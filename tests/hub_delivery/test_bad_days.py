"""Restarts, lost and rolled-back broker stores, broken links: only differences travel."""

from __future__ import annotations

import asyncio

import pytest

from cloudhub.kube.port import (
    CONFIG_MAPS,
    PODS,
)
from cloudhub.nodes.presence import Standing
from shared.messages import Inventory, Report, Session
from shared.topics import slot_of
from simulator.broker import Store
from simulator.broker_session import Publication
from tests.hub_delivery.in_step import TOPICS, LaggingKube, of_node, settled
from tests.hub_delivery.world import NODE, World, config_key, in_world, pod_key, topics_of


def test_a_hub_restart_sends_nothing_to_who_is_in_step() -> None:
    async def story(world: World) -> None:
        await settled(world)
        revision = world.devices[NODE].applied.revision
        await world.hubs[0].stop()
        world.hub("hub-b")
        assert of_node(await world.quiet(60)) == []
        assert world.devices[NODE].applied.revision == revision

    in_world(story)


def test_what_changed_while_no_hub_was_there_is_all_that_is_sent() -> None:
    async def story(world: World) -> None:
        await settled(world)
        await world.hubs[0].stop()
        await world.pod("later")
        world.hub("hub-b")
        sent = of_node(await world.quiet())
        assert topics_of(sent) == ["desired/Pod/default/later", "inventory", "change"]
        assert pod_key("later") in world.devices[NODE].applied.entries

    in_world(story)


@pytest.mark.parametrize("store", list(Store))
def test_a_broker_that_lost_its_store_is_given_everything_again(store: Store) -> None:
    async def story(world: World) -> None:
        await settled(world)
        world.broker.take_snapshot()
        await world.pod("second")
        await world.quiet()
        before = world.devices[NODE].applied
        world.broker.crash()
        await world.quiet(1)
        world.broker.start(store)
        await world.quiet(90)
        after = world.devices[NODE].applied
        assert after.entries == before.entries
        kept = dict(world.broker.retained.items())
        assert Inventory.decode(kept[TOPICS.inventory].payload) == after
        for key in after.entries:
            assert TOPICS.desired(key) in kept
        assert of_node(await world.quiet(120)) == []

    in_world(story)


def test_a_device_in_step_gets_one_small_message_when_the_store_was_lost() -> None:
    async def story(world: World) -> None:
        await settled(world)
        device = world.devices[NODE]
        world.broker.crash()
        await world.quiet(1)
        device.received.clear()
        world.broker.start(Store.WIPED)
        await world.quiet(90)
        assert {message.topic for message in device.received} == {TOPICS.change}
        assert sum(len(message.payload) for message in device.received) < 200

    in_world(story)


def test_a_broken_link_in_the_middle_of_a_burst_ends_converged() -> None:
    async def story(world: World) -> None:
        await settled(world)
        for number in range(20):
            await world.pod(f"burst-{number}")
            await world.quiet(0.013)
            if number % 5 == 0:
                world.hubs[0].path.cut()
        await world.quiet(60)
        assert len(world.devices[NODE].applied.entries) == 22
        assert not world.devices[NODE].missing
        assert of_node(await world.quiet(60)) == []

    in_world(story)


def test_a_body_that_the_broker_lost_is_published_when_the_device_misses_it() -> None:
    async def story(world: World) -> None:
        await settled(world)
        world.broker.retained.drop(TOPICS.desired(config_key("settings")))
        late = world.device(instance="i2")
        await world.quiet(20)
        assert late.applied.entries.keys() == {pod_key("web"), config_key("settings")}
        assert not late.missing

    in_world(story)


def test_the_clears_of_a_hub_that_died_too_early_are_done_by_the_next() -> None:
    async def story(world: World) -> None:
        await settled(world)
        pod = await world.pod("short")
        await world.quiet()
        body = dict(world.broker.retained.items())[TOPICS.desired(pod_key("short"))]
        await world.kube.delete(PODS, "default", "short", uid=pod["metadata"]["uid"], grace=0)
        await world.quiet()
        world.broker.publish(body, retain=True)
        await world.hubs[0].stop()
        world.hub("hub-b")
        await world.quiet()
        assert TOPICS.desired(pod_key("short")) not in dict(world.broker.retained.items())

    in_world(story)


def test_an_inventory_without_its_change_is_followed_by_a_head() -> None:
    """A hub that died between the two left a device that does not know of the newer list."""

    async def story(world: World) -> None:
        await settled(world)
        kept = dict(world.broker.retained.items())
        old_change = kept[TOPICS.change]
        await world.pod("second")
        await world.hubs[0].stop()
        world.hub("hub-b")
        await world.quiet()
        assert pod_key("second") in world.devices[NODE].applied.entries
        await world.hubs[1].stop()
        world.broker.publish(old_change, retain=True)
        world.hub("hub-c")
        sent = of_node(await world.quiet())
        assert topics_of(sent) == ["change"]
        assert len(sent[0].payload) < 100

    in_world(story)


def test_a_device_that_is_ahead_of_the_broker_gets_a_newer_list() -> None:
    async def story(world: World) -> None:
        await settled(world)
        device = world.devices[NODE]
        ahead = device.applied.revision + 5_000
        device.applied = Inventory(ahead, {})
        birth = Session(True, device.instance, device.counter, revision=ahead, digest=b"x" * 16)
        assert device._connection is not None
        device._connection.publish(TOPICS.session, birth.encode(), retain=True)
        await world.quiet()
        assert device.applied.revision > ahead
        assert device.applied.entries.keys() == {pod_key("web"), config_key("settings")}

    in_world(story)


def test_who_asks_whether_an_agent_lives_is_not_taken_for_its_death() -> None:
    async def story(world: World) -> None:
        await settled(world)
        device = world.devices[NODE]
        for instance, boot in (("other", "b9"), (device.instance, "b9")):
            asks = Session(False, instance, device.counter, boot=boot, question=7)
            world.broker.publish(Publication(TOPICS.session, asks.encode(), "other"), retain=False)
            assert await world.quiet() == [], "and nothing has to be put back"
        presence = world.hubs[0].listener.presence
        assert presence.standing(NODE) is Standing.ONLINE

    in_world(story)


def test_a_slow_start_is_no_reason_to_send_what_is_there() -> None:
    """What the broker retains takes many seconds to arrive: it is waited for."""

    async def story(world: World) -> None:
        names = (f"slow-{number}" for number in range(10_000))
        nodes = [name for name in names if slot_of(name) == 7][:20]
        world.hub("hub-a", *nodes)
        await world.quiet()
        for node in nodes:
            for name in ("a", "b", "c"):
                await world.pod(f"{name}-{node}", node)
        await world.quiet()
        await world.hubs[0].stop()
        world.hub("hub-b", *nodes, bandwidth=2000)
        assert of_node(await world.quiet(120)) == []

    in_world(story)


def test_objects_that_changed_while_a_watch_was_broken_are_fetched() -> None:
    async def story(world: World) -> None:
        await settled(world)
        device = world.devices[NODE]
        before = device.applied.entries[config_key("settings")]
        await world.kube.patch(CONFIG_MAPS, "default", "settings", {"data": {"a": "2"}})
        world.kube.break_watches()
        await world.quiet()
        assert device.applied.entries[config_key("settings")] != before

    in_world(story)


def test_a_hub_whose_watch_lags_does_not_clear_the_report_of_a_pod_it_does_not_know() -> None:
    async def story(world: World) -> None:
        await settled(world)
        lagging = LaggingKube(world.kube)
        world.hub("hub-b", kube=lagging)
        await world.quiet()
        lagging.lag = 30.0
        pod = await world.pod("new")
        await world.quiet(1)
        device = world.devices[NODE]
        assert pod_key("new") in device.applied.entries
        await world.hubs[0].stop()
        device.report(pod_key("new"), pod["metadata"]["uid"], {"phase": "Running"})
        await world.quiet(10)
        assert TOPICS.reported(pod_key("new")) in dict(world.broker.retained.items())
        await world.quiet(60)
        found = await world.kube.get(PODS, "default", "new")
        assert found is not None and found["status"]["phase"] == "Running"

    in_world(story)


def test_a_report_that_crosses_an_older_one_which_the_hub_puts_back_lies_above_it() -> None:
    async def story(world: World) -> None:
        await settled(world)
        hub, device, key = world.hubs[0], world.devices[NODE], pod_key("web")
        uid = (await world.kube.get(PODS, "default", "web"))["metadata"]["uid"]  # type: ignore[index]
        device.report(key, uid, {"phase": "Running"})
        await world.quiet()
        hub.path.latency = (3.0, 3.0)
        clearing = asyncio.create_task(hub.sync._uplink.clear_report(NODE, key))
        await asyncio.sleep(4.5)
        device.report(key, uid, {"phase": "Succeeded"})
        await world.quiet(20)
        await clearing
        retained = world.broker.retained.get(TOPICS.reported(key))
        assert retained is not None
        assert Report.decode(retained.payload).status == {"phase": "Succeeded"}
        assert not await world.quiet(100)

    in_world(story)
