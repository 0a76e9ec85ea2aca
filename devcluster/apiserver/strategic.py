"""Strategic merge patch: a merge patch that knows which lists are keyed, and by what. Pure.

The merge keys are those of ``schema``. Directives: ``$patch`` (merge, replace, delete),
``$setElementOrder/…``, ``$deleteFromPrimitiveList/…`` and ``$retainKeys``. Any other use of a
directive is a 400. Nothing given in is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from devcluster.apiserver import schema
from devcluster.apiserver.status import Json, bad_request, unprocessable

_DIRECTIVE = "$patch"
_RETAIN = "$retainKeys"
_ORDER = "$setElementOrder/"
_DROP = "$deleteFromPrimitiveList/"


def strategic_merge(original: Json, patch: Json, model: str) -> Json:
    """``original`` with ``patch`` merged in; ``model`` is the kind of both (empty: plain maps)."""
    directive = patch.get(_DIRECTIVE, "merge")
    if directive == "replace":
        return dict(_without_directives(patch))
    if directive == "delete":
        return {}
    if directive != "merge":
        raise unprocessable(f"unrecognized patch directive: {directive!r:.40}")
    merged = _retained(original, patch)
    for field, value in patch.items():
        if not field.startswith("$"):
            _merge_field(merged, patch, field, value=value, model=model)
    for field in _named(patch, _DROP) | _named(patch, _ORDER):
        if field not in patch and isinstance(merged.get(field), list):
            merged[field] = _merge_list(merged[field], [], patch, field, model=model)
    return merged


def _retained(original: Json, patch: Json) -> Json:
    keep = patch.get(_RETAIN)
    if keep is None:
        return dict(original)
    if not isinstance(keep, list):
        raise bad_request(f"{_RETAIN} must be a list")
    return {field: value for field, value in original.items() if field in keep}


def _named(patch: Json, prefix: str) -> set[str]:
    return {field[len(prefix) :] for field in patch if field.startswith(prefix)}


def _merge_field(merged: Json, patch: Json, field: str, *, value: Any, model: str) -> None:
    before = merged.get(field)
    if value is None:
        merged.pop(field, None)
    elif isinstance(value, dict):
        kind = schema.fields_of(model).get(field, "") if model else ""
        inner = kind if schema.is_model(kind) else ""
        if value.get(_DIRECTIVE) == "delete":
            merged.pop(field, None)
        else:
            merged[field] = strategic_merge(
                before if isinstance(before, dict) else {}, value, inner
            )
    elif isinstance(value, list) and isinstance(before, list | None):
        merged[field] = _merge_list(before or [], value, patch, field, model=model)
    else:
        merged[field] = value


def _merge_list(before: list[Any], items: list[Any], patch: Json, field: str, *, model: str) -> Any:
    owner = (model, field)
    order = patch.get(_ORDER + field, [])
    dropped = patch.get(_DROP + field, [])
    if not isinstance(order, list) or not isinstance(dropped, list):
        raise bad_request(f"the directives for {field!r} must be lists")
    if owner in schema.MERGED_PRIMITIVES:
        kept = [item for item in before if item not in dropped]
        merged = kept + [item for item in items if item not in kept]
        return _ordered(merged, before, order)
    key = schema.MERGE_KEYS.get(owner, "")
    if not key:
        return [_without_directives(item) for item in items] if field in patch else before
    element = schema.item_type(schema.fields_of(model)[field])
    merged = _merge_keyed(before, items, key, model=element)
    keys = [item.get(key) if isinstance(item, dict) else item for item in order]
    return _ordered(merged, before, keys, key=key)


def _merge_keyed(before: list[Any], items: list[Any], key: str, *, model: str) -> list[Any]:
    if any(isinstance(item, dict) and item.get(_DIRECTIVE) == "replace" for item in items):
        return [
            _without_directives(item)
            for item in items
            if not (isinstance(item, dict) and item.get(_DIRECTIVE) == "replace")
        ]
    merged = list(before)
    for item in items:
        if not isinstance(item, dict) or key not in item:
            raise bad_request(f"map: {item!r:.80} does not contain declared merge key: {key}")
        at = next((n for n, old in enumerate(merged) if old.get(key) == item[key]), None)
        if item.get(_DIRECTIVE) == "delete":
            merged = [old for old in merged if old.get(key) != item[key]]
        elif at is None:
            merged.append(strategic_merge({}, item, model))
        else:
            merged[at] = strategic_merge(merged[at], item, model)
    return merged


def _ordered(
    merged: list[Any], before: list[Any], order: Sequence[Any], key: str = ""
) -> list[Any]:
    """``merged`` in the order asked for; what the order does not name keeps its place."""
    if not order:
        return merged

    def identity(item: Any) -> Any:
        return item.get(key) if key else item

    was = [identity(item) for item in before]
    named = sorted(
        (item for item in merged if identity(item) in order),
        key=lambda item: order.index(identity(item)),
    )
    others = [item for item in merged if identity(item) not in order]
    result = []
    while named and others:
        first, other = identity(named[0]), identity(others[0])
        earlier = first in was and other in was and was.index(other) < was.index(first)
        result.append(others.pop(0) if earlier else named.pop(0))
    return result + named + others


def _without_directives(value: Any) -> Any:
    if isinstance(value, dict):
        plain = {field: item for field, item in value.items() if not field.startswith("$")}
        return {
            field: _without_directives(item) for field, item in plain.items() if item is not None
        }
    if isinstance(value, list):
        return [_without_directives(item) for item in value]
    return value
