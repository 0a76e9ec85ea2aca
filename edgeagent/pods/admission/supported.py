"""What of a pod this agent does not do: nothing that a pod asks for is left out silently.

Pure and total: any JSON at all gets an answer, and a pod without a fatal one has the shape that
all other modules of this package rely on. The table is ``supported_fields.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edgeagent.pods.admission.supported_fields import TABLE
from edgeagent.pods.admission.verdicts import Field, Verdict
from edgeagent.pods.model import specs
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.resources import quantities
from edgeagent.runtime.abilities import no_stop_signal
from shared.objects import Json, is_name

_MEDIUM = re.compile(r"(Memory|HugePages(-[0-9]+[A-Za-z]+)?)?")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LARGEST = 2**63


@dataclass(frozen=True, slots=True)
class Unsupported:
    field: str
    """Path from the pod's root: ``spec.containers[0].volumeDevices``."""
    message: str
    fatal: bool
    """The pod cannot be taken up; otherwise it runs without the field."""


def unsupported(pod: Any) -> list[Unsupported]:
    return list(_pod(pod))


def by_runtime(pod: Json, node: NodeFacts) -> list[Unsupported]:
    """What of a pod that is taken up this runtime would leave out without a word."""
    words = no_stop_signal(node.runtime_name, node.runtime_version)
    return [
        Unsupported(f"{path}.lifecycle.stopSignal", words, fatal=False)
        for path, one in (specs.placed(pod) if words else ())
        if specs.stop_signal(one)
    ]


def shortcomings(kind: str, value: Any, path: str) -> list[Unsupported]:
    """What of a part of ``kind`` makes it of no use here."""
    return [one for one in _object(kind, value, path) if one.fatal]


def _pod(pod: Any) -> Iterator[Unsupported]:
    if not isinstance(pod, dict):
        yield _malformed("pod", "map")
        return
    yield from _metadata(pod.get("metadata"))
    spec = pod.get("spec")
    yield from _object("PodSpec", spec, "spec")
    if isinstance(spec, dict) and not spec.get("containers"):
        yield _malformed("spec.containers", "list with at least one container")


def _metadata(metadata: Any) -> Iterator[Unsupported]:
    if not isinstance(metadata, dict):
        yield _malformed("metadata", "map")
        return
    for field in ("name", "namespace"):
        if not is_name(metadata.get(field)):
            yield _malformed(f"metadata.{field}", "name")
    if not isinstance(metadata.get("uid"), str) or not metadata["uid"]:
        yield _malformed("metadata.uid", "text")
    for field in ("labels", "annotations"):
        if metadata.get(field) is not None:
            yield from _value("texts", metadata[field], f"metadata.{field}")


def _object(kind: str, value: Any, path: str) -> Iterator[Unsupported]:
    if not isinstance(value, dict):
        yield _malformed(path, "map")
        return
    table = TABLE[kind]
    for name in value:
        if value[name] is not None:
            yield from _field(table.get(name), value[name], f"{path}.{name:.80}")
    for name, field in table.items():
        if field.required and value.get(name) is None:
            yield Unsupported(f"{path}.{name}", "Required value", fatal=True)


def _field(field: Field | None, value: Any, path: str) -> Iterator[Unsupported]:
    if field is None:
        yield Unsupported(path, "this version of the agent does not know the field", fatal=False)
    elif field.verdict is Verdict.REFUSED:
        if value not in ([], {}, ""):
            yield Unsupported(path, field.note, fatal=True)
    elif field.verdict is Verdict.SUPPORTED:
        yield from _value(field.shape, value, path)
        if field.values and value not in (*field.values, ""):
            words = ", ".join(field.values)
            yield Unsupported(path, field.note or f"supported values: {words}", fatal=True)


def _value(shape: str, value: Any, path: str) -> Iterator[Unsupported]:
    if shape.startswith("["):
        if not isinstance(value, list):
            yield _malformed(path, "list")
            return
        for index, one in enumerate(value):
            yield from _value(shape[1:-1], one, f"{path}[{index}]")
    elif shape in TABLE:
        yield from _object(shape, value, path)
    elif not _fits(shape, value):
        yield _malformed(path, shape)


def _fits(shape: str, value: Any) -> bool:
    match shape:
        case "text":
            return isinstance(value, str)
        case "label":
            return isinstance(value, str) and bool(_LABEL.fullmatch(value))
        case "flag":
            return isinstance(value, bool)
        case "number":
            return _is_number(value)
        case "port":
            return isinstance(value, str) or _is_number(value)
        case "medium":
            return isinstance(value, str) and bool(_MEDIUM.fullmatch(value))
        case "amount":
            return _is_amount(value)
        case "texts":
            return _is_map(value) and all(isinstance(one, str) for one in value.values())
        case "amounts":
            return _is_map(value) and all(map(_is_amount, value.values()))
    return shape == "any"


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST


def _is_map(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def _is_amount(value: Any) -> bool:
    try:
        return quantities.parse(value) >= 0
    except quantities.BadQuantity:
        return False


def _malformed(path: str, shape: str) -> Unsupported:
    return Unsupported(path, f"is not a {shape}", fatal=True)
