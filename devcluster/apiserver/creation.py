"""What a new object is given besides its metadata: defaults, first status, namespace life. Pure."""

from __future__ import annotations

from devcluster.apiserver.defaulting import admit_pod, default, qos_class, tolerate_absence
from devcluster.apiserver.deleting import Deletion
from devcluster.apiserver.resources import Resource
from devcluster.apiserver.stamps import time_text
from devcluster.apiserver.status import Json

NAMESPACE_FINALIZER = "kubernetes"
IMMORTAL_NAMESPACES = ("default", "kube-system", "kube-public")


def prepare(resource: Resource, obj: Json) -> None:
    """Defaults and the status a new object starts with; only a Node may bring its own."""
    default(resource.kind, obj)
    if resource.has_status and resource.kind != "Node":
        obj["status"] = {}
    if resource.kind == "Pod":
        admit_pod(obj)
        obj["status"] = {"phase": "Pending", "qosClass": qos_class(obj["spec"])}
    elif resource.kind == "Namespace":
        obj["spec"] = {"finalizers": [NAMESPACE_FINALIZER]}
        obj["status"] = {"phase": "Active"}
    elif resource.kind in ("PersistentVolume", "PersistentVolumeClaim"):
        obj["status"] = {"phase": "Pending"}
    elif resource.kind == "Service":
        obj["status"] = {"loadBalancer": {}}


def complete(resource: Resource, obj: Json) -> None:
    """What a changed object is given again, should the change have taken it away."""
    default(resource.kind, obj)
    if resource.kind == "Pod":
        tolerate_absence(obj["spec"])


def terminating(namespace: Json, *, now: float) -> Deletion:
    """A namespace is only marked; it goes when its content is gone (``namespaces``)."""
    metadata = namespace["metadata"]
    if metadata.get("deletionTimestamp"):
        return Deletion(None, gone=False)
    marked = {
        **namespace,
        "metadata": {**metadata, "deletionTimestamp": time_text(now)},
        "status": {**(namespace.get("status") or {}), "phase": "Terminating"},
    }
    return Deletion(marked, gone=False)
