"""v1.ContainerStatus of each container, as a kubelet would report it. Pure.

Owns the mapping of facts, back-offs and troubles to state, lastState and waiting reasons. Of the
mounts only that is said which the hub cannot tell from the spec. The other parts of a pod's status
(phase, conditions) are computed from these.
"""

from __future__ import annotations

from edgeagent.pods.materials.sandboxes import handler_of
from edgeagent.pods.model import specs, stamps
from edgeagent.pods.model.causes import Cause
from edgeagent.pods.model.durations import go_duration
from edgeagent.pods.model.facts import ContainerFacts, Termination
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.model.view import Moment, PodView, Trouble, Wanted
from edgeagent.pods.resources import amounts
from edgeagent.pods.rules import restarting
from edgeagent.pods.volumes import recursive
from shared.objects import Json

_LAST_WORDS = 12 * 1024
"""Bytes of all containers' termination messages together; each has its part."""
_ALL_ANEW = "The container is removed because RestartAllContainers in place"
"""In a kubelet's words, though here it is kept until it begins anew."""


def container_statuses(view: PodView, containers: list[Json], now: Moment) -> list[Json]:
    return [_status(view, container, now) for container in containers]


def _status(view: PodView, container: Json, now: Moment) -> Json:
    name = container["name"]
    known = view.facts.container(name)
    state = _state(view, container, now)
    status: Json = {
        "name": name,
        "state": state,
        "lastState": _last_state(view, known, state),
        "ready": _is_ready(view, container, state),
        "restartCount": known.attempt if known else 0,
        "image": (known.image if known else "") or container.get("image", ""),
        "imageID": known.image_id if known else "",
    }
    if not any(container is one for one in specs.ephemerals(view.pod)):
        status["started"] = "running" in state and known is not None and known.started
    if mounts := recursive.unforeseen(view.pod, container, _node_of(view)):
        status["volumeMounts"] = mounts
    if known is not None:
        status["containerID"] = f"{view.node.runtime_name}://{known.id}"
        if known.user:
            status["user"] = {"linux": known.user}
        if known.stop_signal and specs.stop_signal(container):
            status["stopSignal"] = known.stop_signal
        given = known.resources if "running" in state else container.get("resources") or {}
        status.update(_resources(view.pod, container, given))
    return status


def _node_of(view: PodView) -> NodeFacts:
    """As it is for the containers of the pod's sandbox."""
    sandbox = view.sandbox or next(iter(view.sandboxes), None)
    if sandbox is None:
        return view.node
    return view.node.bound(specs.runtime_class(view.pod), handler_of(sandbox))


def _state(view: PodView, container: Json, now: Moment) -> Json:
    known = view.facts.container(container["name"])
    trouble = _trouble(view, container["name"])
    if known is not None and known.ended is None:
        if f"start/{container['name']}" in view.live.slots and not view.stops:
            return _not_yet(view)
        if trouble and view.live.unhealthy.get(known.id) is Cause.HOOK and not view.stops:
            return _waiting(trouble)
        return {"running": {"startedAt": stamps.of_nanoseconds(known.started_at)}}
    if known is not None and known.ended is not None:
        if not view.stops and restarting.restarts(view.pod, container, known):
            return _restarting(view, container, known, now=now)
        return {"terminated": _terminated(view, known.ended)}
    # Of a pod that is deleted nobody waits for it any more, as on a kubelet.
    if trouble is None or view.wanted is Wanted.DELETE:
        return _not_yet(view)
    return _waiting(trouble)


def _restarting(view: PodView, container: Json, known: ContainerFacts, *, now: Moment) -> Json:
    assert known.ended is not None
    trouble = _trouble(view, container["name"])
    if view.facts.restarting_all:
        return {"waiting": {"reason": "RestartingAllContainers", "message": _ALL_ANEW}}
    if known.killed is Cause.ALL:
        return _waiting(trouble) if trouble else _not_yet(view)
    if restarting.due_at(view, container, known, now.monotonic) > now.monotonic:
        return {"waiting": {"reason": "CrashLoopBackOff", "message": _back_off(view, known)}}
    if trouble is not None:
        return _waiting(trouble)
    return {"terminated": _terminated(view, known.ended)}


def _back_off(view: PodView, known: ContainerFacts) -> str:
    name = next(name for name, one in view.facts.containers.items() if one is known)
    wait = go_duration(known.backoff)
    pod = specs.title(view.pod)
    return f"back-off {wait} restarting failed container={name} pod={pod}"


def _trouble(view: PodView, name: str) -> Trouble | None:
    troubles = view.live.troubles
    shown = (troubles.get(f"{slot}/{name}") for slot in ("start", "image"))
    return next((trouble for trouble in shown if trouble and trouble.reason), None)


def _waiting(trouble: Trouble) -> Json:
    return {"waiting": {"reason": trouble.reason, "message": trouble.message}}


def _not_yet(view: PodView) -> Json:
    reason = "PodInitializing" if specs.inits(view.pod) else "ContainerCreating"
    return {"waiting": {"reason": reason}}


def _last_state(view: PodView, known: ContainerFacts | None, state: Json) -> Json:
    """What is not in ``state``: the end before a wait, or the end of the container before."""
    if known is None:
        return {}
    last = known.ended if known.ended and "waiting" in state else known.previous
    return {"terminated": _terminated(view, last)} if last else {}


def _terminated(view: PodView, ended: Termination) -> Json:
    state: Json = {
        "exitCode": ended.exit_code,
        "reason": ended.reason,
        "startedAt": stamps.of_nanoseconds(ended.started_at) or _never_started(ended),
        "finishedAt": stamps.of_nanoseconds(ended.finished_at),
    }
    if ended.message:
        state["message"] = _share_of(ended.message, view.pod)
    if ended.container_id:
        state["containerID"] = f"{view.node.runtime_name}://{ended.container_id}"
    return state


def _share_of(message: str, pod: Json) -> str:
    most = _LAST_WORDS // sum(1 for _ in specs.every_container(pod))
    return message.encode()[:most].decode(errors="ignore")


def _never_started(ended: Termination) -> str | None:
    """Of a container that could not be started a kubelet gives this time; of a lost one, none."""
    return stamps.of_seconds(0) if ended.finished_at else None


def _is_ready(view: PodView, container: Json, state: Json) -> bool:
    known = view.facts.container(container["name"])
    if any(container is one for one in specs.inits(view.pod)) and not specs.is_sidecar(container):
        ended = known.ended if known else None
        return "terminated" in state and ended is not None and not ended.failed_to_initialize
    if any(container is one for one in specs.ephemerals(view.pod)):
        return False
    return "running" in state and known is not None and known.ready


def _resources(pod: Json, container: Json, given: Json) -> Json:
    """What a running container has and another would get, and what it was granted.

    They differ while a resize is carried out; nothing when nothing was asked for. What it has of a
    pod that asks as a whole is not said of a container that asks for nothing of the kind.
    """
    own = container.get("resources") or {}
    shown = own if amounts.asks_as_a_whole(pod) else given
    resources = {kind: given[kind] for kind in ("limits", "requests") if given.get(kind)}
    resources = {kind: found for kind, found in resources.items() if kind in shown}
    if not resources:
        return {}
    granted = own.get("requests")
    return {"resources": resources, **({"allocatedResources": granted} if granted else {})}
