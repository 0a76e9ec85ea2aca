"""Whether a pod with readiness gates is ready: its containers by the device, its gates by the API.

Others write the conditions behind the gates into the API's pod, so the device cannot know them; it
says that its containers are ready, and the Ready condition is made here, in a kubelet's words. The
transition time is the device's when the device made the difference, ours when a gate did. Pure;
what it answers goes through ``pod_status.py``. Called by ``reporting.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

from cloudhub.stamps import stamp
from shared.objects import Json

UNMET = "ReadinessGatesNotReady"


def gated(report: Json, current: Json, *, gates: Sequence[str], now: float) -> Json:
    """The reported status with the Ready condition that the gates leave of it."""
    reported = by_type(report)
    containers = reported.get("ContainersReady")
    if not gates or containers is None:
        return report
    there = by_type(current)
    ready = _judged(containers, there, gates)
    ready["lastTransitionTime"] = _since(ready, containers, there, now=now)
    others = [row for kind, row in reported.items() if kind != "Ready"]
    return {**report, "conditions": [*others, ready]}


def by_type(status: Json) -> dict[str, Json]:
    """The conditions; what is none is left out, since the status may be a hostile one."""
    rows = status.get("conditions")
    return {
        row["type"]: row
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(row, dict) and isinstance(row.get("type"), str)
    }


def _judged(containers: Json, there: dict[str, Json], gates: Sequence[str]) -> Json:
    if containers.get("status") != "True":
        return {**containers, "type": "Ready"}
    unmet = [words for gate in gates if (words := _unmet(gate, there.get(gate)))]
    if not unmet:
        return {"type": "Ready", "status": "True"}
    return {"type": "Ready", "status": "False", "reason": UNMET, "message": ", ".join(unmet)}


def _unmet(gate: str, condition: Json | None) -> str:
    if condition is None:
        return f'corresponding condition of pod readiness gate "{gate}" does not exist.'
    status = condition.get("status")
    if status == "True":
        return ""
    return f'the status of pod readiness gate "{gate}" is not "True", but {status}'


def _since(ready: Json, containers: Json, there: dict[str, Json], *, now: float) -> object:
    known = there.get("Ready", {})
    if known.get("status") == ready["status"] and known.get("lastTransitionTime"):
        return known["lastTransitionTime"]
    containers_changed = there.get("ContainersReady", {}).get("status") != containers.get("status")
    return containers.get("lastTransitionTime") if containers_changed else stamp(now)
