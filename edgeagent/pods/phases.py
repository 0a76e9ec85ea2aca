"""status.phase from the container statuses, by the kubelet's rules. Pure."""

from __future__ import annotations

from collections import Counter

from edgeagent.pods import specs
from shared.objects import Json


def phase_of(pod: Json, statuses: dict[str, Json], *, terminal: bool) -> str:
    """``terminal``: everything has ended and nothing will be started again."""
    policy = specs.restart_policy(pod)
    inits = [_init(statuses[one["name"]]) for one in specs.inits(pod) if not specs.is_sidecar(one)]
    if "failed" in inits and (policy == "Never" or terminal):
        return "Failed"
    sidecars = [_sidecar(statuses[one["name"]]) for one in specs.sidecars(pod)]
    mains = Counter(_main(statuses[one["name"]]) for one in specs.mains(pod))
    began = any(_began(statuses[one["name"]]) for one in specs.mains(pod))
    if not terminal and ("pending" in inits or ("pending" in sidecars and not began)):
        return "Pending"
    if mains["waiting"]:
        return "Failed" if terminal else "Pending"
    if mains["running"] or "running" in sidecars:
        return "Running"
    return _ended(policy, mains, terminal=terminal)


def _ended(policy: str, mains: Counter[str], *, terminal: bool) -> str:
    if terminal:
        return "Failed" if mains["failed"] else "Succeeded"
    if policy == "Always":
        return "Running"
    if not mains["failed"]:
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def _init(status: Json) -> str:
    state = status["state"]
    ended = state.get("terminated") or status["lastState"].get("terminated")
    if "running" in state or ended is None:
        return "pending"
    return "failed" if ended["exitCode"] else "done"


def _sidecar(status: Json) -> str:
    if "running" in status["state"]:
        return "running" if status["started"] else "pending"
    never = "waiting" in status["state"] and not status["lastState"]
    return "pending" if never else "ended"


def _main(status: Json) -> str:
    state = status["state"]
    if "running" in state:
        return "running"
    ended = state.get("terminated") or status["lastState"].get("terminated")
    if ended is None:
        return "waiting"
    return "failed" if ended["exitCode"] else "succeeded"


def _began(status: Json) -> bool:
    return "waiting" not in status["state"] or bool(status["lastState"])
