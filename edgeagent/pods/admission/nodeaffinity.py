"""Whether a node's labels are what a pod's or a volume's required affinity asks for.

Pure. The device knows only some of its Node's labels, and the scheduler has looked at all of
them: so a pod is turned down for a label that is known to differ, never for one that is not known.
"""

from __future__ import annotations

from collections.abc import Mapping

from shared.objects import Json

_FIELDS = {"metadata.name"}


def fits(pod: Json, labels: Mapping[str, str], *, name: str) -> bool:
    selector = pod["spec"].get("nodeSelector") or {}
    if any(labels.get(key, value) != value for key, value in selector.items()):
        return False
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return required is None or selects(required, labels, name=name)


def selects(selector: Json, labels: Mapping[str, str], *, name: str) -> bool:
    """``selector`` is a NodeSelector."""
    terms = selector.get("nodeSelectorTerms") or ()
    return any(_term(term, labels, name=name) for term in terms)


def _term(term: Json, labels: Mapping[str, str], *, name: str) -> bool:
    """All of its requirements; a term without any selects nothing."""
    expressions = term.get("matchExpressions") or ()
    fields = term.get("matchFields") or ()
    known = {"metadata.name": name}
    return (
        bool(expressions or fields)
        and all(_holds(one, labels) for one in expressions)
        and all(one.get("key") in _FIELDS and _holds(one, known) for one in fields)
    )


def _holds(requirement: Json, values: Mapping[str, str]) -> bool:
    value = values.get(str(requirement.get("key")))
    if value is None:
        return True
    wanted = requirement.get("values") or []
    match requirement.get("operator"):
        case "In":
            return value in wanted
        case "NotIn":
            return value not in wanted
        case "Exists" | "DoesNotExist" as operator:
            return bool(operator == "Exists")
        case "Gt":
            return _above(value, next(iter(wanted), None))
        case "Lt":
            return _above(next(iter(wanted), None), value)
    return False


def _above(value: object, other: object) -> bool:
    number, limit = _number(value), _number(other)
    return number is not None and limit is not None and number > limit


def _number(value: object) -> int | None:
    try:
        return int(str(value))
    except ValueError:
        return None
