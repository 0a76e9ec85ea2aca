"""API object → body: what a device needs of it, packed so that equal objects are equal bytes.

Without status, versions, the marks of a deletion and what only clients of the API use, a status
patch or a deletion never changes a body. Of claims, their volumes and RuntimeClasses only what a
node looks at is kept. Map keys are sorted, and ``kind`` and ``apiVersion`` (which lists leave out)
are dropped, so that two replicas always compute the same digest. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared import codec
from shared.errors import WireError
from shared.objects import NO_NAMESPACE, VOLUME_GROUP, Json, ObjectKey
from shared.weighing import MAX_DEPTH, weigh

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
RIDES = 3
"""How deep in a change a body rides."""
NOT_IN_BODY = frozenset({"kind", "apiVersion", "status"})
NOT_IN_METADATA = frozenset(
    {
        "managedFields",
        "resourceVersion",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """One object as it travels; compared by its digest."""

    key: ObjectKey
    packed: bytes
    digest: bytes


def body_of(key: ObjectKey, obj: Json) -> Body:
    """Raises WireError for an object that no message can carry."""
    trimmed = _REDUCED[key.kind](obj) if key.kind in _REDUCED else _trimmed(obj)
    try:
        packed = codec.pack(sorted_maps(trimmed))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise WireError("bad-body", f"{key}: {error}") from error
    if len(packed) > codec.MAX_PLAIN // 2:
        raise WireError("too-large", f"{key}: {len(packed)} bytes")
    weigh(packed, most=codec.MAX_VALUES, depth=MAX_DEPTH - RIDES)  # Or its device would refuse it.
    return Body(key, packed, codec.digest(packed))


def node_body(name: str, taints: list[Json], labels: Mapping[str, str | None]) -> Body | None:
    """Of a Node: what its device judges new pods by; None when that is nothing. A label that is
    None is one that the Node does not have."""
    obj: Json = {"metadata": {"name": name}}
    if taints:
        obj["spec"] = {"taints": taints}
    if labels:
        obj["metadata"]["labels"] = dict(labels)
    return body_of(ObjectKey("Node", NO_NAMESPACE, name), obj) if taints or labels else None


def _trimmed(obj: Json) -> Json:
    kept = {name: obj[name] for name in obj if name not in NOT_IN_BODY}
    kept["metadata"] = _metadata(obj["metadata"])
    return kept


def _claim(obj: Json) -> Json:
    """Which volume it is bound to, and which pod it was made for; pods must not begin with one that
    is being deleted."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    metadata = _picked(obj["metadata"], "name", "namespace", "uid", "deletionTimestamp")
    owners = [
        _picked(one, "controller", "uid")
        for one in obj["metadata"].get("ownerReferences") or ()
        if one.get("controller") and one.get("kind") == "Pod"
    ]
    return {
        "metadata": {**metadata, **({"ownerReferences": owners} if owners else {})},
        "spec": _picked(spec, "volumeName"),
        "status": _picked(status, "phase"),
    }


def _volume(obj: Json) -> Json:
    """Sources that no edge node can use are named, and nothing more is told of them."""
    spec = obj.get("spec") or {}
    kept = _picked(
        *(spec, "accessModes", "hostPath", "local", "mountOptions", "nodeAffinity", "volumeMode")
    )
    kept |= {name: True for name in spec if name not in kept and name not in _NO_SOURCE}
    if claim := spec.get("claimRef"):
        kept["claimRef"] = _picked(claim, "uid")
    metadata = _picked(obj["metadata"], "name")
    if annotations := _picked(obj["metadata"].get("annotations") or {}, VOLUME_GROUP):
        metadata["annotations"] = annotations
    return {"metadata": metadata, "spec": kept}


def _runtime_class(obj: Json) -> Json:
    """Overhead and scheduling are the API server's, which has written them into the pods."""
    return {"metadata": _picked(obj["metadata"], "name"), **_picked(obj, "handler")}


_NO_SOURCE = frozenset(
    {
        "capacity",
        "claimRef",
        "persistentVolumeReclaimPolicy",
        "storageClassName",
        "volumeAttributesClassName",
    }
)
"""What a PersistentVolume says beside where its data is."""
_REDUCED = {
    "PersistentVolumeClaim": _claim,
    "PersistentVolume": _volume,
    "RuntimeClass": _runtime_class,
}


def _picked(part: Json, *names: str) -> Json:
    return {name: part[name] for name in names if part.get(name) is not None}


def _metadata(metadata: Json) -> Json:
    kept = {name: metadata[name] for name in metadata if name not in NOT_IN_METADATA}
    annotations = metadata.get("annotations")
    if annotations and LAST_APPLIED in annotations:
        kept["annotations"] = {k: v for k, v in annotations.items() if k != LAST_APPLIED}
    if not kept.get("annotations"):
        kept.pop("annotations", None)
    if "deletionTimestamp" in metadata and kept.get("generation", 0) > 1:
        # Marking a deletion adds one: the generation of the spec is the one before.
        kept["generation"] -= 1
    return kept


def sorted_maps(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: sorted_maps(value[name]) for name in sorted(value)}
    if isinstance(value, list):
        return [sorted_maps(part) for part in value]
    return value
