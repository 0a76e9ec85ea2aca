"""From bytes to an object of a kind: parsed, typed, pruned of what the kind does not have. Pure.

``prune`` is what makes the store hold only what a real server would: unknown fields are dropped
and reported by path, nulls and empty typed lists and maps vanish, numbers in quantities become
text, times take their canonical form. A value of a wrong type is a 400 that names the field.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from typing import Any

import yaml

from devcluster.apiserver import protobuf, schema
from devcluster.apiserver.resources import Resource
from devcluster.apiserver.stamps import canonical_time
from devcluster.apiserver.status import Json, bad_request, unsupported_media_type

BODY_TYPES = ("application/json", "application/yaml")
_PLAIN: dict[str, type | tuple[type, ...]] = {"str": str, "bool": bool, "float": (int, float)}


def parse(body: bytes, content_type: str) -> Any:
    """The JSON value of a request body; ``{}`` for an empty one."""
    media = content_type.split(";")[0].strip().lower() or "application/json"
    if media == protobuf.MEDIA_TYPE and body:
        return protobuf.decode(body)
    if media not in (*BODY_TYPES, protobuf.MEDIA_TYPE, "*/*"):
        raise unsupported_media_type(content_type, BODY_TYPES)
    if not body.strip():
        return {}
    try:
        value = json.loads(body) if media != "application/yaml" else yaml.safe_load(body)
        return well_formed(value) if b"\\ud" in body.lower() else value
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        text = f"the object provided is unrecognized: couldn't get version/kind: {error}"
        raise bad_request(text) from error


def well_formed(value: Any) -> Any:
    """Half of a surrogate pair is no text: a real server puts the mark of the unreadable there."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [well_formed(one) for one in value]
    if isinstance(value, dict):
        return {well_formed(name): well_formed(one) for name, one in value.items()}
    return value


@dataclass
class Decoded:
    obj: Json
    unknown: list[str] = field(default_factory=list)
    """Paths of the fields that were dropped, in the order of the body."""


def decode(resource: Resource, body: Any) -> Decoded:
    """``body`` as an object of ``resource``: right kind, right types, nothing unknown."""
    if not isinstance(body, dict):
        raise bad_request(f"cannot be handled as a {resource.kind}: a JSON object is expected")
    check_kind(body, resource.api_version, resource.kind)
    decoded = prune(resource.model, body, kind=resource.kind, version=resource.api_version)
    decoded.obj["apiVersion"] = resource.api_version
    decoded.obj["kind"] = resource.kind
    if not isinstance(decoded.obj.get("metadata"), dict):
        decoded.obj["metadata"] = {}
    decoded.obj["metadata"].pop("managedFields", None)
    return decoded


def check_kind(body: Json, api_version: str, kind: str) -> None:
    """Refuse a body that says it is something else; one that says nothing is taken at the URL."""
    said_version, said_kind = body.get("apiVersion"), body.get("kind")
    if said_kind not in (None, "", kind):
        wanted = f"{api_version}, Kind={kind}"
        raise bad_request(
            f"{said_kind} in version {said_version!r} cannot be handled as a {kind}: "
            f"converting ({said_version}, Kind={said_kind}) to ({wanted}): unknown conversion"
        )
    if said_version not in (None, "", api_version):
        raise bad_request(
            f"the API version in the data ({said_version}) does not match "
            f"the expected API version ({api_version})"
        )


def prune(model: str, body: Json, *, kind: str, version: str) -> Decoded:
    walk = _Walk(f'{kind} in version "{version}" cannot be handled as a {kind}')
    return Decoded(walk.model(model, body, ""), walk.unknown)


class _Walk:
    def __init__(self, refusal: str) -> None:
        self._refusal = refusal
        self.unknown: list[str] = []

    def model(self, model: str, value: Json, path: str) -> Json:
        fields = schema.fields_of(model)
        kept = {}
        for name, item in value.items():
            where = f"{path}.{name}" if path else name
            if name not in fields:
                self.unknown.append(where)
                continue
            pruned = self._value((model, name), fields[name], item, where)
            if pruned is not None:
                kept[name] = pruned
        return kept

    def _value(self, owner: tuple[str, str], kind: str, value: Any, path: str) -> Any:
        """The pruned value, or None when the field is as good as absent."""
        if value is None:
            return None
        if element := schema.item_type(kind):
            items = self._typed(value, list, kind, path)
            return [
                self._item(owner, element, v, f"{path}[{n}]") for n, v in enumerate(items)
            ] or None
        if element := schema.value_type(kind):
            pairs = self._typed(value, dict, kind, path).items()
            return {k: self._item(owner, element, v, f"{path}.{k}") for k, v in pairs} or None
        if schema.is_model(kind):
            return self.model(kind, self._typed(value, dict, kind, path), path)
        return self._scalar(owner, kind, value, path)

    def _item(self, owner: tuple[str, str], kind: str, value: Any, path: str) -> Any:
        if value is None and kind in ("str", "bytes"):
            return ""
        if value is None:
            return {}
        return self._value(owner, kind, value, path)

    def _scalar(self, owner: tuple[str, str], kind: str, value: Any, path: str) -> Any:
        if kind == "object":
            return value
        if kind == "int":
            return self._integer(value, path)
        if kind == "bytes":
            return self._base64(value, path)
        if kind == "datetime":
            return self._time(owner, value, path)
        if owner in schema.QUANTITIES and isinstance(value, int | float):
            return str(value)
        return self._typed(value, _PLAIN[kind], kind, path)

    def _integer(self, value: Any, path: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int | float) or int(value) != value:
            raise self._wrong(value, "int", path)
        return int(value)

    def _base64(self, value: Any, path: str) -> str:
        text = self._typed(value, str, "bytes", path)
        try:
            base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise bad_request(f"{self._refusal}: illegal base64 data in {path}") from error
        return str(text)

    def _time(self, owner: tuple[str, str], value: Any, path: str) -> str:
        text = self._typed(value, str, "time", path)
        try:
            return canonical_time(text, micro=owner in schema.MICROSECONDS)
        except ValueError as error:
            raise bad_request(f"{self._refusal}: parsing time {text!r:.60} in {path}") from error

    def _typed(self, value: Any, wanted: type | tuple[type, ...], kind: str, path: str) -> Any:
        if isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool)):
            return value
        raise self._wrong(value, kind, path)

    def _wrong(self, value: Any, kind: str, path: str) -> Exception:
        names = {str: "string", bool: "bool", int: "number", float: "number"}
        got = names.get(type(value), "array" if isinstance(value, list) else "object")
        return bad_request(
            f"{self._refusal}: json: cannot unmarshal {got} into field {path} of type {kind}"
        )
