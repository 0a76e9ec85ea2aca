"""A whole fleet comes back at once to one hub: no status is lost, and the hub stays small.

Every agent is an MQTT client of its own with the reconnect delays of the real one, a birth, a Node
and one pod; ``FLEET`` in the environment says how many. API server and agents share one process
and its processor with everything else, so the times are upper bounds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from benchmarks.fleet import NODE_STATUS, pod_status
from cloudhub.kube.access import open_access
from cloudhub.kube.client import KubeClient
from cloudhub.kube.port import PODS
from devcluster.processes import Program
from edgeagent.session.connection import KEEP_ALIVE, RECONNECT, SESSION_EXPIRY, WILL_DELAY
from shared.backoff import Backoff
from shared.clock import SystemClock
from shared.errors import LinkError, PermanentError, TemporaryError
from shared.link import Broker, Connection, ConnectOptions, Subscription, Will
from shared.messages import Report, Session
from shared.objects import NO_NAMESPACE, Json, ObjectKey
from shared.paho_link import PahoLink
from shared.tasks import stop
from shared.topics import Topics
from tests.parts.kubernetes import Cluster
from tests.parts.mosquitto import Mosquitto
from tests.parts.system import pod
from tests.parts.view import View, ready_of, restarts_of

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

FLEET = int(os.environ.get("FLEET", "2000"))
MOST_GROWTH = 60_000
"""KiB that a reconnect of the whole fleet may add to the hub."""


class Agent:
    def __init__(self, node: str, broker: Broker) -> None:
        self.node = node
        self.restarts = 0
        self.uid = ""
        self._link = PahoLink(broker)
        self._topics = Topics().of(node)
        self._counter = 0
        self._sequence = 0

    async def run(self) -> None:
        backoff = Backoff(*RECONNECT, random.Random(self.node))
        while True:
            with contextlib.suppress(TemporaryError, PermanentError):
                await self._connect_once(backoff)
            await asyncio.sleep(backoff.next())

    async def _connect_once(self, backoff: Backoff) -> None:
        self._counter += 1
        death = Session(False, "i", self._counter).encode()
        options = ConnectOptions(
            client_id=f"{self.node}.i",
            clean_start=False,
            session_expiry=SESSION_EXPIRY,
            keep_alive=KEEP_ALIVE,
            receive_maximum=64,
            will=Will(self._topics.session, death, delay=WILL_DELAY),
        )
        async with self._link.connect(options) as connection:
            backoff.reset()
            await connection.subscribe([Subscription(self._topics.session)])
            await self._be_born(connection)
            await self._say(connection, ObjectKey("Node", NO_NAMESPACE, self.node), NODE_STATUS)
            await self._tell(connection)

    async def _tell(self, connection: Connection) -> None:
        """The newest status of the pod, whenever it changed; ends with the connection."""
        told = None
        ended = asyncio.create_task(self._ended(connection))
        try:
            while not ended.done():
                if self.uid and told != self.restarts:
                    told, status = self.restarts, pod_status()
                    status["containerStatuses"][0]["restartCount"] = told
                    await self._say(connection, ObjectKey("Pod", "default", self.node), status)
                await asyncio.wait({ended}, timeout=1)
        finally:
            await stop(ended)

    async def _ended(self, connection: Connection) -> None:
        with contextlib.suppress(LinkError):
            async for message in connection.messages():
                connection.ack(message)
                session = Session.decode(message.payload)
                if session.asks:
                    await self._be_born(connection, question=session.question)

    async def _be_born(self, connection: Connection, *, question: int = 0) -> None:
        who = (True, "i", self._counter)
        birth = Session(*who, boot="boot", version="0.1.0", question=question)
        await connection.publish(self._topics.session, birth.encode(), retain=True)

    async def _say(self, connection: Connection, key: ObjectKey, status: Json) -> None:
        self._sequence += 1
        uid = self.uid if key.kind == "Pod" else ""
        report = Report(key, uid, self._sequence, 0, status).encode()
        await connection.publish(self._topics.reported(key), report, retain=True)


@pytest.fixture
def mosquitto(new_mosquitto: Callable[..., Mosquitto]) -> Mosquitto:
    """With its default limits: it queues 1,000 messages for a client and drops the rest."""
    return new_mosquitto()


@pytest.fixture
async def hub(
    embedded_kubernetes: Cluster, mosquitto: Mosquitto, tmp_path: Path
) -> AsyncIterator[Program]:
    arguments = ["cloudhub", "run", "--kubeconfig", str(embedded_kubernetes.kubeconfig_path)]
    arguments += ["--mqtt", mosquitto.url, "--metrics-listen", "127.0.0.1:0"]
    program = Program("hub", arguments, log=tmp_path / "hub.log")
    await program.start()
    yield program
    await program.stop()


def memory(program: Program) -> int:
    """RSS in KiB."""
    text = Path(f"/proc/{program.pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0])


async def test_the_whole_fleet_comes_back_at_once(
    embedded_kubernetes: Cluster, mosquitto: Mosquitto, hub: Program
) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (20_000, 20_000))
    access = await open_access(str(embedded_kubernetes.kubeconfig_path))
    kube = KubeClient(access, clock=SystemClock(), rng=random.Random(1))
    view = View(kube)
    await view.start()
    agents = [Agent(f"n{n:04}", Broker("127.0.0.1", mosquitto.port)) for n in range(FLEET)]
    tasks = [asyncio.create_task(agent.run()) for agent in agents]
    try:
        await _measured("first", hub, _all_ready(view))
        for agent in agents:
            made = await kube.create(PODS, "default", pod(agent.node, node=agent.node))
            agent.uid = made["metadata"]["uid"]
        await _measured("pods Running", hub, _all_have(view, 0))
        before = memory(hub)

        mosquitto.stop()
        for agent in agents:
            agent.restarts = 1
        await asyncio.sleep(3)
        mosquitto.start()
        await _measured("back, statuses written", hub, _all_have(view, 1))
        await _measured("back, all Ready", hub, _all_ready(view))
        hub.check()
        assert memory(hub) - before < MOST_GROWTH
    finally:
        await stop(*tasks)
        await view.close()
        await kube.close()


def _all_ready(view: View) -> Callable[[], bool]:
    def holds() -> bool:
        ready = sum(ready_of(node) == "True" for node in view.nodes.values())
        return ready == FLEET

    return holds


def _all_have(view: View, restarts: int) -> Callable[[], bool]:
    def holds() -> bool:
        running = [p for p in view.pods.values() if p.get("status", {}).get("containerStatuses")]
        return len(running) == FLEET and all(restarts_of(one) == restarts for one in running)

    return holds


async def _measured(what: str, hub: Program, holds: Callable[[], bool]) -> None:
    began = time.monotonic()
    most = memory(hub)
    async with asyncio.timeout(900):
        while not holds():
            most = max(most, memory(hub))
            await asyncio.sleep(0.5)
    took = time.monotonic() - began
    print(f"{FLEET} agents, {what}: {took:.1f} s, hub at most {most // 1024} MiB", flush=True)
