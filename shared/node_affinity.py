"""Whether a node's labels are what a pod's or a volume's required affinity asks for.

Pure; the hub asks it of pods that are new, the device of pods and volumes. A device knows only some
of its Node's labels, and the scheduler has looked at all of them. So labels are what is known: the
value, None for a label that the Node is known not to have, and a key that is not there for one that
nobody here knows. A pod is turned down for what is known, never for what is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from shared.objects import Json

Labels = Mapping[str, str | None]

HOSTNAME, OS, ARCH = "kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch"
KNOWN_TO_DEVICES = frozenset({HOSTNAME, OS, ARCH})
"""What a device knows of itself; all others are the API's."""

_FIELDS = {"metadata.name"}
_OPERATORS = frozenset({"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"})
_NUMBER = re.compile(r"[+-]?[0-9]{1,40}")
_LEAST, _MOST = -(2**63), 2**63 - 1


def fits(pod: Json, labels: Labels, *, name: str) -> bool:
    """Whether the Node ``name`` with these labels may have the pod, as far as that is known."""
    selector = pod["spec"].get("nodeSelector") or {}
    if any(labels.get(key, value) != value for key, value in selector.items()):
        return False
    required = _required(pod)
    return required is None or selects(required, labels, name=name)


def keys_named(pod: Json) -> frozenset[str]:
    """Of the labels that decide whether a node may have the pod."""
    return frozenset({*(pod["spec"].get("nodeSelector") or ()), *_keys(_required(pod) or {})})


def selects(selector: Json, labels: Labels, *, name: str) -> bool:
    """``selector`` is a NodeSelector."""
    terms = selector.get("nodeSelectorTerms") or ()
    return any(_term(term, labels, name=name) for term in terms)


def _required(pod: Json) -> Json | None:
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required: Json | None = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return required


def _keys(selector: Json) -> Iterator[str]:
    for term in selector.get("nodeSelectorTerms") or ():
        for one in term.get("matchExpressions") or ():
            yield str(one.get("key"))


def _term(term: Json, labels: Labels, *, name: str) -> bool:
    """All of its requirements; a term without any selects nothing."""
    expressions = term.get("matchExpressions") or ()
    fields = term.get("matchFields") or ()
    known = {"metadata.name": name}
    return (
        bool(expressions or fields)
        and all(_holds(one, labels) for one in expressions)
        and all(one.get("key") in _FIELDS and _holds(one, known) for one in fields)
    )


def _holds(requirement: Json, labels: Labels) -> bool:
    key, operator = str(requirement.get("key")), requirement.get("operator")
    if operator not in _OPERATORS:
        return False
    if key not in labels:
        return True
    value = labels[key]
    if value is None:
        return operator in ("NotIn", "DoesNotExist")
    wanted = requirement.get("values") or []
    match operator:
        case "In":
            return value in wanted
        case "NotIn":
            return value not in wanted
        case "Gt":
            return len(wanted) == 1 and _above(value, wanted[0])
        case "Lt":
            return len(wanted) == 1 and _above(wanted[0], value)
    return bool(operator == "Exists")


def _above(value: object, other: object) -> bool:
    number, limit = _number(value), _number(other)
    return number is not None and limit is not None and number > limit


def _number(value: object) -> int | None:
    """Of 64 bits, in digits alone: ``1_0`` is a label's value, and no number."""
    text = str(value)
    number = int(text) if _NUMBER.fullmatch(text) else None
    return number if number is not None and _LEAST <= number <= _MOST else None
