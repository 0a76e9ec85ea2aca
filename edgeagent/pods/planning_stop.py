"""Planning for a pod that stops as a whole: containers first, sidecars after them in reverse.

Owns the order of stopping and the sharing of the grace period, which is one for the whole pod:
preStop hooks run at once, sidecars are stopped in their turn, and when the grace period is over
whatever still runs is stopped together. Called by ``planning.plan`` only, and only after a
legitimate cause was recorded in the facts.
"""

from __future__ import annotations

from edgeagent.pods import specs
from edgeagent.pods.actions import EnsureImage, ResizeContainer, RunPreStop, StartContainer
from edgeagent.pods.draft import Draft
from edgeagent.pods.view import PodView
from edgeagent.runtime.port import Container

_STARTING = (EnsureImage, ResizeContainer)


def stop(draft: Draft) -> None:
    _give_up_starting(draft)
    stopping = draft.view.facts.stopping
    assert stopping is not None
    end = draft.view.live.stopping_since + stopping.grace
    running = draft.view.running()
    for one in running:
        if draft.now.monotonic >= end:
            _stop(draft, one, grace=stopping.grace)
            continue
        draft.at(end)
        if not _is_its_turn(draft.view, one, running):
            _run_hook(draft, one, end)
        elif not draft.busy(f"prestop/{one.id}"):
            _stop(draft, one, grace=stopping.grace)


def _stop(draft: Draft, one: Container, *, grace: int) -> None:
    hook = one.id not in draft.view.live.hooked and not draft.busy(f"prestop/{one.id}")
    since = draft.view.live.stopping_since
    draft.stop(one, since=since, grace=grace, cause="pod", hook=hook)


def _run_hook(draft: Draft, one: Container, end: float) -> None:
    spec = specs.container_named(draft.view.pod, one.name) or {}
    waits = (spec.get("lifecycle") or {}).get("preStop")
    if waits and one.id not in draft.view.live.hooked:
        draft.act(RunPreStop(one.name, one.id, end))


def _give_up_starting(draft: Draft) -> None:
    """A pull may take hours. Files, a create, a start take no time and are waited for; of a start
    whose container runs already, only the postStart hook is left."""
    running = {one.name for one in draft.view.running()}
    for action in draft.view.live.under_way:
        in_hook = isinstance(action, StartContainer) and action.name in running
        if in_hook or isinstance(action, _STARTING):
            draft.abandon.append(action)


def _is_its_turn(view: PodView, one: Container, running: list[Container]) -> bool:
    """A sidecar waits for all containers, and for the sidecars that were started after it."""
    order = {container["name"]: at for at, container in enumerate(specs.sidecars(view.pod))}
    if one.name not in order:
        return True
    after = len(order)
    return all(order.get(other.name, after) <= order[one.name] for other in running)
