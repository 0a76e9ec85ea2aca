"""status.phase from the container statuses, by the kubelet's rules. Pure."""

from __future__ import annotations

from edgeagent.pods.model import specs
from edgeagent.pods.model.facts import OUT_OF_MEMORY
from shared.objects import Json


def phase_of(pod: Json, statuses: dict[str, Json], *, initialized: bool, terminal: bool) -> str:
    """``initialized``: one of the containers began in this sandbox, so that a sidecar which has not
    started is one that is restarted; ``terminal``: everything has ended and nothing will be started
    again.

    Before that a pod is never called finished, though all its containers have ended: what they
    ended with decides nothing while one may start again, or a sidecar still runs.
    """
    began = any(has_begun(statuses[one["name"]]) for one in specs.mains(pod))
    inits = [
        _init(statuses[one["name"]], began=began)
        for one in specs.inits(pod)
        if not specs.is_sidecar(one)
    ]
    mains = [_main(statuses[one["name"]]) for one in specs.mains(pod)]
    if terminal:
        succeeded = "failed" not in inits and all(one == "succeeded" for one in mains)
        return "Succeeded" if succeeded else "Failed"
    sidecars = [_sidecar(statuses[one["name"]]) for one in specs.sidecars(pod)]
    initializing = "pending" in inits or ("pending" in sidecars and not initialized)
    return "Pending" if initializing or "waiting" in mains else "Running"


def _init(status: Json, *, began: bool) -> str:
    state = status["state"]
    ended = state.get("terminated") or status["lastState"].get("terminated")
    if "running" in state or ended is None:
        return "pending"
    # Where containers have begun, it has let them: with an agent that went by the code alone.
    failed = ended["exitCode"] or (ended["reason"] == OUT_OF_MEMORY and not began)
    return "failed" if failed else "done"


def _sidecar(status: Json) -> str:
    if "running" in status["state"]:
        return "running" if status["started"] else "pending"
    return "ended" if has_begun(status) else "pending"


def _main(status: Json) -> str:
    state = status["state"]
    if "running" in state:
        return "running"
    ended = state.get("terminated") or status["lastState"].get("terminated")
    if ended is None:
        return "waiting"
    return "failed" if ended["exitCode"] else "succeeded"


def has_begun(status: Json) -> bool:
    """Whether a container of that name was ever started, by its status."""
    return "waiting" not in status["state"] or bool(status["lastState"])
