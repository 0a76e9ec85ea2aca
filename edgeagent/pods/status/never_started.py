"""What a pod that has ended says of containers that were never started. Pure.

They would wait for ever. Terminated, as if their end had not been seen, are those whose turn had
come: the containers of a pod that was initialized once, and the init containers up to the last one
that was started, but always the first. The others go on waiting, as with a kubelet. Called by
``podstatus.py`` for the last status only; phase and conditions are decided without it.
"""

from __future__ import annotations

from edgeagent.pods.model import specs
from edgeagent.pods.model.facts import LOST_CODE, LOST_REASON
from edgeagent.pods.model.view import PodView
from edgeagent.pods.status.phases import has_begun
from shared.objects import Json

_MESSAGE = "The container could not be located when the pod was terminated"


def settled(view: PodView, inits: list[Json], mains: list[Json]) -> tuple[list[Json], list[Json]]:
    """Of the statuses of init containers and containers, the last ones."""
    started = [at for at, one in enumerate(inits) if has_begun(one)]
    reached = max(started, default=0) + 1
    initialized = _was_initialized(view, inits, mains)
    return (
        [_terminated(one) if at < reached else one for at, one in enumerate(inits)],
        [_terminated(one) if initialized else one for one in mains],
    )


def _was_initialized(view: PodView, inits: list[Json], mains: list[Json]) -> bool:
    if not inits or any(map(has_begun, mains)):
        return True
    last, status = specs.inits(view.pod)[-1], inits[-1]
    if specs.is_sidecar(last):
        known = view.facts.container(last["name"])
        unprobed = "startupProbe" not in last
        return known is not None and view.live.startup.get(known.id, unprobed)
    ends = (status[which].get("terminated") for which in ("state", "lastState"))
    return any(one is not None and one["exitCode"] == 0 for one in ends)


def _terminated(status: Json) -> Json:
    if "terminated" in status["state"]:
        return status
    ended = {
        "exitCode": LOST_CODE,
        "reason": LOST_REASON,
        "message": _MESSAGE,
        "startedAt": None,
        "finishedAt": None,
    }
    return {**status, "state": {"terminated": ended}}
