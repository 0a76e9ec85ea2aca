"""Events that follow from a plan rather than from an action. Pure.

Owns the words for back-off, deadline, refusal and the stop of a pod; what actions tell is in
``acting/``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from edgeagent.pods.model import specs
from edgeagent.pods.model.facts import PodFacts
from edgeagent.pods.model.podevents import PodEvent, normal, warning
from edgeagent.pods.rules import resizing
from edgeagent.runtime.port import Container
from shared.objects import Json

_EVICTED = ("Evicted", "Preempting")
_STATUSES = ("containerStatuses", "initContainerStatuses")


def decisions(pod: Json, before: PodFacts, after: PodFacts) -> Iterator[PodEvent]:
    """What was decided about the pod as a whole."""
    stopping = after.stopping
    if stopping and before.stopping is None and stopping.reason and after.admitted:
        kind = warning if stopping.reason in _EVICTED else normal
        yield kind(stopping.reason, stopping.message)
    if before.resizing and not after.resizing and stopping is None:
        yield resizing.completed(pod)
    refused = after.final is not None and before.final is None and not after.admitted
    if refused and stopping and stopping.reason:
        yield warning(stopping.reason, stopping.message)


def stops(pod: Json, running: Iterable[Container]) -> Iterator[tuple[str, PodEvent]]:
    """Of a pod that stops: the id of each container, and the Event that says so at once, also of
    a sidecar whose turn comes later."""
    for one in running:
        path = specs.field_path(pod, one.name)
        yield one.id, normal("Killing", f"Stopping container {one.name}", field_path=path)


def back_offs(pod: Json, status: Json) -> Iterator[tuple[str, PodEvent]]:
    """The id of each container that is waited for, and the Event that says so."""
    for status_of_one in (one for group in _STATUSES for one in status.get(group, ())):
        waiting = status_of_one["state"].get("waiting", {})
        if waiting.get("reason") == "CrashLoopBackOff":
            name = status_of_one["name"]
            words = f"Back-off restarting failed container {name} in pod {specs.title(pod)}"
            path = specs.field_path(pod, name)
            yield status_of_one["containerID"], warning("BackOff", words, field_path=path)
