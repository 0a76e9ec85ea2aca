"""What must be written so that a pod's status in the API says what its device reported. Pure.

A strategic merge patch with the least in it, or None. The report is hostile: only the fields that
a node owns are taken from it, and of the conditions only the node's own; scheduler, readiness gates
(``readiness.py``) and eviction keep theirs. Fields that the report has no more are removed. A
finished phase is never taken back. Conditions stand in a kubelet's order and carry the generation
that they were made of, and containers that are there have ``resources``, be they empty; these are
added here and cost nothing on the link. While the node is away its pods are not called ready again:
that they are not was written by Kubernetes itself. Called by ``reporting.py``.
"""

from __future__ import annotations

from typing import Any

from cloudhub.reporting.readiness import by_type
from shared.objects import Json

OWNED = (
    *("phase", "reason", "message", "startTime", "observedGeneration", "resize"),
    *("hostIP", "hostIPs", "podIP", "podIPs", "resources", "allocatedResources"),
    *("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"),
)
CONTAINERS = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
MERGED_BY_KEY = ("hostIPs", "podIPs")
"""Lists that a strategic patch would merge instead of replacing."""
CONDITIONS = (
    *("PodResizePending", "PodResizeInProgress"),
    *("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"),
    *("AllContainersRestarting", "kubetide.io/UpdateHeld"),
)
"""Conditions that are the node's, in order: set, and removed when the report has them no more."""
ADDED_CONDITIONS = ("DisruptionTarget",)
"""Others may set them too: never removed."""
SCHEDULED = "PodScheduled"
"""The scheduler's, and of mirror pods, which no scheduler sees, the node's."""
PHASES = frozenset({"Pending", "Running", "Succeeded", "Failed", "Unknown"})
FINISHED = frozenset({"Succeeded", "Failed"})


def runs_again(current: Json, report: Json) -> bool:
    """Whether a device has taken up a pod that had finished: it has lost what it knew."""
    phase = report.get("phase")
    unfinished = isinstance(phase, str) and phase in PHASES - FINISHED
    return unfinished and current.get("phase") in FINISHED


def status_patch(current: Json, report: Json, *, online: bool, mirror: bool = False) -> Json | None:
    """``current`` and ``report`` are statuses; answers the ``status`` part of a patch.

    No scheduler has seen a ``mirror`` pod: that it has its place is said here.
    """
    phase = report.get("phase")
    if not isinstance(phase, str) or phase not in PHASES:
        return None
    if current.get("phase") in FINISHED and phase != current["phase"]:
        return None
    before, after = bare(current), bare(report)
    patch = {
        name: _field(name, after.get(name), new=name not in before)
        for name in _differing(before, after)
    }
    there, generation = by_type(before), after.get("observedGeneration")
    conditions = _conditions(there, _observed(by_type(after), generation), online=online)
    if mirror and SCHEDULED not in there:
        conditions.append(_scheduled(after))
    if conditions:
        patch["conditions"] = conditions
        patch["$setElementOrder/conditions"] = _order(there, conditions)
    return patch or None


def bare(value: Any) -> Any:
    """Without what JSON of the API leaves out or fills in: null, empty texts, lists and maps."""
    if isinstance(value, dict):
        parts = {name: bare(part) for name, part in value.items()}
        return {name: part for name, part in parts.items() if part not in (None, "", [], {})}
    return [bare(part) for part in value] if isinstance(value, list) else value


def _differing(before: Json, after: Json) -> list[str]:
    return [name for name in OWNED if before.get(name) != after.get(name)]


def _field(name: str, value: Any, *, new: bool) -> Any:
    """Where there is nothing to replace, older API servers store the directive itself."""
    if name in CONTAINERS and isinstance(value, list):
        value = [_resizable(one) for one in value]
    if new:
        return value
    if isinstance(value, dict):
        return {**value, "$patch": "replace"}
    if name in MERGED_BY_KEY and isinstance(value, list):
        return [*value, {"$patch": "replace"}]
    return value


def _resizable(container: Any) -> Any:
    """Where what runs has none, an API server takes its node for one that cannot resize pods."""
    is_there = isinstance(container, dict) and container.get("containerID")
    return {"resources": {}, **container} if is_there else container


def _observed(conditions: dict[str, Json], generation: Any) -> dict[str, Json]:
    """As on a kubelet: of the generation that the whole status is of; a resize says its own."""
    if not isinstance(generation, int):
        return conditions
    return {kind: {"observedGeneration": generation, **row} for kind, row in conditions.items()}


def _order(there: dict[str, Json], patched: list[Json]) -> list[Json]:
    """Those of the node as a kubelet lists them, those of others as they stood, after them."""
    left = {*there, *(row["type"] for row in patched)}
    gone = {row["type"] for row in patched if row.get("$patch") == "delete"}
    own = [kind for kind in CONDITIONS if kind in left]
    others = [
        kind for kind in (*there, *ADDED_CONDITIONS, SCHEDULED) if kind in left and kind not in own
    ]
    return [{"type": kind} for kind in dict.fromkeys((*own, *others)) if kind not in gone]


def _scheduled(after: Json) -> Json:
    since = {"lastTransitionTime": after["startTime"]} if after.get("startTime") else {}
    return {"type": SCHEDULED, "status": "True", **since}


def _conditions(before: dict[str, Json], after: dict[str, Json], *, online: bool) -> list[Json]:
    rows = []
    for kind in (*CONDITIONS, *ADDED_CONDITIONS):
        old, new = before.get(kind), after.get(kind)
        if old == new or (new is None and kind in ADDED_CONDITIONS):
            continue
        if new is None:
            rows.append({"type": kind, "$patch": "delete"})
        elif not (kind == "Ready" and not online and new.get("status") == "True"):
            # Whatever was seen of it: a patch of ours may have given it words since.
            words: Json = dict.fromkeys(("reason", "message", *old)) if old else {}
            rows.append(words | new)
    return rows
