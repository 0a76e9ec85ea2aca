"""The Node objects of the fleet: created, kept true and kept alive, but never taken from others.

A node is managed when its agent is connected, or when a Node object has our label; this replica
acts for those in its slots. What the API holds is remembered packed and compared with, so that
only differences are written. A Node deleted while its agent lives comes back after a delay that
grows. A name that belongs to another kubelet is refused, said in an Event, and left alone.
``uplink`` tells sessions and reports, ``connection`` the link, ``replicas`` the slots.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import structlog

from cloudhub.kube.port import EVENTS, NODES, Change, Kube, WatchEvent
from cloudhub.node_leases import NodeLeases
from cloudhub.node_status import (
    MANAGED,
    accepted,
    is_foreign,
    kept_of,
    labels_of,
    metadata_patch,
    new_node,
    ready_of,
    status_patch,
)
from cloudhub.presence import Heard, Presence, Standing
from cloudhub.stamps import stamp
from shared import codec
from shared.clock import Clock
from shared.errors import KubeRefused
from shared.messages import Report, Session
from shared.objects import Json
from shared.tasks import KeyedWorkers, run_together
from shared.topics import slot_of

log = structlog.get_logger()

BACK_FIRST = 10.0
BACK_MOST = 300.0
LOOK_AGAIN = 300.0
"""Seconds until a name that belongs to another kubelet is looked at again."""
SETTLE_EVERY = 2.0


@dataclass(slots=True)
class _Node:
    seen: bytes = b""
    """The Node object as the API has it (``kept_of``), packed; empty = not there."""
    version: int = 0
    report: bytes = b""
    deletions: int = 0
    back_at: float = 0.0
    taken: bool = False
    """The name belongs to another kubelet."""


class Nodes:
    def __init__(
        self, kube: Kube, *, clock: Clock, rng: random.Random, taints: tuple[Json, ...] = ()
    ) -> None:
        self._kube = kube
        self._clock = clock
        self._taints = taints
        self._nodes: dict[str, _Node] = {}
        self._owned: frozenset[int] = frozenset()
        self._listed = False
        self._linked = False
        self.presence = Presence()
        self._leases = NodeLeases(kube, clock=clock, rng=rng)
        self._workers = KeyedWorkers(self._sync, clock=clock, name="node")

    # -- what the others tell

    def heard(self, node: str, session: Session) -> Heard:
        """A session message of one of our slots; STALE means: publish the birth again."""
        heard = self.presence.hear(node, session)
        known = self._nodes.setdefault(node, _Node())
        if heard is Heard.BORN:
            known.deletions = 0
        if heard in (Heard.BORN, Heard.DIED):
            log.info("agent connected" if heard is Heard.BORN else "agent gone", node=node)
        self._wake(node)
        return heard

    def reported(self, node: str, report: Report) -> None:
        """A report about the node itself; the topic's newest is the newest."""
        known = self._nodes.setdefault(node, _Node())
        known.report = codec.encode(accepted(report.status))
        self._wake(node)

    def linked(self, up: bool) -> None:
        """Our own link came (and is subscribed) or went: what was known is in doubt."""
        self._linked = up
        self.presence.doubt_all(self._clock.monotonic())
        for node in self._nodes:
            self._wake(node)

    def own(self, slots: frozenset[int]) -> None:
        """Act for these slots from now on, and for no other."""
        self._owned = slots
        for node in list(self._nodes):
            if self._owns(node):
                self._expect(node)
            else:
                self._let_go(node)

    # -- what the others ask

    def online(self) -> int:
        return self.presence.online()

    def managed(self) -> Iterator[str]:
        """Names of the nodes of our slots."""
        return (name for name in self._nodes if self._owns(name))

    # -- running

    async def run(self) -> None:
        try:
            await run_together(
                nodes=self._watch(), leases=self._leases.run(), settling=self._settle()
            )
        finally:
            await self._workers.stop()

    async def _watch(self) -> None:
        async for event in self._kube.watch(NODES, label_selector=MANAGED):
            self._take(event)

    async def _settle(self) -> None:
        while True:
            await self._clock.sleep(SETTLE_EVERY)
            late = self.presence.settle(self._clock.monotonic()) if self._linked else []
            for node in late:
                log.warning("no session of this node on the broker", node=node)
                self._wake(node)

    def _take(self, event: WatchEvent) -> None:
        if event.change is Change.SET:
            self._remember(event.object)
        elif event.change is Change.DELETED:
            self._forget_object(event.object["metadata"]["name"])
        else:
            self._listed = True
            names = {obj["metadata"]["name"] for obj in event.objects}
            for obj in event.objects:
                # A list is right whatever its versions: the server may have been restored.
                self._nodes.setdefault(obj["metadata"]["name"], _Node()).version = 0
                self._remember(obj)
            for name in self._nodes.keys() - names:
                self._forget_object(name)

    def _remember(self, obj: Json) -> None:
        """Take the API's newest word on a Node, whoever brought it first."""
        name, version = obj["metadata"]["name"], obj["metadata"]["resourceVersion"]
        node = self._nodes.setdefault(name, _Node())
        order = int(version) if version.isdigit() else 0
        if order and order < node.version:
            return
        node.seen, node.version = codec.encode(kept_of(obj)), order
        if self._owns(name):
            self._expect(name)

    def _forget_object(self, name: str) -> None:
        node = self._nodes.get(name)
        if node is None:
            return
        if node.seen:
            node.seen, node.version = b"", 0
            node.deletions += 1
            delay = min(BACK_FIRST * 2 ** (node.deletions - 1), BACK_MOST)
            node.back_at = self._clock.monotonic() + delay
            self._leases.drop(name)
        self._wake(name)

    def _expect(self, name: str) -> None:
        if self._nodes[name].seen:
            self.presence.expect(name, self._clock.monotonic())
        self._wake(name)

    def _let_go(self, name: str) -> None:
        self._leases.drop(name)
        self.presence.forget(name)
        self._nodes[name].report = b""
        if not self._nodes[name].seen:
            del self._nodes[name]

    def _owns(self, name: str) -> bool:
        return slot_of(name) in self._owned

    def _wake(self, name: str) -> None:
        if self._listed and self._owns(name):
            self._workers.wake(name)

    # -- one node at a time

    async def _sync(self, name: str) -> float | None:
        node = self._nodes.get(name)
        if node is None or not self._owns(name):
            return None
        standing = self.presence.standing(name)
        if not node.seen:
            return await self._appear(name, node, standing)
        self._keep_alive(name, node, standing)
        await self._refresh(name, node, standing)
        return None

    async def _appear(self, name: str, node: _Node, standing: Standing) -> float | None:
        """Create the Node, or adopt one that nobody runs; only for an agent that is there."""
        if standing is not Standing.ONLINE:
            if standing is not Standing.IN_DOUBT:
                self._nodes.pop(name, None)
                self.presence.forget(name)
            return None
        wait = node.back_at - self._clock.monotonic()
        if wait > 0:
            return wait
        found = await self._kube.get(NODES, "", name)
        if found is not None and is_foreign(found):
            return await self._refuse(name, node)
        if found is None:
            born = new_node(name, _unpacked(node.report), self._taints)
            found = await self._kube.create(NODES, "", born)
            log.info("node created", node=name)
        node.taken = False
        self._remember(found)
        return None

    def _keep_alive(self, name: str, node: _Node, standing: Standing) -> None:
        if standing is Standing.ONLINE:
            self._leases.keep(name, _unpacked(node.seen)["metadata"]["uid"])
        else:
            self._leases.drop(name)

    async def _refresh(self, name: str, node: _Node, standing: Standing) -> None:
        session = self.presence.session(name)
        online = standing is Standing.ONLINE
        report = _unpacked(node.report) if online else {}
        if online:
            current = _unpacked(node.seen)
            version = session.version if session else ""
            if patch := metadata_patch(current, labels_of(name, report), version):
                self._remember(await self._kube.patch(NODES, "", name, patch))
        await self._write_status(name, node, report, standing)

    async def _write_status(self, name: str, node: _Node, report: Json, standing: Standing) -> None:
        current, now = _unpacked(node.seen).get("status", {}), stamp(self._clock.now())
        ready = ready_of(standing, report, current, now)
        patch = status_patch(current, report, ready, now=now)
        if patch is None:
            return
        try:
            await self._patch_status(name, patch)
        except KubeRefused as refused:
            if refused.status not in (400, 422):
                raise
            log.error("the node's report was refused", node=name, error=str(refused))
            if only := status_patch(current, {}, ready, now=now):
                await self._patch_status(name, only)

    async def _patch_status(self, name: str, patch: Json) -> None:
        after = await self._kube.patch(
            *(NODES, "", name, patch), subresource="status", patch_type="strategic"
        )
        self._remember(after)

    async def _refuse(self, name: str, node: _Node) -> float:
        if not node.taken:
            node.taken = True
            log.error("the node name belongs to another kubelet; not taken over", node=name)
            await self._tell(name)
        return LOOK_AGAIN

    async def _tell(self, name: str) -> None:
        now = stamp(self._clock.now())
        event = {
            "metadata": {"name": f"{name}.kubetide-name-taken", "namespace": "default"},
            "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": name, "uid": name},
            "type": "Warning",
            "reason": "NodeNameTaken",
            "message": "A Kubetide agent uses the name of this node, which another kubelet runs. "
            "The hub leaves the node alone; give the device another name.",
            "source": {"component": "kubetide-hub"},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            await self._kube.create(EVENTS, "default", event)
        except KubeRefused as refused:
            if refused.status != 409:
                log.warning("event refused", node=name, error=str(refused))


def _unpacked(packed: bytes) -> Json:
    return codec.decode(packed) if packed else {}
