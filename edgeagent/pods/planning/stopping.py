"""Planning for a pod that stops as a whole: containers first, sidecars after them in reverse.

Owns the order of stopping and the sharing of the grace period, which is one for the whole pod:
preStop hooks run at once, sidecars are stopped in their turn, and when the grace period is over
whatever still runs is stopped together. Called by ``planner.py`` only: for a pod that
ends, after a legitimate cause was recorded in the facts, and for one that stops with its device.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeagent.pods.model import specs
from edgeagent.pods.model.actions import (
    EnsureImage,
    ResizeContainer,
    ResizePod,
    RunPreStop,
    StartContainer,
)
from edgeagent.pods.model.causes import Cause
from edgeagent.pods.model.view import PodView
from edgeagent.pods.planning.draft import Draft
from edgeagent.runtime.port import Container

_STARTING = (EnsureImage, ResizeContainer, ResizePod)


@dataclass(frozen=True, slots=True)
class _Stop:
    since: float
    grace: int
    cause: Cause

    @property
    def end(self) -> float:
        return self.since + self.grace


def stop(draft: Draft) -> None:
    stopping = draft.view.facts.stopping
    assert stopping is not None
    _stop_all(draft, _Stop(draft.view.live.stopping_since, stopping.grace, Cause.POD))


def halt(draft: Draft) -> None:
    """The device goes down, and the pod runs again at its next boot."""
    shutdown = draft.view.live.shutdown
    assert shutdown is not None and shutdown.grace is not None
    grace = min(specs.grace_of(draft.view.pod), shutdown.grace)
    _stop_all(draft, _Stop(shutdown.since, grace, Cause.SHUTDOWN))


def _stop_all(draft: Draft, stop: _Stop) -> None:
    give_up_starting(draft)
    running = draft.view.running()
    for one in running:
        if draft.now.monotonic >= stop.end:
            _stop(draft, one, stop)
            continue
        draft.at(stop.end)
        if not _is_its_turn(draft.view, one, running):
            _run_hook(draft, one, stop.end)
        elif not draft.busy(f"prestop/{one.id}"):
            _stop(draft, one, stop)


def _stop(draft: Draft, one: Container, stop: _Stop) -> None:
    hook = one.id not in draft.view.live.hooked and not draft.busy(f"prestop/{one.id}")
    draft.stop(one, since=stop.since, grace=stop.grace, cause=stop.cause, hook=hook)


def _run_hook(draft: Draft, one: Container, end: float) -> None:
    spec = specs.container_named(draft.view.pod, one.name) or {}
    waits = (spec.get("lifecycle") or {}).get("preStop")
    if waits and one.id not in draft.view.live.hooked:
        draft.act(RunPreStop(one.name, one.id, end))


def give_up_starting(draft: Draft) -> None:
    """A pull may take hours, and so may a hook. Files, a create, a start take no time and are
    waited for."""
    for action in draft.view.live.under_way:
        in_hook = isinstance(action, StartContainer) and draft.view.is_in_hook(action)
        if in_hook or isinstance(action, _STARTING):
            draft.abandon.append(action)


def _is_its_turn(view: PodView, one: Container, running: list[Container]) -> bool:
    """A sidecar waits for the containers, and for the sidecars that were started after it; for
    debug containers and ordinary init containers it does not."""
    sidecars = [container["name"] for container in specs.sidecars(view.pod)]
    if one.name not in sidecars:
        return True
    later = sidecars[sidecars.index(one.name) + 1 :]
    before_it = {*later, *(container["name"] for container in specs.mains(view.pod))}
    return not any(other.name in before_it for other in running)
