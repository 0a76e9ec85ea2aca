"""Simulated agents for the hub's rows: one MQTT client that answers for many nodes.

They behave as agents do towards the hub: a birth each, and for every pod that a change brings a
report that it runs, for every pod that is to go a report that it has finished. No runtime, no
store. ``published`` counts what the hub sends anew, by branch of the topic.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.codec import unpack
from shared.link import Broker, Connection, ConnectOptions, Message, Subscription
from shared.messages import Change, Report, Session
from shared.objects import Json, ObjectKey
from shared.paho_link import PahoLink
from shared.tasks import stop
from shared.topics import Topics

_STATE = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


class Fleet:
    def __init__(self, connection: Connection, nodes: list[str]) -> None:
        self.published: Counter[str] = Counter()
        self._connection = connection
        self._topics = Topics()
        self._nodes = set(nodes)
        self._uids: dict[tuple[str, ObjectKey], str] = {}
        self._sequence = 0

    async def announce(self) -> None:
        """The births, and the Node reports without which a Node has no capacity."""
        base = self._topics.root
        await self._connection.subscribe(
            [Subscription(f"{base}/+/+/{what}") for what in ("change", "inventory", "desired/#")]
        )
        sent = []
        for node in sorted(self._nodes):
            birth = Session(True, f"sim-{node}", 1, boot="boot", version="0.1.0")
            topic = self._topics.of(node).session
            sent.append(self._connection.publish(topic, birth.encode(), retain=True))
            key = ObjectKey("Node", "-", node)
            sent.append(self._report(node, key, "", NODE_STATUS))
        await asyncio.gather(*sent)

    async def run(self) -> None:
        async for message in self._connection.messages():
            self._connection.ack(message)
            if message.payload:
                self._take(message)

    def _take(self, message: Message) -> None:
        node, rest = self._topics.parse(message.topic)
        if not message.retained:
            self.published[rest.partition("/")[0]] += 1
        if rest == "change" and node in self._nodes:
            self._answer(node, Change.decode(message.payload))

    def _answer(self, node: str, change: Change) -> None:
        for key, body in change.bodies.items():
            if key.kind == "Pod":
                self._uids[node, key] = unpack(body)["metadata"]["uid"]
        for key, entry in change.put.items():
            if uid := self._uids.get((node, key)):
                self._report(node, key, uid, pod_status(), finished=entry.grace is not None)

    def _report(
        self, node: str, key: ObjectKey, uid: str, status: Json, *, finished: bool = False
    ) -> asyncio.Future[None]:
        self._sequence += 1
        report = Report(key, uid, self._sequence, 0, status, finished=finished)
        topic = self._topics.of(node).reported(key)
        return asyncio.ensure_future(self._connection.publish(topic, report.encode(), retain=True))


@asynccontextmanager
async def announced_fleet(broker: Broker, nodes: list[str]) -> AsyncIterator[Fleet]:
    options = ConnectOptions(
        client_id="bench-fleet",
        clean_start=True,
        session_expiry=0,
        keep_alive=60,
        receive_maximum=1000,
    )
    async with PahoLink(broker).connect(options) as connection:
        fleet = Fleet(connection, nodes)
        running = asyncio.create_task(fleet.run())
        try:
            await fleet.announce()
            yield fleet
        finally:
            await stop(running)


def pod_status() -> Json:
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        for kind in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")
    ]
    container = {
        "name": "main",
        "state": _STATE,
        "lastState": {},
        "ready": True,
        "restartCount": 0,
        "image": "busybox",
        "imageID": "busybox@sha256:0",
        "started": True,
    }
    return {
        "phase": "Running",
        "startTime": "2026-01-01T00:00:00Z",
        "conditions": conditions,
        "containerStatuses": [container],
    }


NODE_STATUS: Json = {
    "capacity": {"cpu": "4", "memory": "4Gi", "pods": "110"},
    "allocatable": {"cpu": "4", "memory": "4Gi", "pods": "110"},
    "nodeInfo": {"kubeletVersion": "v1.36.0-kubetide-0.1.0", "operatingSystem": "linux"},
}
