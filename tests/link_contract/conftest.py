"""The links under the contract: the simulator's broker model, and paho against a real mosquitto.

What holds for both is what the simulator may build on.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from devcluster.switch import Switch
from shared.link import Broker, Connection, ConnectOptions, Link, Message, Subscription, Will
from shared.paho_link import PahoLink
from simulator import broker as model
from simulator.network import Path
from simulator.sim_link import SimLink
from tests.parts.mosquitto import Mosquitto
from tests.parts.patience import PATIENCE

LONGEST = 10.0 * PATIENCE
SILENCE = 0.4
"""Seconds without a message after which none is coming."""


class Client:
    """One client id with a link of its own, whose cable can be cut."""

    def __init__(self, world: World, client_id: str, link: Link, number: int) -> None:
        self.world = world
        self.client_id = client_id
        self.link = link
        self.number = number
        self._stack = AsyncExitStack()
        self._messages: AsyncIterator[Message] | None = None
        self.connection: Connection

    async def connect(
        self,
        *,
        clean_start: bool = False,
        session_expiry: int = 3600,
        receive_maximum: int = 100,
        will: Will | None = None,
    ) -> Connection:
        options = ConnectOptions(
            client_id=self.client_id,
            clean_start=clean_start,
            session_expiry=session_expiry,
            keep_alive=60,
            receive_maximum=receive_maximum,
            will=will,
        )
        self.connection = await self._stack.enter_async_context(self.link.connect(options))
        self._messages = self.connection.messages()
        return self.connection

    async def subscribe(self, topic_filter: str, *, handling: int = 0, local: bool = True) -> None:
        wanted = Subscription(topic_filter, retain_handling=handling, no_local=not local)
        await self.connection.subscribe([wanted])

    async def next(self, *, ack: bool = True) -> Message:
        assert self._messages is not None
        async with asyncio.timeout(LONGEST):
            message = await anext(self._messages)
        if ack:
            self.connection.ack(message)
        return message

    async def silent(self) -> bool:
        assert self._messages is not None
        try:
            async with asyncio.timeout(SILENCE):
                await anext(self._messages)
        except TimeoutError:
            self._messages = self.connection.messages()
            return True
        return False

    async def publish(self, topic: str, text: str, *, retain: bool = False) -> None:
        async with asyncio.timeout(LONGEST):
            await self.connection.publish(topic, text.encode(), retain=retain)

    async def disconnect(self) -> None:
        await self._stack.aclose()
        await self.world.settle()

    async def lose_link(self) -> None:
        """The connection breaks without a DISCONNECT."""
        await self.world.cut(self)
        await self._stack.aclose()
        await self.world.settle()


class World:
    """A broker, and as many clients as a test likes."""

    def __init__(self) -> None:
        self.clients: list[Client] = []

    async def client(self, client_id: str) -> Client:
        number = len(self.clients)
        self.clients.append(Client(self, client_id, await self.link(number), number))
        return self.clients[-1]

    async def settle(self) -> None:
        """Until the broker has seen the end of a connection."""
        await asyncio.sleep(0.15)

    async def link(self, number: int) -> Link:
        raise NotImplementedError

    async def cut(self, client: Client) -> None:
        raise NotImplementedError

    async def restart(self) -> None:
        """The broker goes and comes with its store; all clients are cut."""
        raise NotImplementedError

    async def close(self) -> None:
        for client in self.clients:
            await client.disconnect()


class ModelWorld(World):
    def __init__(self) -> None:
        super().__init__()
        self.broker = model.Broker(asyncio.get_running_loop(), random.Random(1))
        self.paths: dict[int, Path] = {}

    async def link(self, number: int) -> Link:
        self.paths[number] = Path(random.Random(2), latency=(0.001, 0.003))
        return SimLink(self.broker, self.paths[number])

    async def cut(self, client: Client) -> None:
        self.paths[client.number].cut()
        await asyncio.sleep(0.05)

    async def restart(self) -> None:
        self.broker.crash()
        await asyncio.sleep(0.05)
        self.broker.start(model.Store.KEPT)


class MosquittoWorld(World):
    def __init__(self, broker: Mosquitto) -> None:
        super().__init__()
        self.broker = broker
        self.switches: dict[int, Switch] = {}

    async def link(self, number: int) -> Link:
        switch = self.switches[number] = Switch("127.0.0.1", self.broker.port)
        await switch.start()
        return PahoLink(Broker("127.0.0.1", switch.port))

    async def cut(self, client: Client) -> None:
        self.switches[client.number].cut()
        await asyncio.sleep(0.05)
        self.switches[client.number].restore()

    async def restart(self) -> None:
        await asyncio.to_thread(self.broker.restart)

    async def close(self) -> None:
        await super().close()
        for switch in self.switches.values():
            await switch.close()


@pytest.fixture(params=["model", "mosquitto"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "model":
        made: World = ModelWorld()
    else:
        made = MosquittoWorld(request.getfixturevalue("mosquitto"))
    yield made
    await made.close()
