"""A broker that went back to an older store, and a hub that never knew what came since."""

from __future__ import annotations

import pytest

from shared.messages import Report, Session
from shared.objects import NO_NAMESPACE, ObjectKey
from shared.topics import Topics
from simulator.broker_session import Publication
from tests.hub_delivery.world import NODE, World, in_world, pod_key

KEY = ObjectKey("Node", NO_NAMESPACE, NODE)
TOPICS = Topics().of(NODE)


def birth(reported: int, about: ObjectKey = KEY, counter: int = 1) -> Session:
    return Session(True, "i1", counter, boot="b", reported=reported, about=about.mark)


def retains(world: World, topic: str, payload: bytes) -> None:
    world.broker.publish(Publication(topic, payload, f"{NODE}.i1"), retain=True)


def report(world: World, sequence: int) -> None:
    payload = Report(KEY, "", sequence, 0, {}).encode()
    retains(world, TOPICS.reported(KEY), payload)


async def asked(world: World) -> int:
    """How often the hub has cleared the session within half a minute."""
    sent = await world.quiet(30)
    return sum(one.topic == TOPICS.session and not one.payload for one in sent)


@pytest.mark.parametrize("live", [True, False])
def test_reports_that_the_broker_lost_are_asked_for_once(live: bool) -> None:
    async def story(world: World) -> None:
        report(world, 5)
        if live:
            world.hub()
            await world.quiet()
        retains(world, TOPICS.session, birth(7).encode())
        if not live:
            world.hub()
        assert await asked(world) == 1
        retains(world, TOPICS.session, birth(7).encode())
        assert await asked(world) == 0
        retains(world, TOPICS.session, birth(7, counter=2).encode())
        assert await asked(world) == 1, "at the next connection it is still so"

    in_world(story)


def test_nothing_is_asked_for_when_all_is_there() -> None:
    async def story(world: World) -> None:
        report(world, 5)
        world.hub()
        await world.quiet()
        retains(world, TOPICS.session, birth(5).encode())
        report(world, 6)
        assert await asked(world) == 0
        retains(world, TOPICS.session, birth(5, counter=2).encode())
        assert await asked(world) == 0, "a newer one of its object is there"

    in_world(story)


def test_a_newer_report_of_another_object_proves_nothing() -> None:
    async def story(world: World) -> None:
        world.hub()
        await world.quiet()
        retains(world, TOPICS.session, birth(5, pod_key("web")).encode())
        report(world, 6)
        assert await asked(world) == 1

    in_world(story)
