"""The pod conditions that a kubelet owns, with their reasons and transition times. Pure.

PodScheduled is the scheduler's and is never reported. What readiness gates stand for is written
into the API by others: the hub makes Ready of it. A transition time changes when the status of a
condition changes and at no other time; it is kept in the facts, across agents.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgeagent.pods.model import specs, stamps
from edgeagent.pods.model.facts import Condition, PodFacts
from edgeagent.pods.model.view import Moment, PodView
from edgeagent.pods.rules import holding, resizing, restarting
from edgeagent.pods.rules.resizing import IN_PROGRESS, PENDING
from edgeagent.pods.status.phases import has_begun
from shared.objects import Json

Verdict = tuple[bool, str, str]
"""Status, reason, message."""

_ORDER = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")
RESTARTING = "AllContainersRestarting"
"""Only of a pod that has a rule for it."""
DISRUPTED = "DisruptionTarget"
"""There only when it is true."""


def verdicts(view: PodView, statuses: Mapping[str, Json], phase: str) -> dict[str, Verdict]:
    stopping = view.facts.stopping
    # What will be Failed is not ready from then on; what is deleted says how ready it is.
    decided = "Failed" if stopping is not None and stopping.phase == "Failed" else phase
    containers_ready = _containers_ready(view.pod, statuses, decided)
    disrupted: dict[str, Verdict] = {}
    if stopping is not None and stopping.disruption and phase in ("Succeeded", "Failed"):
        words = stopping.condition or stopping.message
        disrupted = {DISRUPTED: (True, "TerminationByKubelet", words)}
    on_hold = view.facts.on_hold
    held: dict[str, Verdict] = {}
    if on_hold:
        held = {holding.CONDITION: (True, holding.reason(on_hold), holding.message(on_hold))}
    restarts: dict[str, Verdict] = {}
    if restarting.may_restart_all(view.pod):
        restarts = {RESTARTING: _restarting_all(view, phase)}
    return {
        **disrupted,
        **restarts,
        **_resize(view),
        **held,
        "PodReadyToStartContainers": (_has_network(view, phase), "", ""),
        "Initialized": _initialized(view, statuses, phase),
        "Ready": containers_ready,
        "ContainersReady": containers_ready,
    }


def tracked(
    before: Mapping[str, Condition], found: Mapping[str, Verdict], now: Moment
) -> dict[str, Condition]:
    """The conditions with the times of their last transitions."""
    after = {}
    for name, (status, _, _) in found.items():
        known = before.get(name)
        same = known is not None and known.status == status
        after[name] = known if known and same else Condition(status, int(now.wall))
    return after


def _restarting_all(view: PodView, phase: str) -> Verdict:
    if phase in ("Succeeded", "Failed"):
        return False, "PodCompleted" if phase == "Succeeded" else "PodFailed", ""
    if view.facts.restarting_all and not view.stops:
        return True, "RestartAllContainersStarted", "container exited with restart policy rule"
    return False, "", ""


def _resize(view: PodView) -> dict[str, Verdict]:
    """Of a pod that stops, nobody asks any more."""
    facts = view.facts
    if facts.stopping is not None:
        return {}
    found: dict[str, Verdict] = {}
    if facts.resize is not None:
        found[PENDING] = (True, facts.resize.reason, facts.resize.message)
    if facts.resizing:
        why = resizing.trouble(view)
        found[IN_PROGRESS] = (True, "Error" if why else "", why)
    return found


def as_json(
    found: Mapping[str, Verdict], times: Mapping[str, Condition], facts: PodFacts
) -> list[Json]:
    """Conditions of a resize name the generation that asked for it; the others get the pod's."""
    generations = {PENDING: facts.resize.generation if facts.resize else 0}
    generations[IN_PROGRESS] = facts.resizing
    listed = []
    for name in (DISRUPTED, PENDING, IN_PROGRESS, *_ORDER, RESTARTING, holding.CONDITION):
        if name not in found:
            continue
        status, reason, message = found[name]
        condition: Json = {
            "type": name,
            "status": "True" if status else "False",
            "lastProbeTime": None,
            "lastTransitionTime": stamps.of_seconds(times[name].since),
        }
        if reason:
            condition["reason"] = reason
        if message:
            condition["message"] = message
        if generation := generations.get(name):
            condition["observedGeneration"] = generation
        listed.append(condition)
    return listed


def _has_network(view: PodView, phase: str) -> bool:
    sandbox = view.sandbox
    if sandbox is None or phase in ("Succeeded", "Failed"):
        return False
    return bool(sandbox.ips) or specs.on_host_network(view.pod)


def _initialized(view: PodView, statuses: Mapping[str, Json], phase: str) -> Verdict:
    """Once it was true it stays so, also while init containers run again: in a new sandbox, or
    because all containers begin anew."""
    if phase == "Succeeded":
        return True, "PodCompleted", ""
    pod, before = view.pod, view.facts.conditions.get("Initialized")
    incomplete = [
        one["name"]
        for one in specs.inits(pod)
        if not statuses[one["name"]]["started" if specs.is_sidecar(one) else "ready"]
    ]
    began = any(has_begun(statuses[one["name"]]) for one in specs.mains(pod))
    if not incomplete or began or (before is not None and before.status):
        return True, "", ""
    message = f"containers with incomplete status: {_list(incomplete)}"
    return False, "ContainersNotInitialized", message


def _containers_ready(pod: Json, statuses: Mapping[str, Json], phase: str) -> Verdict:
    if phase in ("Succeeded", "Failed"):
        return False, "PodCompleted" if phase == "Succeeded" else "PodFailed", ""
    counted = [*specs.sidecars(pod), *specs.mains(pod)]
    unready = [one["name"] for one in counted if not statuses[one["name"]]["ready"]]
    if not unready:
        return True, "", ""
    return False, "ContainersNotReady", f"containers with unready status: {_list(unready)}"


def _list(names: list[str]) -> str:
    return f"[{' '.join(names)}]"
