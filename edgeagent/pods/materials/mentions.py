"""Which objects a pod may be made of, by the names in its spec. Pure; rather once too often."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgeagent.pods.model import specs
from shared.objects import Json, ObjectKey


def mentions(pod: Json, namespace: str, keys: frozenset[ObjectKey]) -> bool:
    """Whether the pod may need one of the objects.

    Which PersistentVolume a claim stands for is not in the pod; Services count only at a start.
    """
    of_class = pod["spec"].get("runtimeClassName")
    if any(key.kind == "RuntimeClass" and key.name == of_class for key in keys):
        return True
    claims = set(specs.claims(pod).values())
    if claims and any(key.kind == "PersistentVolume" for key in keys):
        return True
    named = [key for key in keys if key.kind not in ("Pod", "Service")]
    names = {key.name for key in named if key.namespace == namespace}
    if not names.isdisjoint(claims):
        return True
    return bool(names) and not names.isdisjoint(_texts(pod["spec"]))


def _texts(value: Any) -> Iterator[str]:
    """However deep they stand: what nobody reads may be nested as deep as a message allows."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            left.extend(one.values())
        elif isinstance(one, list):
            left.extend(one)
