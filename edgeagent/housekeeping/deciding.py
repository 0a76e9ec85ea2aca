"""Which pod must go, and what is said about it. Pure.

Owns the documented order: pods that use more than they requested first, then lower priority, then
by how much they exceed their request, of what is on the disk that is short. A pod that is critical
(static, or of a priority reserved for the system) is never evicted. A pod beyond a storage limit of
its own goes whatever the device has. Words are a kubelet's.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from edgeagent.housekeeping.signals import Shortage
from edgeagent.housekeeping.usage import ContainerUse, Part, PodUse, binary
from edgeagent.pods.model import specs
from edgeagent.pods.model.view import Eviction
from edgeagent.pods.resources import amounts, kernel, quantities
from shared.objects import Json

STORAGE = "ephemeral-storage"


def victim(shortage: Shortage, pods: Iterable[PodUse], part: Part = Part.ALL) -> PodUse | None:
    """``part``: of what pods have on a disk, that which is on the short one."""
    ranked = ranking(shortage.threshold.resource, pods, part)
    return ranked[0] if ranked else None


def ranking(resource: str, pods: Iterable[PodUse], part: Part = Part.ALL) -> list[PodUse]:
    """Those that may be evicted, the first to go first."""
    candidates = [one for one in pods if not kernel.is_critical(one.pod)]
    return sorted(candidates, key=lambda one: _rank(one, resource, part))


def _rank(one: PodUse, resource: str, part: Part) -> tuple[bool, int, int, str]:
    over = one.of(resource, part) - one.requested(resource)
    return (not over > 0, one.pod["spec"].get("priority") or 0, -over, one.uid)


def words(shortage: Shortage, pod: PodUse) -> str:
    resource = shortage.threshold.resource
    said = (
        f"The node was low on resource: {resource}. Threshold quantity: {binary(shortage.least)},"
        f" available: {binary(shortage.available)}. "
    )
    if resource not in ("memory", STORAGE):
        return said
    if resource == "memory" and (asked := _asked_as_a_whole(pod.pod)):
        said += _larger(f"Pod {specs.name_of(pod.pod)}", pod.of(resource), asked, resource)
    # Ephemeral containers cannot ask for anything, and would always be blamed.
    blamed = {one["name"]: one for one in (*specs.mains(pod.pod), *specs.inits(pod.pod))}
    for name, use in pod.containers.items():
        if name not in blamed:
            continue
        used = use.memory if resource == "memory" else use.disk
        request = _written(blamed[name], resource) or "0"
        if used > _amount(request):
            said += _larger(f"Container {name}", used, request, resource)
    return said


def _asked_as_a_whole(pod: Json) -> str:
    """Empty for a pod that asks for memory by its containers only."""
    if written := (((pod["spec"].get("resources") or {}).get("requests")) or {}).get("memory"):
        return str(written)
    filled_in = amounts.of_pod(pod, "requests").get("memory")
    return "" if filled_in is None else binary(quantities.whole(filled_in))


def _written(container: Json, resource: str) -> str:
    """The request as the spec has it; for what has none, the limit."""
    resources = container.get("resources") or {}
    return str(
        {**(resources.get("limits") or {}), **(resources.get("requests") or {})}.get(resource, "")
    )


def _larger(who: str, used: int, request: str, resource: str) -> str:
    return (
        f"{who} was using {binary(used)}, request is {request},"
        f" has larger consumption of {resource}. "
    )


# Limits of a pod's own


def has_storage_limits(pod: Json) -> bool:
    """Whether its use of the disk must be measured at all."""
    return bool(_sized(pod)) or STORAGE in amounts.pod_limits(pod)


def beyond_limits(use: PodUse, *, apart: bool) -> Eviction | None:
    """``apart``: whether images, and what containers write beside volumes, have their own disk."""
    if kernel.is_critical(use.pod):
        return None
    said = _volume_words(use) or _pod_words(use) or _container_words(use, apart=apart)
    return Eviction(said, disruption=False) if said else None


def _volume_words(use: PodUse) -> str:
    for name, limit in _sized(use.pod).items():
        if use.volumes.get(name, 0) > _amount(limit):
            return f'Usage of EmptyDir volume "{name}" exceeds the limit "{limit}". '
    return ""


def _pod_words(use: PodUse) -> str:
    limit = amounts.pod_limits(use.pod).get(STORAGE)
    if not limit or use.of(STORAGE) <= limit:
        return ""
    shown = _in_notation(limit, use.pod)
    return f"Pod ephemeral local storage usage exceeds the total limit of containers {shown}. "


def _in_notation(total: Fraction, pod: Json) -> str:
    """A sum is written as the first of its parts is: 300M of 100M and 200M, but 2Gi of 2048Mi."""
    parts = (_limit(one) for one in (*specs.mains(pod), *specs.inits(pod)))
    first = next((str(one) for one in parts if one), "")
    if first.endswith("i"):
        return binary(quantities.whole(total))
    return quantities.text(total, binary=False)


def _container_words(use: PodUse, *, apart: bool) -> str:
    """Init containers and sidecars count for the pod as a whole only; a limit of 0 is none."""
    for container in specs.mains(use.pod):
        name = container["name"]
        found = use.containers.get(name, ContainerUse())
        limit = _limit(container)
        used = found.logs if apart else found.disk
        if limit is not None and used > _amount(limit) > 0:
            return f'Container {name} exceeded its local ephemeral storage limit "{limit}". '
    return ""


def _limit(container: Json) -> Any:
    return ((container.get("resources") or {}).get("limits") or {}).get(STORAGE)


def _sized(pod: Json) -> dict[str, str]:
    """The size limits of emptyDirs on disk; one in memory cannot grow beyond its own."""
    found = {}
    for volume in pod["spec"].get("volumes") or ():
        source = volume.get("emptyDir") or {}
        limit = source.get("sizeLimit")
        if limit is not None and not source.get("medium") and _amount(limit) > 0:
            found[volume["name"]] = str(limit)
    return found


def _amount(limit: object) -> int:
    return quantities.whole(quantities.parse(limit))
