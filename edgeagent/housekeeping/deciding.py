"""Which pod must go, and what is said about it. Pure.

Owns the documented order: pods that use more than they requested first, then lower priority, then
by how much they exceed their request, of what is on the disk that is short. A pod that is critical
(static, or of a priority reserved for the system) is never evicted. A pod beyond a storage limit of
its own goes whatever the device has. Words are a kubelet's.
"""

from __future__ import annotations

from collections.abc import Iterable

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
    if resource == "memory" and (asked := pod.requested_as_a_whole(resource)):
        said += _beyond(f"Pod {specs.name_of(pod.pod)}", pod.of(resource), asked, resource)
    for name, use in pod.containers.items():
        used = use.memory if resource == "memory" else use.disk
        request = pod.container_request(name, resource)
        said += _beyond(f"Container {name}", used, request, resource)
    return said


def _beyond(who: str, used: int, request: int, resource: str) -> str:
    if used <= request:
        return ""
    return (
        f"{who} was using {binary(used)}, request is {binary(request)},"
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
    if limit and use.of(STORAGE) > limit:
        shown = binary(quantities.whole(limit))
        return f"Pod ephemeral local storage usage exceeds the total limit of containers {shown}. "
    return ""


def _container_words(use: PodUse, *, apart: bool) -> str:
    """Init containers and sidecars count for the pod as a whole only; a limit of 0 is none."""
    for container in specs.mains(use.pod):
        name = container["name"]
        found = use.containers.get(name, ContainerUse())
        limit = ((container.get("resources") or {}).get("limits") or {}).get(STORAGE)
        used = found.logs if apart else found.disk
        if limit is not None and used > _amount(limit) > 0:
            return f'Container {name} exceeded its local ephemeral storage limit "{limit}". '
    return ""


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
