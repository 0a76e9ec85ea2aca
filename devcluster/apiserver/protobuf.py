"""Reads the few protobuf bodies that ``kubectl`` insists on sending; answers are always JSON.

``kubectl create namespace|configmap|secret|serviceaccount|token`` and ``drain`` encode their
requests this way and do not fall back. The tables below name the fields of just those messages; a
kind or a field that is not here is refused with 415, never dropped. Pure.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping

from devcluster.apiserver.status import ApiError, Json, bad_request

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_VARINT, _BYTES = 0, 2

Field = tuple[str, str]
"""JSON name and type: text, bytes, int, int? (0 is meant), bool, map, bytemap, skip, or the name
of a message; ``[]`` before it for a repeated field."""

_META: Mapping[int, Field] = {
    1: ("name", "text"),
    2: ("generateName", "text"),
    3: ("namespace", "text"),
    4: ("selfLink", "text"),
    5: ("uid", "text"),
    6: ("resourceVersion", "text"),
    7: ("generation", "int"),
    8: ("", "skip"),
    9: ("", "skip"),
    10: ("", "skip"),
    11: ("labels", "map"),
    12: ("annotations", "map"),
    14: ("finalizers", "[]text"),
    17: ("", "skip"),
}
_MESSAGES: Mapping[str, Mapping[int, Field]] = {
    "ObjectMeta": _META,
    "Namespace": {1: ("metadata", "ObjectMeta"), 2: ("", "skip"), 3: ("", "skip")},
    "ConfigMap": {
        1: ("metadata", "ObjectMeta"),
        2: ("data", "map"),
        3: ("binaryData", "bytemap"),
        4: ("immutable", "bool"),
    },
    "Secret": {
        1: ("metadata", "ObjectMeta"),
        2: ("data", "bytemap"),
        3: ("type", "text"),
        4: ("stringData", "map"),
        5: ("immutable", "bool"),
    },
    "ServiceAccount": {1: ("metadata", "ObjectMeta"), 4: ("automountServiceAccountToken", "bool")},
    "DeleteOptions": {
        1: ("gracePeriodSeconds", "int?"),
        2: ("preconditions", "Preconditions"),
        3: ("orphanDependents", "bool"),
        4: ("propagationPolicy", "text"),
        5: ("dryRun", "[]text"),
    },
    "Preconditions": {1: ("uid", "text"), 2: ("resourceVersion", "text")},
    "Eviction": {1: ("metadata", "ObjectMeta"), 2: ("deleteOptions", "DeleteOptions")},
    "TokenRequest": {
        1: ("metadata", "ObjectMeta"),
        2: ("spec", "TokenRequestSpec"),
        3: ("", "skip"),
    },
    "TokenRequestSpec": {
        1: ("audiences", "[]text"),
        4: ("expirationSeconds", "int"),
        3: ("boundObjectRef", "BoundObjectReference"),
    },
    "BoundObjectReference": {
        1: ("kind", "text"),
        2: ("apiVersion", "text"),
        3: ("name", "text"),
        4: ("uid", "text"),
    },
    "Unknown": {1: ("type", "TypeMeta"), 2: ("raw", "raw"), 3: ("", "skip"), 4: ("", "skip")},
    "TypeMeta": {1: ("apiVersion", "text"), 2: ("kind", "text")},
}


def decode(body: bytes) -> Json:
    """The JSON form of one ``runtime.Unknown`` envelope."""
    if not body.startswith(_MAGIC):
        raise bad_request("a protobuf body must start with the envelope of Kubernetes")
    envelope = _message("Unknown", body[len(_MAGIC) :])
    head: Json = envelope.get("type", {})
    kind = head.get("kind", "")
    if kind not in _MESSAGES:
        raise _unread(f"{kind or 'an object without a kind'} in protobuf")
    return head | _message(kind, envelope.get("raw", b""))


def _unread(what: str) -> ApiError:
    message = f"this server does not read {what}; send application/json"
    return ApiError(415, "UnsupportedMediaType", message)


def _message(name: str, data: bytes) -> Json:
    fields = _MESSAGES[name]
    result: Json = {}
    for number, value in _pairs(data):
        if number not in fields:
            raise _unread(f"field {number} of {name} in protobuf")
        field, kind = fields[number]
        _put(result, field, kind, value)
    return result


def _put(result: Json, field: str, kind: str, value: int | bytes) -> None:
    if isinstance(value, int):
        if kind in ("int", "int?", "bool") and (value or kind != "int"):
            result[field] = bool(value) if kind == "bool" else _signed(value)
    elif kind == "text":
        if value:
            result[field] = _text(value)
    elif kind == "[]text":
        result.setdefault(field, []).append(_text(value))
    elif kind in ("map", "bytemap"):
        entry = {number: part for number, part in _pairs(value) if isinstance(part, bytes)}
        content = entry.get(2, b"")
        plain = base64.b64encode(content).decode() if kind == "bytemap" else _text(content)
        result.setdefault(field, {})[_text(entry.get(1, b""))] = plain
    elif kind == "raw":
        result[field] = value
    elif kind in _MESSAGES:
        result[field] = _message(kind, value)


def _pairs(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers with their values: integers, or the bytes of anything longer."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        value, at = _varint(data, at)
        if wire == _VARINT:
            yield number, value
        elif wire == _BYTES and at + value <= len(data):
            yield number, data[at : at + value]
            at += value
        else:
            raise bad_request("a protobuf body that is cut short or malformed")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not data[at - 1] & 0x80:
            return value, at
    raise bad_request("a protobuf body that is cut short or malformed")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise bad_request("text in a protobuf body that is no UTF-8") from error
