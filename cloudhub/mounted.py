"""What is mounted where, in the status of each container, from the pod's spec.

Added by the hub, which has the spec, so that it costs nothing on the link. Whether a mount that is
to be recursively read-only ``IfPossible`` is so is known to the device alone, and is not said.
Pure; the report is hostile. Called by ``reporting.py``.
"""

from __future__ import annotations

from typing import Any

from shared.objects import Json

_GROUPS = {
    "containerStatuses": "containers",
    "initContainerStatuses": "initContainers",
    "ephemeralContainerStatuses": "ephemeralContainers",
}


def with_mounts(status: Json, pod: Json) -> Json:
    spec = pod.get("spec") or {}
    found = {
        field: [_with_mounts(one, spec.get(group) or []) for one in status[field]]
        for field, group in _GROUPS.items()
        if isinstance(status.get(field), list)
    }
    return {**status, **found}


def _with_mounts(status: Any, containers: list[Json]) -> Any:
    if not isinstance(status, dict):
        return status
    spec = next((one for one in containers if one.get("name") == status.get("name")), {})
    mounts = [_mount(one) for one in spec.get("volumeMounts") or ()]
    return {**status, "volumeMounts": mounts} if mounts else status


def _mount(wanted: Json) -> Json:
    mount: Json = {name: wanted[name] for name in ("name", "mountPath") if name in wanted}
    if wanted.get("readOnly"):
        mode = wanted.get("recursiveReadOnly") or "Disabled"
        mount |= {"readOnly": True} | ({"recursiveReadOnly": mode} if mode != "IfPossible" else {})
    return mount
