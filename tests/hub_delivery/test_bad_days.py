"""Restarts, lost and rolled-back broker stores, broken links, two hubs: only differences travel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cloudhub.kube.memory import MemoryKube
from cloudhub.kube.port import (
    CONFIG_MAPS,
    PODS,
    RUNTIME_CLASSES,
    SECRETS,
    Resource,
    WatchEvent,
)
from cloudhub.nodes.presence import Standing
from shared.errors import KubeError, KubeRefused
from shared.messages import Inventory, Report, Session
from shared.objects import NO_NAMESPACE, ObjectKey
from shared.topics import Topics, slot_of
from simulator.broker import Store
from simulator.broker_session import Publication
from tests.hub_delivery.test_delivery import env_from
from tests.hub_delivery.world import NODE, World, config_key, in_world, pod_key, topics_of

TOPICS = Topics().of(NODE)
RUNTIME_CLASS = ObjectKey("RuntimeClass", NO_NAMESPACE, "kata")


async def settled(world: World) -> None:
    """A hub, a device in step with a pod and its settings."""
    world.hub()
    world.device()
    await world.config("settings", {"a": "1"})
    await world.pod("web", containers=env_from("settings"))
    await world.quiet()


def of_node(sent: list) -> list:
    return [one for one in sent if not one.topic.endswith("/hub")]


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


def test_two_hubs_that_own_the_same_slots_agree() -> None:
    async def story(world: World) -> None:
        await settled(world)
        world.hub("hub-b")
        await world.quiet()
        for number in range(10):
            await world.pod(f"more-{number}")
            await world.quiet(0.03)
        await world.quiet(30)
        assert len(world.devices[NODE].applied.entries) == 12
        assert of_node(await world.quiet(60)) == []
        revisions = {
            Inventory.decode(one.payload).revision
            for topic, one in world.broker.retained.items()
            if topic == TOPICS.inventory
        }
        assert revisions == {world.devices[NODE].applied.revision}

    in_world(story)


def test_slots_move_to_another_replica_without_a_message_to_the_device() -> None:
    async def story(world: World) -> None:
        await settled(world)
        other = world.hub("hub-b", slots=range(0))
        await world.quiet()
        other.sync.own(range(256))
        world.hubs[0].sync.own(())
        assert of_node(await world.quiet(30)) == []
        await world.pod("after")
        sent = of_node(await world.quiet())
        assert topics_of(sent) == ["desired/Pod/default/after", "inventory", "change"]
        assert {one.source for one in sent} == {"kubetide-hub.hub-b"}

    in_world(story)


def test_slots_that_are_lost_and_come_back_at_once_are_read_again() -> None:
    """Who was told of the loss has forgotten what the nodes had said."""

    async def story(world: World) -> None:
        await settled(world)
        hub = world.hubs[0]
        hub.sync.own(())
        hub.listener.presence.forget(NODE)
        hub.sync.own(range(256))
        assert of_node(await world.quiet(30)) == []
        assert hub.listener.presence.standing(NODE) is Standing.ONLINE

    in_world(story)


def test_slots_that_flicker_while_they_are_read_are_read_again() -> None:
    async def story(world: World) -> None:
        await settled(world)
        other = world.hub("hub-b", slots=range(0))
        await world.quiet()
        other.sync.own(range(256))
        while other.listener.presence.standing(NODE) is not Standing.ONLINE:
            await world.quiet(0.001)
        other.sync.own(())
        other.listener.presence.forget(NODE)
        other.sync.own(range(256))
        await world.quiet(30)
        assert other.listener.presence.standing(NODE) is Standing.ONLINE

    in_world(story)


def test_the_hub_topic_says_online_while_any_replica_lives() -> None:
    async def story(world: World) -> None:
        from shared.messages import HubPresence

        def online() -> bool:
            kept = dict(world.broker.retained.items())
            return HubPresence.decode(kept["kubetide/v1/hub"].payload).online

        world.hub("hub-a")
        await world.quiet()
        other = world.hub("hub-b")
        await world.quiet()
        other.path.cut()
        await world.quiet()
        assert online()
        await other.stop()
        await world.quiet()
        assert online()
        await world.hubs[0].stop()
        await world.quiet()
        assert not online()

    in_world(story)


def test_a_secret_that_may_not_be_read_is_not_taken_from_the_device() -> None:
    """Not knowing an object is not its absence."""

    async def story(world: World) -> None:
        world.hub()
        device = world.device()
        await world.secret("password", {"p": "1"})
        names = [{"name": "c", "envFrom": [{"secretRef": {"name": "password"}}]}]
        await world.pod("web", containers=names)
        await world.quiet()
        secret = ObjectKey("Secret", "default", "password")
        assert secret in device.applied.entries

        def forbid(verb: str, resource: Resource, name: str) -> None:
            if verb == "get" and resource is SECRETS:
                raise KubeRefused("secrets is forbidden", status=403, reason="Forbidden")

        world.kube.fail = forbid
        await world.hubs[0].stop()
        world.hub("hub-b")
        await world.pod("second")
        await world.quiet(60)
        assert device.applied.entries.keys() == {pod_key("web"), pod_key("second"), secret}

    in_world(story)


def test_with_an_older_role_pods_go_without_their_runtime_class() -> None:
    """The device takes it for the handler of its name then; and nothing else waits for it."""

    async def story(world: World) -> None:
        def forbid(verb: str, resource: Resource, name: str) -> None:
            if resource == RUNTIME_CLASSES:
                raise KubeRefused("runtimeclasses is forbidden", status=403, reason="Forbidden")

        world.kube.fail = forbid
        world.hub()
        device = world.device()
        await world.quiet()
        await world.pod("web", runtimeClassName="runc")
        await world.quiet()
        assert device.applied.entries.keys() == {pod_key("web")}
        await world.pod("later")
        await world.quiet(0.2)
        assert device.applied.entries.keys() == {pod_key("web"), pod_key("later")}

    in_world(story)


@pytest.mark.parametrize("found", ["it", "none", "no right"])
def test_a_device_waits_for_a_runtime_class_that_is_not_known_yet(found: str) -> None:
    """Its handler may be another one than that of its name."""

    async def story(world: World) -> None:
        refusal: KubeError | KubeRefused | None = KubeError("the API server is slow")

        def refuse(verb: str, resource: Resource, name: str) -> None:
            if refusal is not None and (verb, resource) == ("get", RUNTIME_CLASSES):
                raise refusal

        world.kube.fail = refuse
        if found == "it":
            made = {"metadata": {"name": "kata"}, "handler": "kata-qemu"}
            await world.kube.create(RUNTIME_CLASSES, "", made)
        world.hub()
        device = world.device()
        await world.quiet()
        await world.pod("web", runtimeClassName="kata")
        await world.quiet(60)
        assert device.applied.entries.keys() == {pod_key("web"), RUNTIME_CLASS}
        assert device.missing == (RUNTIME_CLASS,), "listed, and nothing of it is there"
        revision = device.applied.revision
        await world.quiet(600)
        assert device.applied.revision == revision
        forbidden = KubeRefused("runtimeclasses is forbidden", status=403, reason="Forbidden")
        refusal = forbidden if found == "no right" else None
        sent = await world.quiet(60)
        assert "desired/Pod/default/web" not in topics_of(sent)
        assert not device.missing
        if found == "it":
            assert device.body(RUNTIME_CLASS)["handler"] == "kata-qemu"
        else:
            assert device.applied.entries.keys() == {pod_key("web")}

    in_world(story)


def test_a_runtime_class_that_a_device_has_stays_while_it_is_not_known() -> None:
    async def story(world: World) -> None:
        made = {"metadata": {"name": "kata"}, "handler": "kata-qemu"}
        await world.kube.create(RUNTIME_CLASSES, "", made)
        world.hub()
        device = world.device()
        await world.pod("web", runtimeClassName="kata")
        await world.quiet()
        before = device.applied.entries[RUNTIME_CLASS]
        refusal: KubeError | KubeRefused = KubeError("the API server is slow")

        def refuse(verb: str, resource: Resource, name: str) -> None:
            if (verb, resource) == ("get", RUNTIME_CLASSES):
                raise refusal

        world.kube.fail = refuse
        await world.hubs[0].stop()
        world.hub("hub-b")
        await world.pod("second")
        await world.quiet(60)
        assert pod_key("second") in device.applied.entries
        assert device.applied.entries[RUNTIME_CLASS] == before
        refusal = KubeRefused("runtimeclasses is forbidden", status=403, reason="Forbidden")
        await world.pod("third")
        await world.quiet(60)
        assert pod_key("third") in device.applied.entries
        assert device.applied.entries[RUNTIME_CLASS] == before

    in_world(story)


def test_an_api_server_that_comes_late_is_no_reason_to_empty_a_node() -> None:
    async def story(world: World) -> None:
        await settled(world)
        await world.hubs[0].stop()

        def away(verb: str, resource: Resource, name: str) -> None:
            raise KubeError("connection refused")

        world.kube.fail = away
        world.hub("hub-b", "edge-9")
        world.hubs[1].sync.manage(NODE)
        assert of_node(await world.quiet(120)) == []
        assert len(world.devices[NODE].applied.entries) == 2

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


class LaggingKube:
    """The API server as one sees it whose watches are late."""

    def __init__(self, kube: MemoryKube) -> None:
        self._kube = kube
        self.lag = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kube, name)

    async def watch(self, *args: Any, **options: Any) -> AsyncIterator[WatchEvent]:
        async for event in self._kube.watch(*args, **options):
            await asyncio.sleep(self.lag)
            yield event


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
