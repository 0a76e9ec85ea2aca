"""More publishes at once than MQTT has packet ids for: none of them ends at another's topic."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from shared.errors import LinkError
from shared.link import Broker, Connection, ConnectOptions, Subscription
from shared.paho_link import PahoLink
from tests.parts.mosquitto import Mosquitto
from tests.parts.patience import PATIENCE

IDS = 65_535
LAST = f"t/{IDS}"


async def test_what_was_not_sent_takes_no_topic_from_another(mosquitto: Mosquitto) -> None:
    link = PahoLink(Broker("127.0.0.1", mosquitto.port))
    async with link.connect(ConnectOptions("sender", True, 0, 60, 20)) as sender:
        for number in range(IDS):  # The loop does not run: no answer is read.
            sent = sender.publish(f"t/{number}", b"")
        one_more = sender.publish(LAST, b"last", retain=True)
        with pytest.raises(LinkError):
            await one_more
        with pytest.raises(LinkError):
            await sent
        with pytest.raises(LinkError):
            await sender.publish(LAST, b"last", retain=True)
    async with link.connect(ConnectOptions("receiver", True, 0, 60, 20)) as receiver:
        assert await _retained(receiver) == []


async def _retained(connection: Connection) -> list[str]:
    """Topics; what is published last comes after all of them."""
    await connection.subscribe([Subscription("t/#"), Subscription("end")])
    await connection.publish("end", b"")
    found = []
    async with asyncio.timeout(10 * PATIENCE), aclosing(connection.messages()) as messages:
        async for message in messages:
            if message.topic == "end":
                return found
            found.append(message.topic)
    raise AssertionError
