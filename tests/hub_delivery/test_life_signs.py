"""A birth that the broker retains without its Will: whether the agent still lives is asked."""

from __future__ import annotations

import asyncio

from cloudhub.broker.lifesigns import ANSWER_SECONDS, ASKS, PATIENCE
from cloudhub.nodes.presence import Standing
from shared.messages import Session
from shared.topics import Topics
from simulator.broker_session import Publication
from tests.hub_delivery.world import NODE, Hub, World, in_world

TOPIC = Topics().of(NODE).session
BIRTH = Session(True, "i1", 7, boot="b")
LONG = PATIENCE[1] + (ASKS + 1) * ANSWER_SECONDS


def retains(world: World, session: Session = BIRTH) -> None:
    world.broker.publish(Publication(TOPIC, session.encode(), f"{NODE}.i1"), retain=True)


def questions(sent: list[Publication]) -> list[Session]:
    return [one for one in said(sent) if one.asks]


def said(sent: list[Publication]) -> list[Session]:
    return [Session.decode(one.payload) for one in sent if one.topic == TOPIC]


def standing(hub: Hub) -> Standing:
    return hub.listener.presence.standing(NODE)


def test_who_does_not_answer_gets_the_death_that_the_broker_forgot() -> None:
    async def story(world: World) -> None:
        retains(world)
        hub = world.hub()
        await world.quiet(PATIENCE[0])
        assert standing(hub) is Standing.ONLINE
        sent = await world.everything(LONG)
        *asked, death = said(sent)
        assert [one.from_hub for one in asked] == [True] * ASKS
        assert not death.online and death.same_connection(BIRTH)
        assert standing(hub) is Standing.OFFLINE
        assert not (await world.everything(1000))

    in_world(story)


def test_who_answers_is_not_asked_again_before_the_next_connection_of_the_hub() -> None:
    async def story(world: World) -> None:
        world.device()
        await asyncio.sleep(1)
        hub = world.hub()
        assert len(questions(await world.everything(LONG))) == 1
        assert not questions(await world.everything(1000))
        assert standing(hub) is Standing.ONLINE
        hub.path.cut()
        assert len(questions(await world.everything(LONG))) == 1
        assert standing(hub) is Standing.ONLINE

    in_world(story)


def test_who_is_born_while_the_hub_listens_is_not_asked_after() -> None:
    async def story(world: World) -> None:
        hub = world.hub()
        await world.quiet()
        world.device()
        assert not questions(await world.everything(LONG))
        world.paths[NODE].cut()
        assert not questions(await world.everything(LONG))
        assert standing(hub) is Standing.ONLINE

    in_world(story)


def test_who_comes_back_before_it_is_asked_is_not_asked_after() -> None:
    async def story(world: World) -> None:
        retains(world)
        hub = world.hub()
        await world.quiet(PATIENCE[0] - 5)
        world.device()
        assert not questions(await world.everything(LONG))
        assert standing(hub) is Standing.ONLINE

    in_world(story)


def test_a_birth_that_somebody_puts_back_is_no_sign_of_life() -> None:
    async def story(world: World) -> None:
        retains(world)
        hub = world.hub()
        await world.quiet(PATIENCE[0] - 5)
        retains(world)
        await world.everything(LONG)
        assert standing(hub) is Standing.OFFLINE

    in_world(story)


def test_who_answers_late_after_all_is_there_again_at_once() -> None:
    async def story(world: World) -> None:
        retains(world)
        hub = world.hub()
        await world.everything(LONG)
        assert standing(hub) is Standing.OFFLINE
        retains(world)
        await world.quiet(1)
        assert standing(hub) is Standing.ONLINE

    in_world(story)


def test_slots_that_went_to_another_replica_are_not_ours_to_ask_about() -> None:
    async def story(world: World) -> None:
        retains(world)
        hub = world.hub()
        await world.quiet(30)
        hub.sync.own(())
        assert not questions(await world.everything(LONG))

    in_world(story)
