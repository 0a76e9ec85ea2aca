"""The Node objects of the fleet: created, kept true and kept alive, but never taken from others.

A node is managed when its agent is connected, or when a Node object has our label; this replica
acts for those in its slots. What the API holds is remembered packed and compared with, so that
only differences are written. A Node deleted while its agent lives comes back after a delay that
grows. A name that belongs to another kubelet is refused, said in an Event, and left alone.
``uplink`` tells sessions, reports and the link, ``replicas`` the slots; ``sync`` hears which Node
objects are there.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Protocol

import structlog

from cloudhub.kube.port import NODES, Change, Kube, WatchEvent
from cloudhub.nodes.node_leases import NodeLeases
from cloudhub.nodes.node_status import MANAGED, accepted, kept_of
from cloudhub.nodes.node_writing import NodeRecord, NodeWriter, Wrote, unpacked
from cloudhub.nodes.presence import Heard, Presence, Standing
from cloudhub.nodes.taints import without
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


class FleetListener(Protocol):
    """Who is told which Node objects of our slots exist; ``sync.Sync`` is it."""

    def manage(self, node: str) -> None: ...

    def unmanage(self, node: str) -> None: ...

    def describe(self, node: str, taints: list[Json], labels: Mapping[str, str]) -> None:
        """What new pods are judged by on a node that was given to ``manage``, all of it."""
        ...

    def say(self, node: str, kind: str, reason: str, message: str) -> None:
        """An Event about the Node; ``kind`` is Normal or Warning."""
        ...

    def nodes_known(self) -> None:
        """Once: all that existed at the start were given to ``manage``."""
        ...


class Nodes:
    def __init__(
        self, kube: Kube, *, clock: Clock, rng: random.Random, taints: tuple[Json, ...] = ()
    ) -> None:
        self._kube = kube
        self._clock = clock
        self._own_taints = taints
        self._writer = NodeWriter(kube, clock=clock, taints=taints, say=self._say)
        self._nodes: dict[str, NodeRecord] = {}
        self._owned: frozenset[int] = frozenset()
        self._shared = False
        self._listed = False
        self._linked = False
        self._heard: set[int] = set()
        """Slots whose sessions the broker has told and tells."""
        self._fleet: FleetListener | None = None
        self._managed: set[str] = set()
        self._told_known = False
        self.presence = Presence()
        self._leases = NodeLeases(kube, clock=clock, rng=rng)
        self._workers = KeyedWorkers(self._sync, clock=clock, name="node")

    # -- what the others tell

    def heard(self, node: str, session: Session) -> Heard:
        """A session message of one of our slots; STALE means: publish the birth again."""
        heard = self.presence.hear(node, session)
        known = self._nodes.setdefault(node, NodeRecord())
        if heard is Heard.BORN:
            known.deletions = 0
        if heard in (Heard.BORN, Heard.DIED):
            log.info("agent connected" if heard is Heard.BORN else "agent gone", node=node)
        self._wake(node)
        return heard

    def reported(self, node: str, report: Report) -> None:
        """A report about the node itself; the topic's newest is the newest."""
        known = self._nodes.setdefault(node, NodeRecord())
        known.report = codec.encode(accepted(report.status))
        self._wake(node)

    def linked(self, up: bool) -> None:
        """Our own link came or went: what was known is in doubt."""
        self._linked = up
        self._heard.clear()
        self.presence.doubt_all(self._clock.monotonic())
        for node in self._nodes:
            self._wake(node)

    def own(self, slots: frozenset[int]) -> None:
        """Act for these slots from now on, and for no other."""
        self._owned, self._shared = slots, True
        for node in list(self._nodes):
            self._tell(node)
            if self._owns(node):
                self._expect(node)
            else:
                self._let_go(node)
        self._tell_known()

    def slot_up(self, slot: int) -> None:
        """What the broker retains of its nodes has come, and what they say comes here."""
        self._heard.add(slot)
        self.presence.listen(lambda node: slot_of(node) == slot, self._clock.monotonic())

    def slot_down(self, slot: int) -> None:
        """Nothing is heard of its nodes any more; of what is ours again all is to be heard anew."""
        self._heard.discard(slot)
        for node in [one for one in self.presence.nodes() if slot_of(one) == slot]:
            self.presence.forget(node)
            if node in self._nodes and self._owns(node):
                self._expect(node)

    # -- what the others ask

    @property
    def listed(self) -> bool:
        """Whether the API server has told all Node objects once."""
        return self._listed

    def uid(self, node: str) -> str:
        """Of the Node object; empty while there is none."""
        found = self._nodes.get(node)
        return str(unpacked(found.seen)["metadata"]["uid"]) if found and found.seen else ""

    async def read(self, node: str) -> bool:
        """Whether the API has this Node of ours now; then the fleet has heard what it says."""
        found = await self._kube.get(NODES, "", node)
        if found is None or MANAGED not in (found["metadata"].get("labels") or {}):
            return False
        if node not in self._nodes:
            return False  # Deleted while it was read: of what is ours all is known.
        self._remember(found)
        return True

    def online(self) -> int:
        return self.presence.online()

    def managed(self) -> Iterator[str]:
        """Names of the nodes of our slots."""
        return (name for name in self._nodes if self._owns(name))

    def away(self) -> Iterator[str]:
        """Nodes of our slots that are not known to be connected: nobody renews their Lease."""
        online = Standing.ONLINE
        return (name for name in self.managed() if self.presence.standing(name) is not online)

    # -- running

    async def run(self, fleet: FleetListener) -> None:
        self._fleet = fleet
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
            for node in self.presence.settle(self._is_heard, self._clock.monotonic()):
                log.warning("no session of this node on the broker", node=node)
                self._wake(node)

    def _take(self, event: WatchEvent) -> None:
        if event.change is Change.SET:
            self._remember(event.object)
        elif event.change is Change.DELETED:
            self._forget_object(event.object["metadata"]["name"], version=event.version)
        else:
            self._listed = True
            names = {obj["metadata"]["name"] for obj in event.objects}
            for obj in event.objects:
                # A list is right whatever its versions: the server may have been restored.
                self._nodes.setdefault(obj["metadata"]["name"], NodeRecord()).version = 0
                self._remember(obj)
            for name in self._nodes.keys() - names:
                self._forget_object(name, version=event.version)
            self._tell_known()

    def _remember(self, obj: Json) -> None:
        """Take the API's newest word on a Node, whoever brought it first."""
        name, version = obj["metadata"]["name"], obj["metadata"]["resourceVersion"]
        node = self._nodes.setdefault(name, NodeRecord())
        order = _order(version)
        if order and order < node.version:
            return
        seen = codec.encode(kept_of(obj))
        node.version = order
        if seen == node.seen:
            return
        node.seen = seen
        self._tell(name)
        if self._owns(name):
            self._expect(name)

    def _forget_object(self, name: str, *, version: str = "") -> None:
        """``version``: of its deletion; an answer that is older does not bring it back."""
        node = self._nodes.get(name)
        if node is None:
            return
        node.version = _order(version)
        if node.seen:
            node.seen, node.status, node.labels = b"", Wrote(), Wrote()
            node.deletions += 1
            delay = min(BACK_FIRST * 2 ** (node.deletions - 1), BACK_MOST)
            node.back_at = self._clock.monotonic() + delay
            self._leases.drop(name)
            self._tell(name)
        self._wake(name)

    def _tell(self, name: str) -> None:
        """Say which Node objects of our slots came or went, and what they say now."""
        if self._fleet is None:
            return
        node = self._nodes.get(name)
        if node is not None and node.seen and self._owns(name):
            if name not in self._managed:
                self._managed.add(name)
                self._fleet.manage(name)
            seen = unpacked(node.seen)
            taints = without(seen["taints"], self._own_taints)
            self._fleet.describe(name, taints, seen["metadata"]["labels"])
        elif name in self._managed:
            self._managed.discard(name)
            self._fleet.unmanage(name)

    def _say(self, node: str, kind: str, reason: str, message: str) -> None:
        if self._fleet is not None:
            self._fleet.say(node, kind, reason, message)

    def _tell_known(self) -> None:
        if self._fleet is not None and self._listed and self._shared and not self._told_known:
            self._told_known = True
            self._fleet.nodes_known()

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

    def _is_heard(self, name: str) -> bool:
        return slot_of(name) in self._heard

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
        if not self._linked:
            # What we heard last may be long untrue, and another replica says what is so now.
            return None
        try:
            return await self._refresh(name, node, standing)
        except KubeRefused as refused:
            if refused.status != 404:
                raise
        self._forget_object(name)
        return None

    async def _refresh(self, name: str, node: NodeRecord, standing: Standing) -> float | None:
        session = self.presence.session(name)
        version = session.version if session else ""
        wait = None
        if standing is Standing.ONLINE:
            after, wait = await self._writer.label(name, node, version)
            if after is not None:
                self._remember(after)
        report = unpacked(node.report) if standing is Standing.ONLINE else {}
        again = await self._writer.write_status(name, node, report, standing)
        return min((one for one in (wait, again) if one is not None), default=None)

    async def _appear(self, name: str, node: NodeRecord, standing: Standing) -> float | None:
        """Create the Node, or adopt one that nobody runs; only for an agent that is there."""
        if standing is not Standing.ONLINE:
            if standing is not Standing.IN_DOUBT:
                # What it reported is read once: it is needed when the agent comes back.
                if not node.report:
                    self._nodes.pop(name, None)
                self.presence.forget(name)
            return None
        wait = node.back_at - self._clock.monotonic()
        if wait > 0:
            return wait
        found = await self._writer.appear(name, node)
        if found is None:
            return LOOK_AGAIN
        self._remember(found)
        return None

    def _keep_alive(self, name: str, node: NodeRecord, standing: Standing) -> None:
        if standing is Standing.ONLINE:
            self._leases.keep(name, unpacked(node.seen)["metadata"]["uid"])
        else:
            self._leases.drop(name)


def _order(version: str) -> int:
    return int(version) if version.isdigit() else 0
