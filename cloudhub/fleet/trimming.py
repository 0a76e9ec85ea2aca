"""API object → body: what a device needs of it, packed so that equal objects are equal bytes.

Without status, versions, the marks of a deletion and what only clients of the API use, a status
patch or a deletion never changes a body. Map keys are sorted, and ``kind`` and ``apiVersion``
(which lists leave out) are dropped, so that two replicas always compute the same digest. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared import codec
from shared.errors import WireError
from shared.objects import Json, ObjectKey

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
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
    trimmed = {name: obj[name] for name in obj if name not in NOT_IN_BODY}
    trimmed["metadata"] = _metadata(obj["metadata"])
    try:
        packed = codec.pack(sorted_maps(trimmed))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise WireError("bad-body", f"{key}: {error}") from error
    if len(packed) > codec.MAX_PLAIN // 2:
        raise WireError("too-large", f"{key}: {len(packed)} bytes")
    return Body(key, packed, codec.digest(packed))


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
