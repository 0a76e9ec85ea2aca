"""What an update may change: server-owned metadata, the spec/status split, immutable fields. Pure.

``prepare`` gives the object as it would be stored; ``forbidden_changes`` says why it may not be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from devcluster.apiserver import clusterips
from devcluster.apiserver.resources import Resource
from devcluster.apiserver.status import Cause, Json, forbidden_field, invalid_value

_SERVER_OWNED = (
    *("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"),
    *("generation", "selfLink", "resourceVersion", "generateName"),
)
_GENERATED_KINDS = ("Pod",)
"""Kinds with ``metadata.generation`` (of those served here)."""

_POD_FREE = ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds")
_POD_TEXT = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
    "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set "
    "to 1 if it was previously negative)"
)


def has_generation(resource: Resource) -> bool:
    return resource.kind in _GENERATED_KINDS


def prepare(resource: Resource, new: Json, old: Json, *, subresource: str) -> Json:
    """``new`` with everything taken from ``old`` that this request cannot change."""
    metadata = dict(new["metadata"])
    for field in _SERVER_OWNED:
        if field in old["metadata"]:
            metadata[field] = old["metadata"][field]
        else:
            metadata.pop(field, None)
    if subresource == "status":
        metadata["ownerReferences"] = old["metadata"].get("ownerReferences")
        if metadata["ownerReferences"] is None:
            del metadata["ownerReferences"]
        prepared = {**old, "metadata": metadata, "status": new.get("status") or {}}
        return _kept_status(resource, prepared, old)
    prepared = {**new, "metadata": metadata}
    if resource.has_status:
        prepared.pop("status", None)
        if "status" in old:
            prepared["status"] = old["status"]
    if resource.kind == "Service":
        clusterips.keep(prepared, old)
    if has_generation(resource) and prepared.get("spec") != old.get("spec"):
        metadata["generation"] = metadata.get("generation", 0) + 1
    return prepared


def _kept_status(resource: Resource, new: Json, old: Json) -> Json:
    """The parts of a pod's status that a status update cannot take away."""
    if resource.kind == "Pod" and "qosClass" in old.get("status", {}):
        new["status"] = {"qosClass": old["status"]["qosClass"], **new["status"]}
    return new


def forbidden_changes(resource: Resource, new: Json, old: Json) -> list[Cause]:
    causes = list(_metadata(new["metadata"], old["metadata"]))
    check = _CHECKS.get(resource.kind)
    if check is not None:
        causes += check(new, old)
    return causes


def _metadata(new: Json, old: Json) -> Iterator[Cause]:
    if old.get("deletionTimestamp"):
        added = set(new.get("finalizers") or []) - set(old.get("finalizers") or [])
        if added:
            text = "no new finalizers can be added if the object is being deleted, "
            text += f"found new finalizers {sorted(added)}"
            yield forbidden_field("metadata.finalizers", text)


def _pod(new: Json, old: Json) -> Iterator[Cause]:
    before, after = old.get("spec") or {}, new.get("spec") or {}
    names = ("containers", "initContainers")
    for field in names:
        if len(before.get(field) or []) != len(after.get(field) or []):
            yield forbidden_field(f"spec.{field}", "pod updates may not add or remove containers")
            return
    if _frozen(before) != _frozen(after) or _grace_changed(before, after):
        yield forbidden_field("spec", _POD_TEXT)
    if not _only_added(before.get("tolerations") or [], after.get("tolerations") or []):
        text = "existing toleration can not be modified except its tolerationSeconds"
        yield forbidden_field("spec.tolerations", text)
    yield from _deadline(before.get("activeDeadlineSeconds"), after.get("activeDeadlineSeconds"))


def _frozen(spec: Json) -> Json:
    """The part of a pod's spec that never changes."""
    kept = {field: value for field, value in spec.items() if field not in _POD_FREE}
    for field in ("containers", "initContainers"):
        kept[field] = [{**container, "image": ""} for container in spec.get(field) or []]
    return kept


def _grace_changed(before: Json, after: Json) -> bool:
    old, new = (
        before.get("terminationGracePeriodSeconds"),
        after.get("terminationGracePeriodSeconds"),
    )
    return bool(old != new and not (isinstance(old, int) and old < 0 and new == 1))


def _only_added(before: list[Json], after: list[Json]) -> bool:
    def plain(toleration: Json) -> Json:
        return {key: value for key, value in toleration.items() if key != "tolerationSeconds"}

    kept = [plain(toleration) for toleration in after]
    return all(plain(toleration) in kept for toleration in before)


def _deadline(before: Any, after: Any) -> Iterator[Cause]:
    field = "spec.activeDeadlineSeconds"
    if before is None or before == after:
        return
    if after is None:
        yield invalid_value(field, "null", "must not update from a positive integer to nil value")
    elif after > before:
        yield invalid_value(field, after, f"must be less than or equal to previous value {before}")


def _config_map(new: Json, old: Json) -> Iterator[Cause]:
    if not old.get("immutable"):
        return
    text = "field is immutable when `immutable` is set"
    for field in ("immutable", "data", "binaryData"):
        if new.get(field) != old.get(field):
            yield forbidden_field(field, text)


def _secret(new: Json, old: Json) -> Iterator[Cause]:
    if new.get("type") != old.get("type"):
        yield invalid_value("type", new.get("type"), "field is immutable")
    yield from _config_map(new, old)


_CHECKS: dict[str, Callable[[Json, Json], Iterator[Cause]]] = {
    "Pod": _pod,
    "ConfigMap": _config_map,
    "Secret": _secret,
    "Service": clusterips.changed,
}
