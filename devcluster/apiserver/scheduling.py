"""The smallest scheduler: a waiting pod goes to the first ready node that it fits on.

"Fits" is nodeSelector, taints against tolerations, and ``unschedulable``; resources are not
counted. ``choose`` is pure; ``Scheduler`` runs it whenever a pod or a node changed, and says in
an Event what came of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from devcluster.apiserver.objects import Objects, Target
from devcluster.apiserver.resources import EVENTS, NODES, PODS
from devcluster.apiserver.stamps import micro_time_text, time_text
from devcluster.apiserver.status import ApiError, Json
from devcluster.apiserver.store import Change, Key
from devcluster.apiserver.subresources import bind, conditions_with, target_of

SCHEDULER = "default-scheduler"
_NONE_FITS = "0/{count} nodes are available: none is ready and fits this pod."


def choose(pod: Json, nodes: Sequence[Json]) -> str:
    """The name of the node for ``pod``, empty when there is none."""
    for node in nodes:
        if _is_ready(node) and _selects(pod, node) and _tolerates_all(pod, node):
            return str(node["metadata"]["name"])
    return ""


def _is_ready(node: Json) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or []
    return any(part.get("type") == "Ready" and part.get("status") == "True" for part in conditions)


def _selects(pod: Json, node: Json) -> bool:
    labels = node["metadata"].get("labels") or {}
    wanted = pod["spec"].get("nodeSelector") or {}
    return all(labels.get(key) == value for key, value in wanted.items())


def _tolerates_all(pod: Json, node: Json) -> bool:
    spec = node.get("spec") or {}
    taints = [taint for taint in spec.get("taints") or [] if taint["effect"] != "PreferNoSchedule"]
    if spec.get("unschedulable"):
        taints.append({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"})
    tolerations = pod["spec"].get("tolerations") or []
    return all(any(_tolerates(part, taint) for part in tolerations) for taint in taints)


def _tolerates(toleration: Json, taint: Json) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if toleration.get("operator") == "Exists":
        return True
    return bool(toleration.get("key")) and toleration.get("value", "") == taint.get("value", "")


class Scheduler:
    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._due = asyncio.Event()
        self._waiting: set[Key] = set()

    async def run(self) -> None:
        unlisten = self._objects.store.listen(self._changed)
        for pod in self._objects.store.list(PODS.storage):
            self._note(target_of(PODS, pod).key, pod)
        try:
            while True:
                await self._due.wait()
                self._due.clear()
                self._place_waiting()
        finally:
            unlisten()

    def _changed(self, change: Change) -> None:
        if change.key.storage == PODS.storage:
            self._note(change.key, change.after)
        elif change.key.storage == NODES.storage and self._waiting:
            self._due.set()

    def _note(self, key: Key, pod: Json | None) -> None:
        if pod is None or not _is_waiting(pod):
            self._waiting.discard(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._due.set()

    def _place_waiting(self) -> None:
        nodes = self._objects.store.list(NODES.storage)
        for key in sorted(self._waiting, key=lambda key: (key.namespace, key.name)):
            pod = self._objects.store.get(key)
            if pod is not None:
                self._place(pod, nodes)

    def _place(self, pod: Json, nodes: Sequence[Json]) -> None:
        target = target_of(PODS, pod)
        node = choose(pod, nodes)
        if node:
            bind(self._objects, target, node)
            words = f"Successfully assigned {target.namespace}/{target.name} to {node}"
            self._tell(pod, "Normal", "Scheduled", words, action="Binding")
            return
        known = {part.get("type"): part for part in pod["status"].get("conditions") or []}
        message = _NONE_FITS.format(count=len(nodes))
        if known.get("PodScheduled", {}).get("message") == message:
            return
        unschedulable = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastProbeTime": None,
            "lastTransitionTime": time_text(self._objects.clock.now()),
        }
        status = {**pod["status"], "conditions": conditions_with(pod, unschedulable)}
        self._objects.rewrite(target, {**pod, "status": status})
        self._tell(pod, "Warning", "FailedScheduling", message, action="Scheduling")

    def _tell(self, pod: Json, kind: str, reason: str, message: str, *, action: str) -> None:
        """As the real scheduler does: an Event of the newer form, with ``eventTime`` alone."""
        now, metadata = self._objects.clock.now(), pod["metadata"]
        name = f"{metadata['name']}.{int(now * 1e9):x}"
        about = {"apiVersion": "v1", "kind": "Pod", "namespace": metadata["namespace"]}
        event = {
            "metadata": {"name": name, "namespace": metadata["namespace"]},
            "involvedObject": {**about, "name": metadata["name"], "uid": metadata["uid"]},
            "type": kind,
            "reason": reason,
            "message": message,
            "action": action,
            "eventTime": micro_time_text(now),
            "reportingComponent": SCHEDULER,
            "reportingInstance": SCHEDULER,
        }
        with suppress(ApiError):  # The namespace may be going.
            self._objects.create(Target(EVENTS, metadata["namespace"], name), event)


def _is_waiting(pod: Json) -> bool:
    spec, metadata = pod["spec"], pod["metadata"]
    mine = spec.get("schedulerName", SCHEDULER) == SCHEDULER
    idle = not metadata.get("deletionTimestamp") and not spec.get("schedulingGates")
    return mine and idle and not spec.get("nodeName")
