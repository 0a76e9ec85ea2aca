"""In-place resize: how much of what a pod asks for anew the device grants it. Pure.

A pod goes by the resources that were allocated to it: those of the body in its facts. A body that
asks for others gets them if there is room; if not, the pod goes on with what it has, and says so
(condition PodResizePending: Deferred is asked again, Infeasible can never be). What is allocated
but not yet so in every container, and in the cgroup of the pod, is in progress. The words are a
kubelet's.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction

from edgeagent.pods.admission import refusals
from edgeagent.pods.model import specs
from edgeagent.pods.model.actions import ResizeContainer, ResizePod, StartContainer
from edgeagent.pods.model.causes import Cause
from edgeagent.pods.model.facts import ContainerFacts, PendingResize, PodFacts
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.model.podevents import PodEvent, normal, warning
from edgeagent.pods.model.view import PodView, Refusal
from edgeagent.pods.resources import amounts, kernel, quantities
from shared.objects import Json

PENDING, IN_PROGRESS = "PodResizePending", "PodResizeInProgress"
DEFERRED, INFEASIBLE = "Deferred", "Infeasible"
_RESIZABLE = ("cpu", "memory")
RETRY_SECONDS = 180.0
"""What is deferred is asked again so often; at once when something is given back."""


def resizable(pod: Json) -> list[Json]:
    return [*specs.mains(pod), *specs.inits(pod)]


def is_resized(pod: Json, spec: Json, known: ContainerFacts) -> bool:
    """Resources of ephemeral containers cannot be named, nor changed."""
    changed = known.resources != amounts.given(pod, spec)
    return changed and any(spec is one for one in resizable(pod))


def as_a_whole(pod: Json) -> Json:
    """What the pod asks for beside its containers."""
    return pod["spec"].get("resources") or {}


def differs(allocated: Json, asked: Json) -> bool:
    """Whether the pod as a whole, or a container that both have, asks for other resources."""
    if as_a_whole(allocated) != as_a_whole(asked):
        return True
    before = {one["name"]: one.get("resources") or {} for one in resizable(allocated)}
    return any(
        before.get(one["name"], asked_for) != asked_for
        for one in resizable(asked)
        for asked_for in (one.get("resources") or {},)
    )


def with_resources_of(allocated: Json, asked: Json) -> Json:
    """``asked`` in everything but the resources."""
    before = {one["name"]: one.get("resources") for one in resizable(allocated)}

    def kept(container: Json) -> Json:
        name = container["name"]
        return _sized(container, before[name]) if name in before else container

    spec = {**asked["spec"], "containers": [kept(one) for one in specs.mains(asked)]}
    if inits := specs.inits(asked):
        spec["initContainers"] = [kept(one) for one in inits]
    return {**asked, "spec": _sized(spec, allocated["spec"].get("resources"))}


def _sized(owner: Json, resources: Json | None) -> Json:
    others = {name: part for name, part in owner.items() if name != "resources"}
    return others if resources is None else {**others, "resources": resources}


def refusal(
    allocated: Json, asked: Json, others: Iterable[Json], node: NodeFacts
) -> Refusal | None:
    """Why the pod cannot have what it asks for, now or ever (``INFEASIBLE``). Nobody is refused
    asking for less."""
    try:
        had, wants = amounts.pod_requests(allocated), amounts.pod_requests(asked)
    except quantities.BadQuantity as error:
        return Refusal(INFEASIBLE, str(error))
    more = [
        name
        for name in _RESIZABLE
        if name in node.allocatable and wants.get(name, Fraction(0)) > had.get(name, Fraction(0))
    ]
    for name in more:
        if wants[name] > node.allocatable[name]:
            return Refusal(INFEASIBLE, _too_much(name, wants[name], node.allocatable[name]))
    used: Counter[str] = Counter()
    for other in others:
        used.update(amounts.pod_requests(other))
    for name in more:
        taken, room = Fraction(used[name]), node.allocatable[name]
        if wants[name] + taken > room:
            return refusals.out_of(name, wants[name], taken, capacity=room)
    return None


def _too_much(name: str, requested: Fraction, capacity: Fraction) -> str:
    shown = quantities.milli if name == "cpu" else quantities.whole
    return (
        f"Node didn't have enough capacity: {name}, requested: {shown(requested)},"
        f" capacity: {shown(capacity)}"
    )


def decided(facts: PodFacts, asked: Json, refused: Refusal | None) -> tuple[PodFacts, PodEvent]:
    """The facts after a resize was granted or refused, and the Event that says so."""
    generation = int(asked["metadata"].get("generation") or 0)
    if refused is None:
        return replace(facts, resize=None, resizing=max(generation, 1)), normal(
            "ResizeStarted", _words("started", asked)
        )
    reason = INFEASIBLE if refused.reason == INFEASIBLE else DEFERRED
    pending = PendingResize(reason, refused.message, generation)
    words = _words(refused.reason, asked, error=refused.message)
    if facts.resize is not None and facts.resize.reason != reason:
        # For this condition, another reason is a transition.
        kept = {name: one for name, one in facts.conditions.items() if name != PENDING}
        facts = replace(facts, conditions=kept)
    return replace(facts, resize=pending), warning(f"Resize{reason}", words)


def completed(pod: Json) -> PodEvent:
    return normal("ResizeCompleted", _words("completed", pod))


def failed(pod: Json, error: str) -> PodEvent:
    return warning("ResizeError", _words("error", pod, error=error))


def settled(view: PodView) -> PodFacts:
    """The facts, without a resize that has reached every container."""
    facts = view.facts
    if not _has_begun(view):
        facts = replace(facts, resources=as_a_whole(view.pod))
    in_progress = bool(_resized_containers(view)) or facts.resources != as_a_whole(view.pod)
    return facts if in_progress or not facts.resizing else replace(facts, resizing=0)


def only_the_pod_is_left(view: PodView) -> bool:
    """Whether the pod's cgroup must be brought in step: after its containers, that none of them
    ever has more than all together, and after a start that may still write what was before."""
    if view.facts.resources == as_a_whole(view.pod) or not _has_begun(view):
        return False
    return not _resized_containers(view) and not _is_being_started(view)


def _has_begun(view: PodView) -> bool:
    """Something runs, or is being started, that what the pod has as a whole was given for."""
    runs = any(one.ended is None for one in view.facts.containers.values())
    return runs or any(isinstance(one, StartContainer) for one in view.live.under_way)


def _is_being_started(view: PodView) -> bool:
    return any(view.is_starting(one) for one in view.live.under_way)


def _resized_containers(view: PodView) -> list[ContainerFacts]:
    """Those that have not yet got what is their own now."""
    found = []
    for spec in resizable(view.pod):
        known = view.facts.container(spec["name"])
        if known is None:
            continue
        to_be_restarted = known.ended is not None and known.killed is Cause.RESIZE
        if to_be_restarted or (known.ended is None and is_resized(view.pod, spec, known)):
            found.append(known)
    return found


def trouble(view: PodView) -> str:
    """Why the resize that is in progress does not go on; empty when nothing is in its way.

    What another container, or an earlier start of this one, did not get says nothing any more.
    """
    slots = [ResizeContainer("", one.id).slot for one in _resized_containers(view)]
    if view.facts.resources != as_a_whole(view.pod):
        slots.append(ResizePod().slot)
    troubles = view.live.troubles
    found = (troubles.get(slot) for slot in slots)
    return next((one.message for one in found if one is not None), "")


def gave_back(before: PodFacts, after: PodFacts) -> bool:
    """Whether a pod may have left room to others: it has ended, or has another size."""
    ended = after.final is not None and before.final is None
    return ended or (before.resizing != 0 and not after.resizing)


def precedence(facts: PodFacts) -> tuple[int, int, int]:
    """Of two pods that wait, the lower goes first: by priority, class, and how long it waits."""
    pod = facts.pod
    waits = facts.conditions.get(PENDING)
    quality = 0 if kernel.qos_class(pod) == "Guaranteed" else 1
    return -(pod["spec"].get("priority") or 0), quality, waits.since if waits else 0


def _words(what: str, pod: Json, *, error: str = "") -> str:
    def listed(containers: list[Json]) -> list[Json]:
        return [
            {"name": one["name"], "resources": one.get("resources") or {}} for one in containers
        ]

    summary: Json = {}
    if whole := as_a_whole(pod):
        summary["resources"] = whole
    if inits := specs.inits(pod):
        summary["initContainers"] = listed(inits)
    summary["containers"] = listed(specs.mains(pod))
    summary["generation"] = pod["metadata"].get("generation") or 0
    if error:
        summary["error"] = error
    return f"Pod resize {what}: {json.dumps(summary, separators=(',', ':'))}"
