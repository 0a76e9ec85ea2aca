"""What is said of a pod's deletion, and how urgent a changed status is: what people wait for goes
at once, the rest waits for company.

Pure. A pod's life should cost few messages: "still creating" seldom matters, because "running"
follows within the second.
"""

from __future__ import annotations

from shared.objects import Json

AT_ONCE = 0.02
SOON = 1.0
"""Seconds that a change may wait for others to join it."""
BEGINNING = 3.0
"""The same while nothing runs and nothing is wrong: longer than most pods take to start."""
_BEGINS = ("ContainerCreating", "PodInitializing")


def acknowledged(status: Json, *, deleting: bool) -> Json:
    """The status of a pod whose deletion is known here. The API server counts a deletion as a
    generation, and the pod on the device is of the one before: its spec is the same."""
    generation = status.get("observedGeneration")
    return {**status, "observedGeneration": generation + 1} if deleting and generation else status


def within(before: Json | None, after: Json, *, deleting: bool, finished: bool) -> float:
    """Of a deletion people wait for the end; what comes before may share its message."""
    if finished:
        return AT_ONCE
    if not deleting and _begins(after):
        return BEGINNING
    if deleting or after.get("phase") == "Pending" or _gist(before) == _gist(after):
        return SOON
    return AT_ONCE


def _begins(status: Json) -> bool:
    containers = [
        *status.get("initContainerStatuses", ()),
        *status.get("containerStatuses", ()),
    ]
    waiting = [(one["state"].get("waiting") or {}).get("reason") for one in containers]
    undisturbed = status.get("phase") == "Pending" and "reason" not in status
    return undisturbed and bool(waiting) and all(reason in _BEGINS for reason in waiting)


def _gist(status: Json | None) -> object:
    if status is None:
        return None
    ready = [one["status"] for one in status.get("conditions", ()) if one["type"] == "Ready"]
    restarts = [one["restartCount"] for one in status.get("containerStatuses", ())]
    states = [sorted(one["state"]) for one in status.get("containerStatuses", ())]
    return status.get("phase"), ready, restarts, states
