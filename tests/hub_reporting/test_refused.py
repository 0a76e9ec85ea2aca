"""What becomes at the broker of a report that the hub refuses for good."""

from __future__ import annotations

from shared.messages import Report
from simulator.broker_session import Publication
from tests.hub_delivery.world import World, in_world, pod_key
from tests.hub_reporting.reported import RUNNING, TOPICS, running

WEB = TOPICS.reported(pod_key("web"))


def foreign() -> bytes:
    """About another object than its topic says."""
    return Report(pod_key("other"), "u", 99, 0, RUNNING).encode()


def retained(world: World, topic: str) -> bytes:
    return next((one.payload for name, one in world.broker.retained.items() if name == topic), b"")


def test_in_the_place_of_one_that_was_taken_that_one_stands_again() -> None:
    async def story(world: World) -> None:
        await running(world)
        taken = retained(world, WEB)
        assert taken
        world.broker.publish(Publication(WEB, foreign(), "stranger"), retain=True)
        await world.quiet()
        assert retained(world, WEB) == taken

    in_world(story)


def test_a_topic_of_nobody_that_was_cleared_is_not_cleared_again() -> None:
    """Two hubs that serve a slot for a while would answer each other."""

    async def story(world: World) -> None:
        await running(world)
        topic = f"{TOPICS.base}/reported/Pod/UPPER/x"
        world.broker.publish(Publication(topic, b"", "hub-b"), retain=True)
        assert not [one for one in await world.quiet() if one.topic == topic]

    in_world(story)


def test_where_nothing_was_taken_nothing_stays() -> None:
    async def story(world: World) -> None:
        await running(world)
        topic = TOPICS.reported(pod_key("strange"))
        world.broker.publish(Publication(topic, foreign(), "stranger"), retain=True)
        await world.quiet()
        assert not retained(world, topic)

    in_world(story)
