"""A claim and the PersistentVolume it is bound to, as the controller of a cluster leaves them.

No such controller runs in the tests' clusters: what it would write is written here.
"""

from __future__ import annotations

from typing import Any

from cloudhub.kube.port import CLAIMS, VOLUMES, Kube
from shared.objects import Json


def volume_of(name: str, source: Json, **spec: Any) -> Json:
    whole = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": "Retain",
        **source,
        **spec,
    }
    return {"metadata": {"name": name}, "spec": whole}


def here(node: str) -> Json:
    """The nodeAffinity that a local volume must have."""
    wanted = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    return {"required": {"nodeSelectorTerms": [{"matchExpressions": [wanted]}]}}


async def claim(
    kube: Kube, name: str, *, namespace: str = "default", made_for: Json | None = None
) -> Json:
    """Not bound yet; ``made_for`` is the pod whose ephemeral volume it is."""
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "",
    }
    metadata: Json = {"name": name}
    if made_for is not None:
        owner = {"apiVersion": "v1", "kind": "Pod", "controller": True, "blockOwnerDeletion": True}
        owner |= {part: made_for["metadata"][part] for part in ("name", "uid")}
        metadata["ownerReferences"] = [owner]
    return await kube.create(CLAIMS, namespace, {"metadata": metadata, "spec": spec})


async def bind(kube: Kube, made: Json, volume: Json) -> None:
    """Makes the volume, and both ends of the binding."""
    metadata = made["metadata"]
    name, namespace = metadata["name"], metadata["namespace"]
    reference = {
        "kind": "PersistentVolumeClaim",
        "apiVersion": "v1",
        "name": name,
        "namespace": namespace,
        "uid": metadata["uid"],
    }
    spec = {**volume["spec"], "claimRef": reference}
    await kube.create(VOLUMES, "", {**volume, "spec": spec})
    chosen = {"spec": {"volumeName": volume["metadata"]["name"]}}
    await kube.patch(CLAIMS, namespace, name, chosen)
    bound = {"status": {"phase": "Bound", "accessModes": ["ReadWriteOnce"]}}
    await kube.patch(CLAIMS, namespace, name, bound, subresource="status")
