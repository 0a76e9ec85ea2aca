"""What the ``Link`` port promises, on the broker model and on mosquitto alike."""

from __future__ import annotations

import asyncio

import pytest

from shared.errors import LinkError
from shared.link import Will
from tests.link_contract.conftest import Client, World


async def pair(world: World) -> tuple[Client, Client]:
    sender, receiver = await world.client("sender"), await world.client("receiver")
    await sender.connect()
    await receiver.connect()
    return sender, receiver


async def test_a_message_reaches_who_subscribed(world: World) -> None:
    sender, receiver = await pair(world)
    await receiver.subscribe("a/+/c")
    await sender.publish("a/b/c", "hello")
    message = await receiver.next()
    assert (message.topic, message.payload, message.retained) == ("a/b/c", b"hello", False)


async def test_messages_of_a_topic_keep_their_order(world: World) -> None:
    sender, receiver = await pair(world)
    await receiver.subscribe("a/#")
    for number in range(60):
        sender.connection.publish("a/b", str(number).encode())
    got = [(await receiver.next()).payload for _ in range(60)]
    assert got == [str(number).encode() for number in range(60)]


async def test_every_message_has_its_topic_however_many_topics_there_are(world: World) -> None:
    """More than a broker takes aliases for (mosquitto: 10), again and again in another order."""
    sender, receiver = await pair(world)
    await receiver.subscribe("a/#")
    sent = [f"a/{number % modulus}" for modulus in (3, 25, 12, 2) for number in range(25)]
    for topic in sent:
        sender.connection.publish(topic, topic.encode())
    got = [await receiver.next() for _ in sent]
    assert [(one.topic, one.payload.decode()) for one in got] == [(one, one) for one in sent]


async def test_a_retained_message_comes_with_the_subscription(world: World) -> None:
    sender, receiver = await pair(world)
    await sender.publish("a/b", "old", retain=True)
    await sender.publish("a/b", "new", retain=True)
    await receiver.subscribe("a/#")
    message = await receiver.next()
    assert (message.payload, message.retained) == (b"new", True)
    assert await receiver.silent()


async def test_a_retained_message_is_live_for_who_is_subscribed(world: World) -> None:
    sender, receiver = await pair(world)
    await receiver.subscribe("a/#")
    await sender.publish("a/b", "new", retain=True)
    assert not (await receiver.next()).retained


async def test_an_empty_payload_clears_and_is_told(world: World) -> None:
    sender, receiver = await pair(world)
    await sender.publish("a/b", "old", retain=True)
    await receiver.subscribe("a/#")
    await receiver.next()
    await sender.publish("a/b", "", retain=True)
    assert (await receiver.next()).payload == b""
    await receiver.subscribe("a/#")
    assert await receiver.silent()


@pytest.mark.parametrize(("handling", "replays"), [(0, True), (1, False), (2, False)])
async def test_retain_handling_of_a_repeated_subscription(
    world: World, handling: int, replays: bool
) -> None:
    sender, receiver = await pair(world)
    await sender.publish("a/b", "kept", retain=True)
    await receiver.subscribe("a/#", handling=2)
    assert await receiver.silent()
    await receiver.subscribe("a/#", handling=handling)
    if replays:
        assert (await receiver.next()).payload == b"kept"
    assert await receiver.silent()


async def test_no_local_spares_the_publisher(world: World) -> None:
    sender, receiver = await pair(world)
    await sender.subscribe("a/#", local=False)
    await receiver.subscribe("a/#", local=False)
    await sender.publish("a/b", "hello")
    assert (await receiver.next()).payload == b"hello"
    assert await sender.silent()


async def test_the_session_keeps_what_came_meanwhile(world: World) -> None:
    sender, receiver = await pair(world)
    assert not receiver.connection.session_present
    await receiver.subscribe("a/#")
    await receiver.lose_link()
    await sender.publish("a/b", "meanwhile")
    await receiver.connect()
    assert receiver.connection.session_present
    assert (await receiver.next()).payload == b"meanwhile"


async def test_what_was_not_acknowledged_comes_again_first(world: World) -> None:
    sender, receiver = await pair(world)
    await receiver.subscribe("a/#")
    await sender.publish("a/b", "one")
    await receiver.next(ack=False)
    await receiver.lose_link()
    await sender.publish("a/b", "two")
    await receiver.connect()
    assert [(await receiver.next()).payload for _ in range(2)] == [b"one", b"two"]


async def test_a_clean_start_forgets_the_session(world: World) -> None:
    sender, receiver = await pair(world)
    await receiver.subscribe("a/#")
    await receiver.lose_link()
    await sender.publish("a/b", "meanwhile")
    await receiver.connect(clean_start=True)
    assert not receiver.connection.session_present
    await sender.publish("a/b", "later")
    assert await receiver.silent()


async def test_an_ask_says_where_its_answer_goes(world: World) -> None:
    sender, receiver = await pair(world)
    await receiver.subscribe("ask/+")
    await sender.subscribe("answer")
    await sender.connection.publish(
        "ask/a", b"what?", expiry=60, response_topic="answer", correlation=b"\x00\x01"
    )
    asked = await receiver.next()
    assert (asked.response_topic, asked.correlation) == ("answer", b"\x00\x01")
    await receiver.connection.publish(
        asked.response_topic, b"that", expiry=60, correlation=asked.correlation
    )
    answer = await sender.next()
    assert (answer.payload, answer.correlation) == (b"that", b"\x00\x01")


async def test_an_ask_that_nobody_took_in_time_is_gone(world: World) -> None:
    sender, receiver = await pair(world)
    await receiver.subscribe("ask/+")
    await receiver.lose_link()
    await sender.connection.publish("ask/a", b"what?", expiry=1)
    await asyncio.sleep(2.2)
    await receiver.connect()
    assert await receiver.silent()


async def test_receive_maximum_bounds_what_is_not_acknowledged(world: World) -> None:
    sender, receiver = await world.client("sender"), await world.client("receiver")
    await sender.connect()
    await receiver.connect(receive_maximum=2)
    await receiver.subscribe("a/#")
    for text in ("one", "two", "three"):
        await sender.publish("a/b", text)
    first = await receiver.next(ack=False)
    await receiver.next(ack=False)
    assert await receiver.silent()
    receiver.connection.ack(first)
    assert (await receiver.next()).payload == b"three"


async def test_the_will_is_published_after_a_lost_link(world: World) -> None:
    sender, receiver = await world.client("sender"), await world.client("receiver")
    await receiver.connect()
    await receiver.subscribe("wills/#")
    await sender.connect(will=Will("wills/sender", b"gone", delay=0))
    await sender.lose_link()
    assert (await receiver.next()).payload == b"gone"
    await receiver.subscribe("wills/#")
    assert (await receiver.next()).retained


async def test_a_reconnect_within_the_delay_cancels_the_will(world: World) -> None:
    sender, receiver = await world.client("sender"), await world.client("receiver")
    await receiver.connect()
    await receiver.subscribe("wills/#")
    await sender.connect(will=Will("wills/sender", b"gone", delay=2))
    await sender.lose_link()
    await sender.connect(will=Will("wills/sender", b"gone again", delay=2))
    assert await receiver.silent()
    await sender.lose_link()
    assert (await receiver.next()).payload == b"gone again"


async def test_a_normal_disconnect_discards_the_will(world: World) -> None:
    sender, receiver = await world.client("sender"), await world.client("receiver")
    await receiver.connect()
    await receiver.subscribe("wills/#")
    await sender.connect(will=Will("wills/sender", b"gone", delay=0))
    await sender.disconnect()
    assert await receiver.silent()


async def test_a_second_connection_takes_the_session_over(world: World) -> None:
    first = await world.client("twin")
    await first.connect()
    await first.subscribe("a/#")
    second = await world.client("twin")
    await second.connect()
    assert second.connection.session_present
    with pytest.raises(LinkError):
        await first.next()
    await second.publish("a/b", "mine")
    assert (await second.next()).payload == b"mine"


async def test_the_end_of_a_connection_ends_what_waits(world: World) -> None:
    sender, _ = await pair(world)
    await world.cut(sender)
    with pytest.raises(LinkError):
        await sender.next()
    with pytest.raises(LinkError):
        await sender.connection.publish("a/b", b"too late")
    with pytest.raises(LinkError):
        await sender.subscribe("a/#")


async def test_a_broker_that_restarts_with_its_store_remembers(world: World) -> None:
    sender, receiver = await pair(world)
    await receiver.subscribe("a/#")
    await receiver.lose_link()
    await sender.publish("a/b", "kept", retain=True)
    await sender.disconnect()
    await world.restart()
    await receiver.connect()
    assert receiver.connection.session_present
    assert (await receiver.next()).payload == b"kept"
    await receiver.subscribe("a/#")
    assert (await receiver.next()).retained
