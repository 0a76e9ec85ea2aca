"""What is mounted where, in the status of each container, from the pod's spec.

Added by the hub, which has the spec, so that it costs nothing on the link. Whether a mount that is
to be recursively read-only ``IfPossible`` is so is known to the device alone, which says it. Pure;
the report is hostile. Called by ``reporting.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.objects import Json

_GROUPS = {
    "containerStatuses": "containers",
    "initContainerStatuses": "initContainers",
    "ephemeralContainerStatuses": "ephemeralContainers",
}
_RESOLVED = ("Disabled", "Enabled")


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
    said = _modes(status.get("volumeMounts"))
    mounts = [_mount(one, said) for one in spec.get("volumeMounts") or ()]
    return {**status, "volumeMounts": mounts} if mounts else status


def _modes(said: Any) -> Mapping[str, str]:
    """By path in the container: how it is, where that is not what the spec says."""
    rows = [one for one in said if isinstance(one, dict)] if isinstance(said, list) else []
    return {
        one["mountPath"]: one["recursiveReadOnly"]
        for one in rows
        if isinstance(one.get("mountPath"), str) and one.get("recursiveReadOnly") in _RESOLVED
    }


def _mount(wanted: Json, said: Mapping[str, str]) -> Json:
    mount: Json = {name: wanted[name] for name in ("name", "mountPath") if name in wanted}
    if wanted.get("readOnly"):
        mode = wanted.get("recursiveReadOnly") or "Disabled"
        if mode != "Disabled":
            mode = said.get(str(wanted.get("mountPath")), mode)
        mount |= {"readOnly": True} | ({"recursiveReadOnly": mode} if mode in _RESOLVED else {})
    return mount
