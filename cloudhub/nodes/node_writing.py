"""The writes to one Node object: birth, labels, status; each only where something differs.

Stateless but for the record it is given. A write that was just made and is not there is not
repeated at once, so that no server and no other controller can be fought. Called by ``nodes.py``,
for one node at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from cloudhub.kube.port import EVENTS, NODES, Kube
from cloudhub.nodes.node_status import (
    is_foreign,
    labels_of,
    metadata_patch,
    new_node,
    ready_of,
    said_by,
    status_patch,
)
from cloudhub.nodes.presence import Standing
from cloudhub.stamps import stamp
from shared import codec
from shared.clock import Clock
from shared.errors import KubeRefused
from shared.objects import Json

log = structlog.get_logger()

SAME_AGAIN = 30.0
"""Seconds before a write is repeated that somebody, or the server itself, undid."""


@dataclass(slots=True)
class Wrote:
    """The last patch of a kind: who undoes it is not fought with."""

    mark: int = 0
    """Hash of the patch, without its times."""
    at: float = 0.0

    def again_in(self, mark: int, now: float) -> float:
        """Seconds until the same may be written once more."""
        return self.at + SAME_AGAIN - now if mark == self.mark else 0.0


@dataclass(slots=True)
class NodeRecord:
    seen: bytes = b""
    """The Node object as the API has it (``kept_of``), packed; empty = not there."""
    version: int = 0
    report: bytes = b""
    deletions: int = 0
    back_at: float = 0.0
    taken: bool = False
    """The name belongs to another kubelet."""
    status: Wrote = field(default_factory=Wrote)
    labels: Wrote = field(default_factory=Wrote)


class NodeWriter:
    def __init__(
        self,
        kube: Kube,
        *,
        clock: Clock,
        taints: tuple[Json, ...],
        say: Callable[[str, str, str, str], None],
    ) -> None:
        """``say`` tells an Event about a Node: name, type, reason, message."""
        self._kube = kube
        self._clock = clock
        self._taints = taints
        self._say = say

    async def appear(self, name: str, node: NodeRecord) -> Json | None:
        """The Node, created or found unclaimed; None when another kubelet runs it."""
        found = await self._kube.get(NODES, "", name)
        if found is not None and is_foreign(found):
            await self._refuse(name, node)
            return None
        node.taken = False
        if found is None:
            born = new_node(name, unpacked(node.report), self._taints)
            found = await self._kube.create(NODES, "", born)
            log.info("node created", node=name)
        return found

    async def label(
        self, name: str, node: NodeRecord, version: str
    ) -> tuple[Json | None, float | None]:
        """Labels and annotations: the Node after the write, if there was one; seconds until one
        that is needed may be tried. What is refused holds up no status."""
        labels = labels_of(name, unpacked(node.report))
        patch = metadata_patch(unpacked(node.seen), labels, version)
        if patch is None:
            return None, None
        mark, now = hash(codec.encode(patch)), self._clock.monotonic()
        if (wait := node.labels.again_in(mark, now)) > 0:
            return None, wait
        try:
            after = await self._kube.patch(NODES, "", name, patch)
        except KubeRefused as refused:
            if refused.status not in (400, 403, 422):
                raise
            log.error("labels of the node were refused", node=name, error=str(refused))
            node.labels = Wrote(mark, now)
            return None, SAME_AGAIN
        node.labels = Wrote(mark, now)
        return after, None

    async def write_status(
        self, name: str, node: NodeRecord, report: Json, standing: Standing
    ) -> float | None:
        """None when the status is written or right; else seconds until it may be tried."""
        current, now = unpacked(node.seen).get("status", {}), stamp(self._clock.now())
        ready = ready_of(standing, report, current, now)
        patch = status_patch(current, report, ready, now=now)
        if patch is None:
            return None
        mark, moment = _mark(patch), self._clock.monotonic()
        if (wait := node.status.again_in(mark, moment)) > 0:
            return wait
        try:
            await self._patch_status(name, patch)
        except KubeRefused as refused:
            if refused.status not in (400, 422):
                raise
            log.error("the node's report was refused", node=name, error=str(refused))
            patch = status_patch(current, {}, ready, now=now)
            if patch:
                await self._patch_status(name, patch)
        node.status = Wrote(mark, moment)
        for event in said_by(name, current, patch) if patch else ():
            self._say(name, *event)
        return None

    async def _patch_status(self, name: str, patch: Json) -> None:
        """What the server makes of it comes with the watch."""
        await self._kube.patch(
            *(NODES, "", name, patch), subresource="status", patch_type="strategic"
        )

    async def _refuse(self, name: str, node: NodeRecord) -> None:
        if not node.taken:
            node.taken = True
            log.error("the node name belongs to another kubelet; not taken over", node=name)
            await self._say_taken(name)

    async def _say_taken(self, name: str) -> None:
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


def unpacked(packed: bytes) -> Json:
    return codec.decode(packed) if packed else {}


def _mark(patch: Json) -> int:
    """The same for patches that differ in their times alone."""
    status = patch["status"]
    rows = [
        {key: value for key, value in row.items() if not key.endswith("Time")}
        for row in status.get("conditions", ())
    ]
    return hash(codec.pack({**status, "conditions": rows}))
