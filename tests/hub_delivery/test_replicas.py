"""Two hubs and moving slots: no message to a device, and the broker is read again."""

from __future__ import annotations

from cloudhub.nodes.presence import Standing
from shared.messages import Inventory
from tests.hub_delivery.in_step import TOPICS, of_node, settled
from tests.hub_delivery.world import NODE, World, in_world, topics_of


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
        assert all(one.source.startswith("kubetide-hub.hub-b.") for one in sent)

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


def test_the_client_id_of_a_hub_is_not_told_by_its_name() -> None:
    """All devices can read the name; who connects with the same id throws the hub out."""

    async def story(world: World) -> None:
        def ids() -> set[str]:
            return {name for name in world.broker.sessions if name.startswith("kubetide-hub.")}

        world.hub()
        await world.quiet()
        first = ids()
        await world.hubs[0].stop()
        world.hub()
        await world.quiet()
        assert len(first) == len(ids()) == 1
        assert first != ids()

    in_world(story)
