"""The Kubernetes API as the hub sees it: raw JSON objects, a few verbs, one endless watch.

``cloudhub/kube/client.py`` is the real one; tests and the simulator have a model. Errors are
``KubeError`` (try again, perhaps after ``delay``) and ``KubeRefused`` (the server said no).
Raw JSON because generated models cost ten times the time and drop fields they do not know.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from shared.objects import Json


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of API object; ``prefix`` is ``api/v1`` or ``apis/GROUP/VERSION``."""

    prefix: str
    plural: str
    kind: str
    namespaced: bool = True

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """URL path of the collection, of one object, or of its subresource."""
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        tail = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"/{self.prefix}{scope}/{self.plural}{tail}"


PODS = Resource("api/v1", "pods", "Pod")
NODES = Resource("api/v1", "nodes", "Node", namespaced=False)
CONFIG_MAPS = Resource("api/v1", "configmaps", "ConfigMap")
SECRETS = Resource("api/v1", "secrets", "Secret")
CLAIMS = Resource("api/v1", "persistentvolumeclaims", "PersistentVolumeClaim")
VOLUMES = Resource("api/v1", "persistentvolumes", "PersistentVolume", namespaced=False)
SERVICES = Resource("api/v1", "services", "Service")
RUNTIME_CLASSES = Resource(
    "apis/node.k8s.io/v1", "runtimeclasses", "RuntimeClass", namespaced=False
)
EVENTS = Resource("api/v1", "events", "Event")
SERVICE_ACCOUNTS = Resource("api/v1", "serviceaccounts", "ServiceAccount")
LEASES = Resource("apis/coordination.k8s.io/v1", "leases", "Lease")


class Change(enum.Enum):
    LISTED = "LISTED"
    SET = "SET"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One step of a watch.

    LISTED carries the complete list in ``objects`` (at the start and after every relist), to be
    gone through as often as one likes: what is not in it is gone. SET (added or modified) and
    DELETED carry one object. ``version`` is the resourceVersion up to which the watch has told
    everything, this included.
    """

    change: Change
    object: Json = field(default_factory=dict)
    objects: Iterable[Json] = ()
    version: str = ""


PatchType = Literal["merge", "strategic"]


class Kube(Protocol):
    def watch(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
    ) -> AsyncIterator[WatchEvent]:
        """Endless: list, watch, relist on 410, back off on errors (logged here, never raised).

        ``metadata_only`` asks for PartialObjectMetadata: no data, no spec, no status.
        """
        ...

    async def get(self, resource: Resource, namespace: str, name: str) -> Json | None:
        """None when it is not there (404)."""
        ...

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> list[Json]: ...

    async def create(
        self, resource: Resource, namespace: str, obj: Json, *, subresource: str = ""
    ) -> Json:
        """KubeRefused with status 409 and reason AlreadyExists when the name is taken.

        With ``subresource``: POST to that of the object named like ``obj`` (``token``).
        """
        ...

    async def replace(self, resource: Resource, namespace: str, obj: Json) -> Json:
        """PUT; with ``metadata.resourceVersion`` a lost race is KubeRefused 409 Conflict."""
        ...

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        patch: Json,
        *,
        subresource: str = "",
        patch_type: PatchType = "merge",
    ) -> Json: ...

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str, grace: int
    ) -> None:
        """With a uid precondition. An object that is gone, or is another one now, is a success."""
        ...

    async def close(self) -> None: ...
