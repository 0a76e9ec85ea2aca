"""The table of what is served: one row per resource, with its sub-resources.

Whoever needs to know something about a kind (its URL, its short names, whether it has a status)
asks this table. A row with ``stored_as`` is a view of another row's objects (``views``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
READ_WRITE = ("get", "patch", "update")


@dataclass(frozen=True, slots=True)
class Subresource:
    name: str
    kind: str
    verbs: tuple[str, ...]
    group: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Resource:
    group: str
    version: str
    plural: str
    kind: str
    model: str
    """Name of the class of the official client that lists the fields of this kind."""
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[Subresource, ...] = field(default=())
    stored_as: str = ""
    """The storage key of another resource of which this one is a view."""
    update_needs_version: bool = False
    create_on_update: bool = False
    returns_deleted: bool = False
    """Whether DELETE answers with the object (else with a ``Status``)."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def storage(self) -> str:
        """The key of this resource's objects in the store."""
        return self.stored_as or (f"{self.plural}.{self.group}" if self.group else self.plural)

    @property
    def has_status(self) -> bool:
        return any(sub.name == "status" for sub in self.subresources)


def _status(kind: str) -> Subresource:
    return Subresource("status", kind, READ_WRITE)


_BINDING = Subresource("binding", "Binding", ("create",))
_EVICTION = Subresource("eviction", "Eviction", ("create",), "policy", "v1")
_TOKEN = Subresource("token", "TokenRequest", ("create",), "authentication.k8s.io", "v1")

PODS = Resource(
    *("", "v1", "pods", "Pod", "V1Pod"),
    short_names=("po",),
    categories=("all",),
    subresources=(_BINDING, _EVICTION, _status("Pod")),
    returns_deleted=True,
)
NODES = Resource(
    *("", "v1", "nodes", "Node", "V1Node"),
    namespaced=False,
    short_names=("no",),
    subresources=(_status("Node"),),
)
NAMESPACES = Resource(
    *("", "v1", "namespaces", "Namespace", "V1Namespace"),
    namespaced=False,
    short_names=("ns",),
    subresources=(Subresource("finalize", "Namespace", ("update",)), _status("Namespace")),
    returns_deleted=True,
)
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap", "V1ConfigMap", short_names=("cm",))
SECRETS = Resource("", "v1", "secrets", "Secret", "V1Secret")
SERVICE_ACCOUNTS = Resource(
    *("", "v1", "serviceaccounts", "ServiceAccount", "V1ServiceAccount"),
    short_names=("sa",),
    subresources=(_TOKEN,),
    returns_deleted=True,
)
EVENTS = Resource(
    *("", "v1", "events", "Event", "CoreV1Event"),
    short_names=("ev",),
    create_on_update=True,
)
SERVICES = Resource(
    *("", "v1", "services", "Service", "V1Service"),
    short_names=("svc",),
    categories=("all",),
    subresources=(_status("Service"),),
    returns_deleted=True,
)
ENDPOINTS = Resource("", "v1", "endpoints", "Endpoints", "V1Endpoints", short_names=("ep",))
VOLUMES = Resource(
    *("", "v1", "persistentvolumes", "PersistentVolume", "V1PersistentVolume"),
    namespaced=False,
    short_names=("pv",),
    subresources=(_status("PersistentVolume"),),
    returns_deleted=True,
)
CLAIMS = Resource(
    *("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", "V1PersistentVolumeClaim"),
    short_names=("pvc",),
    subresources=(_status("PersistentVolumeClaim"),),
    returns_deleted=True,
)
LEASES = Resource(
    *("coordination.k8s.io", "v1", "leases", "Lease", "V1Lease"),
    update_needs_version=True,
    create_on_update=True,
)
RUNTIME_CLASSES = Resource(
    *("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", "V1RuntimeClass"),
    namespaced=False,
)
EVENTS_VIEW = Resource(
    *("events.k8s.io", "v1", "events", "Event", "EventsV1Event"),
    short_names=("ev",),
    stored_as=EVENTS.storage,
    create_on_update=True,
)

RESOURCES = (
    *(CONFIG_MAPS, ENDPOINTS, EVENTS, NAMESPACES, NODES, CLAIMS, VOLUMES),
    *(PODS, SECRETS, SERVICE_ACCOUNTS, SERVICES, LEASES, RUNTIME_CLASSES, EVENTS_VIEW),
)


def find(group: str, version: str, plural: str) -> Resource | None:
    for resource in RESOURCES:
        if (resource.group, resource.version, resource.plural) == (group, version, plural):
            return resource
    return None


def in_group(group: str, version: str) -> Iterator[Resource]:
    return (row for row in RESOURCES if (row.group, row.version) == (group, version))


def groups() -> list[tuple[str, str]]:
    """Every named (group, version) that is served, in order."""
    return sorted({(row.group, row.version) for row in RESOURCES if row.group})
