"""Applying a patch to an object: JSON Merge Patch, JSON Patch, strategic and apply. Pure.

``apply`` picks by content type and returns a new object; what it was given stays as it was. A
patch that is not well-formed is a 400, one that does not fit the object a 422.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from devcluster.apiserver.status import Json, bad_request, unprocessable, unsupported_media_type
from devcluster.apiserver.strategic import strategic_merge

MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
PATCH_TYPES = (JSON_PATCH, MERGE, STRATEGIC, APPLY)

_MOST_OPERATIONS = 10_000


def apply(original: Json, patch: Any, *, media: str, model: str) -> Json:
    """``original`` with ``patch`` applied; ``model`` names its kind for the strategic merge."""
    if media == JSON_PATCH:
        patched = json_patch(original, patch)
    elif not isinstance(patch, dict):
        raise bad_request("error decoding patch: a JSON object is expected")
    elif media == MERGE:
        patched = merge_patch(original, patch)
    elif media in (STRATEGIC, APPLY):
        patched = strategic_merge(original, patch, model)
    else:
        raise unsupported_media_type(media, PATCH_TYPES)
    if not isinstance(patched, dict):
        raise unprocessable("the patched document is no object")
    return patched


def merge_patch(original: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(original) if isinstance(original, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def json_patch(original: Json, operations: Any) -> Any:
    """RFC 6902."""
    if not isinstance(operations, list) or not all(isinstance(op, dict) for op in operations):
        raise bad_request("error decoding patch: a JSON array of operations is expected")
    if len(operations) > _MOST_OPERATIONS:
        raise bad_request(f"the allowed maximum operations in a JSON patch is {_MOST_OPERATIONS}")
    document: Any = {"": deepcopy(original)}
    for operation in operations:
        _operate(document, operation)
    return document[""]


def _operate(document: Any, operation: Json) -> None:
    name = operation.get("op")
    act = _OPERATIONS.get(name) if isinstance(name, str) else None
    if act is None:
        raise bad_request(f"error decoding patch: unknown operation {name!r:.40}")
    act(document, operation)


def _path(operation: Json, field: str = "path") -> list[str]:
    pointer = operation.get(field)
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
        raise bad_request(f"error decoding patch: {field} must be a JSON pointer")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")]


def _value(operation: Json) -> Any:
    if "value" not in operation:
        raise bad_request("error decoding patch: missing value")
    return deepcopy(operation["value"])


def _parent(document: Any, path: list[str]) -> Any:
    holder = document
    for part in path[:-1]:
        holder = _child(holder, part, path)
    if not isinstance(holder, dict | list):
        raise _no_such(path)
    return holder


def _child(holder: Any, part: str, path: list[str]) -> Any:
    if isinstance(holder, dict) and part in holder:
        return holder[part]
    if isinstance(holder, list):
        return holder[_index(holder, part, path, most=len(holder) - 1)]
    raise _no_such(path)


def _index(holder: list[Any], part: str, path: list[str], *, most: int) -> int:
    if not part.isascii() or not part.isdigit() or int(part) > most:
        raise _no_such(path)
    return int(part)


def _no_such(path: list[str]) -> Exception:
    text = f"the path {'/'.join(path)!r} does not exist in the object"
    return unprocessable(f"the server rejected our request due to an error in our request: {text}")


def _add(document: Any, operation: Json) -> None:
    _put(document, _path(operation), _value(operation))


def _put(document: Any, path: list[str], value: Any) -> None:
    holder = _parent(document, path)
    if isinstance(holder, dict):
        holder[path[-1]] = value
    elif path[-1] == "-":
        holder.append(value)
    else:
        holder.insert(_index(holder, path[-1], path, most=len(holder)), value)


def _remove(document: Any, operation: Json) -> None:
    _take(document, _path(operation))


def _take(document: Any, path: list[str]) -> Any:
    holder = _parent(document, path)
    value = _child(holder, path[-1], path)
    if isinstance(holder, dict):
        del holder[path[-1]]
    else:
        del holder[int(path[-1])]
    return value


def _replace(document: Any, operation: Json) -> None:
    path, value = _path(operation), _value(operation)
    holder = _parent(document, path)
    _child(holder, path[-1], path)
    holder[path[-1] if isinstance(holder, dict) else int(path[-1])] = value


def _move(document: Any, operation: Json) -> None:
    value = _take(document, _path(operation, "from"))
    _put(document, _path(operation), value)


def _copy(document: Any, operation: Json) -> None:
    source = _path(operation, "from")
    value = _child(_parent(document, source), source[-1], source)
    _put(document, _path(operation), deepcopy(value))


def _test(document: Any, operation: Json) -> None:
    path = _path(operation)
    holder = _parent(document, path)
    found = holder.get(path[-1]) if isinstance(holder, dict) else _child(holder, path[-1], path)
    if found != operation.get("value"):
        text = f"testing path {'/'.join(path)!r}: the value is another one"
        raise unprocessable(
            f"the server rejected our request due to an error in our request: {text}"
        )


_OPERATIONS: dict[str, Callable[[Any, Json], None]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
}
