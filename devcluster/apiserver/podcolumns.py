"""The STATUS, READY and RESTARTS of a pod, as ``kubectl get pods`` shows them. Pure.

The rules are those of the real server's printer, in its order: the first init container that is
not done decides, then the last container that is not running, then deletion.
"""

from __future__ import annotations

from dataclasses import dataclass

from devcluster.apiserver.durations import age_text
from devcluster.apiserver.stamps import parse_time
from devcluster.apiserver.status import Json


@dataclass
class _Summary:
    reason: str
    total: int
    ready: int = 0
    restarts: int = 0
    last_restart: float | None = None

    def count_restarts(self, status: Json) -> None:
        self.restarts += status.get("restartCount", 0)
        finished = (status.get("lastState") or {}).get("terminated", {}).get("finishedAt")
        if finished:
            self.last_restart = max(self.last_restart or 0.0, parse_time(finished))


def pod_columns(pod: Json, *, now: float) -> tuple[str, str, str]:
    """READY, STATUS and RESTARTS."""
    status = pod.get("status") or {}
    summary = _Summary(
        status.get("reason") or status.get("phase", ""),
        total=len(pod["spec"].get("containers") or []),
    )
    if _condition_reason(status, "PodScheduled") == "SchedulingGated":
        summary.reason = "SchedulingGated"
    initializing = _init_containers(pod, summary)
    if not initializing or _condition_is_true(status, "Initialized"):
        _containers(status, summary)
    if pod["metadata"].get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            summary.reason = "Unknown"
        elif status.get("phase") not in ("Succeeded", "Failed"):
            summary.reason = "Terminating"
    restarts = str(summary.restarts)
    if summary.restarts and summary.last_restart is not None:
        restarts += f" ({age_text(now - summary.last_restart)} ago)"
    return f"{summary.ready}/{summary.total}", summary.reason, restarts


def _init_containers(pod: Json, summary: _Summary) -> bool:
    """Whether an init container is still to finish; it then decides the reason."""
    specs = pod["spec"].get("initContainers") or []
    sidecars = {spec["name"] for spec in specs if spec.get("restartPolicy") == "Always"}
    summary.total += len(sidecars)
    kept = _Summary("", 0)
    for at, status in enumerate((pod.get("status") or {}).get("initContainerStatuses") or []):
        summary.count_restarts(status)
        sidecar = status.get("name") in sidecars
        if sidecar:
            kept.count_restarts(status)
        if _ended_well(status):
            continue
        if sidecar and status.get("started"):
            summary.ready += bool(status.get("ready"))
            continue
        summary.reason = _init_reason(status, at, len(specs))
        return True
    summary.restarts, summary.last_restart = kept.restarts, kept.last_restart
    return False


def _ended_well(status: Json) -> bool:
    terminated = (status.get("state") or {}).get("terminated")
    return terminated is not None and terminated.get("exitCode", 0) == 0


def _init_reason(status: Json, at: int, total: int) -> str:
    state = status.get("state") or {}
    if "terminated" in state:
        return f"Init:{_end_reason(state['terminated'])}"
    waiting = (state.get("waiting") or {}).get("reason", "")
    if waiting and waiting != "PodInitializing":
        return f"Init:{waiting}"
    return f"Init:{at}/{total}"


def _end_reason(terminated: Json) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _containers(status: Json, summary: _Summary) -> None:
    running = False
    for container in reversed(status.get("containerStatuses") or []):
        summary.count_restarts(container)
        state = container.get("state") or {}
        waiting = (state.get("waiting") or {}).get("reason", "")
        if waiting:
            summary.reason = waiting
        elif "terminated" in state:
            summary.reason = _end_reason(state["terminated"])
        elif container.get("ready") and "running" in state:
            running = True
            summary.ready += 1
    if summary.reason == "Completed" and running:
        summary.reason = "Running" if _condition_is_true(status, "Ready") else "NotReady"


def _condition(status: Json, kind: str) -> Json:
    for condition in status.get("conditions") or []:
        if condition.get("type") == kind:
            return dict(condition)
    return {}


def _condition_is_true(status: Json, kind: str) -> bool:
    return _condition(status, kind).get("status") == "True"


def _condition_reason(status: Json, kind: str) -> str:
    return str(_condition(status, kind).get("reason", ""))


def readiness_gates(pod: Json) -> str:
    gates = pod["spec"].get("readinessGates") or []
    if not gates:
        return "<none>"
    status = pod.get("status") or {}
    passed = sum(_condition_is_true(status, gate.get("conditionType", "")) for gate in gates)
    return f"{passed}/{len(gates)}"
