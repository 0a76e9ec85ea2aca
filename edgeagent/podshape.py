"""Whether a body is a pod that can be worked on: the door between decoded bytes and the planner.

Checks only the shape that the pods layer takes for granted (an identity that fits the key, a spec
with named containers); what a field means is the planner's. Pure; called by ``desired.py``
and ``staticpods``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.objects import Json, ObjectKey, is_name

CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")
MAPS = ("nodeSelector", "securityContext", "dnsConfig", "overhead", "affinity")
LISTS = ("volumes", "imagePullSecrets", "tolerations", "hostAliases", "readinessGates")


@dataclass(frozen=True, slots=True)
class RejectedPod:
    """A listed pod that cannot be run; ``uid`` is empty when not even that could be read."""

    key: ObjectKey
    uid: str
    message: str
    grace: int | None = None


def admit(key: ObjectKey, pod: Json | None) -> str | RejectedPod:
    """The uid of a pod that can be worked on, or why it cannot."""
    metadata = pod.get("metadata") if pod is not None else None
    if pod is None or not isinstance(metadata, dict):
        return RejectedPod(key, "", "the body is not an object with metadata")
    uid = metadata.get("uid")
    if not is_name(uid) or len(str(uid)) > 64:
        return RejectedPod(key, "", "metadata.uid is missing or is not a uid")
    if (metadata.get("namespace"), metadata.get("name")) != (key.namespace, key.name):
        return RejectedPod(key, str(uid), "metadata names another pod")
    wrong = _wrong_metadata(metadata) or _wrong_spec(pod.get("spec"))
    return RejectedPod(key, str(uid), wrong) if wrong else str(uid)


def _wrong_metadata(metadata: Json) -> str:
    for field in ("labels", "annotations"):
        texts = metadata.get(field) or {}
        if not isinstance(texts, dict) or not all(isinstance(v, str) for v in texts.values()):
            return f"metadata.{field} is not a map of strings"
    return ""


def _wrong_spec(spec: Any) -> str:
    if not isinstance(spec, dict):
        return "spec is not a map"
    for field in MAPS:
        if not isinstance(spec.get(field) or {}, dict):
            return f"spec.{field} is not a map"
    for field in LISTS:
        if not _maps(spec.get(field) or []):
            return f"spec.{field} is not a list of maps"
    if not spec.get("containers"):
        return "spec.containers is empty"
    return _wrong_containers(spec)


def _wrong_containers(spec: Json) -> str:
    seen: set[str] = set()
    for field in CONTAINER_LISTS:
        containers = spec.get(field) or []
        if not _maps(containers):
            return f"spec.{field} is not a list of maps"
        for container in containers:
            name = container.get("name")
            if not is_name(name) or name in seen:
                return f"spec.{field} has a container without a name of its own"
            seen.add(name)
    return ""


def _maps(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)
