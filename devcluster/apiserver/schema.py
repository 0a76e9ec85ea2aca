"""What fields an API kind has, and of which type: read from the official client's models.

The models are the published API description in the form nearest at hand, so that nothing of it is
written down a second time. Pure look-ups, cached; a type is given as text (``V1PodSpec``,
``List[V1Container]``, ``Dict[str, str]``, ``str``, ``int``, ``bool``, ``datetime``, ``object`` …).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from kubernetes.client import models

_SCALARS = frozenset({"str", "int", "bool", "float", "datetime", "bytes", "object"})


@cache
def fields_of(model: str) -> Mapping[str, str]:
    """JSON field name → type text."""
    described = getattr(models, model)
    names: dict[str, str] = described.attribute_map
    types: dict[str, str] = described.openapi_types
    return {names[attribute]: kind for attribute, kind in types.items()}


def is_model(kind: str) -> bool:
    return "[" not in kind and kind not in _SCALARS


def item_type(kind: str) -> str:
    """The element type of a ``List[…]``, empty for any other type."""
    return kind[5:-1] if kind.startswith("List[") else ""


def value_type(kind: str) -> str:
    """The value type of a ``Dict[str, …]``, empty for any other type."""
    return kind[10:-1] if kind.startswith("Dict[str, ") else ""


QUANTITIES = frozenset(
    {
        *(("V1ResourceRequirements", part) for part in ("limits", "requests")),
        *(("V1VolumeResourceRequirements", part) for part in ("limits", "requests")),
        *(("V1NodeStatus", part) for part in ("capacity", "allocatable")),
        *(("V1PersistentVolumeClaimStatus", part) for part in ("capacity", "allocatedResources")),
        *(("V1ContainerStatus", "allocatedResources"), ("V1PersistentVolumeSpec", "capacity")),
        *(("V1PodSpec", "overhead"), ("V1EmptyDirVolumeSource", "sizeLimit")),
        ("V1ResourceFieldSelector", "divisor"),
    }
)
"""(model, field) whose strings may also be written as numbers, as in ``cpu: 1``."""

MICROSECONDS = frozenset(
    {
        *(("V1LeaseSpec", "acquireTime"), ("V1LeaseSpec", "renewTime")),
        *(("CoreV1Event", "eventTime"), ("CoreV1EventSeries", "lastObservedTime")),
        *(("EventsV1Event", "eventTime"), ("EventsV1EventSeries", "lastObservedTime")),
    }
)
"""(model, field) of times that keep their microseconds; all others are cut to seconds."""

MERGE_KEYS: Mapping[tuple[str, str], str] = {
    ("V1ObjectMeta", "ownerReferences"): "uid",
    **{("V1PodSpec", part): "name" for part in ("containers", "initContainers", "volumes")},
    ("V1PodSpec", "ephemeralContainers"): "name",
    ("V1PodSpec", "imagePullSecrets"): "name",
    ("V1PodSpec", "resourceClaims"): "name",
    ("V1PodSpec", "schedulingGates"): "name",
    ("V1PodSpec", "hostAliases"): "ip",
    ("V1PodSpec", "topologySpreadConstraints"): "topologyKey",
    **{(model, "env"): "name" for model in ("V1Container", "V1EphemeralContainer")},
    **{(model, "ports"): "containerPort" for model in ("V1Container", "V1EphemeralContainer")},
    **{(model, "volumeMounts"): "mountPath" for model in ("V1Container", "V1EphemeralContainer")},
    **{(model, "volumeDevices"): "devicePath" for model in ("V1Container", "V1EphemeralContainer")},
    ("V1PodStatus", "conditions"): "type",
    ("V1PodStatus", "podIPs"): "ip",
    ("V1PodStatus", "hostIPs"): "ip",
    ("V1PodStatus", "resourceClaimStatuses"): "name",
    ("V1NodeStatus", "conditions"): "type",
    ("V1NodeStatus", "addresses"): "type",
    ("V1NamespaceStatus", "conditions"): "type",
    ("V1ServiceSpec", "ports"): "port",
    ("V1ServiceStatus", "conditions"): "type",
    ("V1PersistentVolumeClaimStatus", "conditions"): "type",
    ("V1ServiceAccount", "secrets"): "name",
}
"""(model, field) of lists of objects that a strategic merge patch merges, and by which key.

A list that is not named here is replaced as a whole: so are tolerations and taints.
"""

MERGED_PRIMITIVES = frozenset(
    {("V1ObjectMeta", "finalizers"), ("V1NodeSpec", "podCIDRs")},
)
"""(model, field) of lists of plain values that a strategic merge patch merges as sets."""
