"""``deploy/mosquitto`` as a mosquitto really reads it: who may see and say what, and its limits.

mosquitto refuses no subscription because of an ACL; it keeps back the messages. So each test looks
at what arrives, after a message that has to arrive.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from devcluster.switch import Switch
from shared.errors import LinkError
from shared.link import (
    Broker,
    Connection,
    ConnectOptions,
    Message,
    PublishRefused,
    Subscription,
    Will,
)
from shared.paho_link import PahoLink
from shared.tasks import stop
from shared.topics import Topics
from tests.parts.deployed_mosquitto import HUB, DeployedMosquitto

TOPICS = Topics()
OURS, THEIRS = TOPICS.of("edge-1").base, TOPICS.of("edge-2").base
DOWN = ("desired/Pod/default/web", "inventory", "change", "answer")
UP = ("session", "reported/Pod/default/web", "ask/token")


class Party:
    """Somebody with a certificate, and what the broker has sent to them."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.got: dict[str, bytes] = {}
        self.count = 0
        self._changed = asyncio.Event()

    async def read(self) -> None:
        async for message in self.connection.messages():
            self._take(message)

    def _take(self, message: Message) -> None:
        self.got[message.topic] = message.payload
        self.count += 1
        self.connection.ack(message)
        self._changed.set()

    async def hears(self, topic: str) -> bytes:
        async with asyncio.timeout(10):
            while topic not in self.got:
                self._changed.clear()
                await self._changed.wait()
        return self.got[topic]

    async def listen(self, *filters: str) -> None:
        await self.connection.subscribe([Subscription(one, no_local=True) for one in filters])

    async def say(self, topic: str, payload: bytes = b"x", *, retain: bool = True) -> None:
        await self.connection.publish(topic, payload, retain=retain)


@asynccontextmanager
async def party(
    broker: DeployedMosquitto, name: str, *, will: str = "", session: int = 0, port: int = 0
) -> AsyncIterator[Party]:
    tls = broker.settings.tls
    assert tls is not None
    pair = tls.client(name)
    link = PahoLink(
        Broker(
            *("127.0.0.1", port or broker.port, True),
            ca_file=str(tls.ca),
            cert_file=str(pair.certificate),
            key_file=str(pair.key),
        )
    )
    last = Will(will, b"bye", 0) if will else None
    async with link.connect(ConnectOptions(name, not session, session, 60, 200, last)) as opened:
        made = Party(opened)
        reading = asyncio.create_task(made.read())
        try:
            yield made
        finally:
            await stop(reading)


async def test_hub_and_device_say_to_each_other_what_they_have_to(
    deployed_mosquitto: DeployedMosquitto,
) -> None:
    async with party(deployed_mosquitto, HUB) as hub, party(deployed_mosquitto, "edge-1") as device:
        await hub.listen(f"{TOPICS.root}/#")
        await device.listen(f"{OURS}/#", TOPICS.hub())
        for branch in DOWN:
            await hub.say(f"{OURS}/{branch}")
            await device.hears(f"{OURS}/{branch}")
        await hub.say(TOPICS.hub())
        await device.hears(TOPICS.hub())
        for branch in UP:
            await device.say(f"{OURS}/{branch}")
            await hub.hears(f"{OURS}/{branch}")


@pytest.mark.parametrize(
    "filters",
    [("#",), (f"{TOPICS.root}/#",), ("+/+/+/+/#",), (f"{THEIRS}/#",), (f"{THEIRS}/inventory",)],
)
async def test_a_device_hears_nothing_of_another_node(
    deployed_mosquitto: DeployedMosquitto, filters: tuple[str, ...]
) -> None:
    async with party(deployed_mosquitto, HUB) as hub, party(deployed_mosquitto, "edge-1") as device:
        for branch in (*DOWN, *UP):
            await hub.say(f"{THEIRS}/{branch}")
        await device.listen(*filters, f"{OURS}/inventory")
        for branch in (*DOWN, *UP):
            await hub.say(f"{THEIRS}/{branch}")
        await hub.say(f"{OURS}/inventory")
        await device.hears(f"{OURS}/inventory")
        assert not [topic for topic in device.got if topic.startswith(THEIRS)]


@pytest.mark.parametrize(
    "topic",
    [
        *(f"{THEIRS}/{branch}" for branch in (*DOWN, *UP)),
        *(f"{OURS}/{branch}" for branch in DOWN),
        TOPICS.hub(),
        "elsewhere",
    ],
)
async def test_a_device_may_not_speak_for_the_hub_or_another_node(
    deployed_mosquitto: DeployedMosquitto, topic: str
) -> None:
    async with party(deployed_mosquitto, "edge-1") as device:
        with pytest.raises(PublishRefused):
            await device.say(topic)


async def test_the_will_of_a_device_cannot_be_anothers_death(
    deployed_mosquitto: DeployedMosquitto,
) -> None:
    switch = Switch("127.0.0.1", deployed_mosquitto.port)
    await switch.start()
    async with party(deployed_mosquitto, HUB) as hub:
        await hub.listen(f"{TOPICS.root}/#")
        for will in (f"{THEIRS}/session", f"{OURS}/session"):
            with contextlib.suppress(LinkError):
                async with party(deployed_mosquitto, "edge-1", will=will, port=switch.port):
                    switch.cut()
                    await asyncio.sleep(0.2)
            switch.restore()
        assert await hub.hears(f"{OURS}/session") == b"bye"
        assert f"{THEIRS}/session" not in hub.got
    await switch.close()


async def test_without_a_certificate_nobody_gets_in(deployed_mosquitto: DeployedMosquitto) -> None:
    tls = deployed_mosquitto.settings.tls
    assert tls is not None
    link = PahoLink(Broker("127.0.0.1", deployed_mosquitto.port, True, ca_file=str(tls.ca)))
    with pytest.raises(LinkError):
        async with link.connect(ConnectOptions("nobody", True, 0, 60, 20)):
            pass


async def test_the_largest_config_map_fits(deployed_mosquitto: DeployedMosquitto) -> None:
    body = os.urandom((1 << 20) + (1 << 18))
    async with party(deployed_mosquitto, HUB) as hub, party(deployed_mosquitto, "edge-1") as device:
        await device.listen(f"{OURS}/desired/#")
        await hub.say(f"{OURS}/desired/ConfigMap/default/large", body)
        assert await device.hears(f"{OURS}/desired/ConfigMap/default/large") == body


async def test_what_a_device_missed_waits_for_it_however_much(
    deployed_mosquitto: DeployedMosquitto,
) -> None:
    """More than the thousand messages that mosquitto keeps unless told otherwise."""
    async with party(deployed_mosquitto, "edge-1", session=300) as device:
        await device.listen(f"{OURS}/desired/#")
    async with party(deployed_mosquitto, HUB) as hub:
        topics = [f"{OURS}/desired/Pod/default/p{number}" for number in range(1500)]
        await asyncio.gather(*(hub.say(topic, retain=False) for topic in topics))
    async with party(deployed_mosquitto, "edge-1", session=300) as device:
        await device.hears(topics[-1])
        assert device.count == len(topics)
