"""Taints of the Node, and which of them a pod tolerates. Pure; matches as the scheduler does.

For how long a pod tolerates a taint is the control plane's business: here it does, or does not.
"""

from __future__ import annotations

from edgeagent.pods.model.nodefacts import Taint
from shared.objects import Json

_LEAST, _MOST = -(2**63), 2**63 - 1


def taints_of(node: Json | None) -> tuple[Taint, ...]:
    """NoExecute ones of a Node as the hub tells it; what is not of that form says nothing."""
    spec = (node or {}).get("spec")
    rows = spec.get("taints") if isinstance(spec, dict) else None
    found = [_taint(row) for row in rows] if isinstance(rows, list) else []
    return tuple(one for one in found if one is not None)


def _taint(row: object) -> Taint | None:
    if not isinstance(row, dict):
        return None
    key, value, effect = row.get("key"), row.get("value") or "", row.get("effect")
    if not (isinstance(key, str) and key and isinstance(value, str) and effect == "NoExecute"):
        return None
    return Taint(key, value, effect)


def tolerated(pod: Json, taint: Taint) -> bool:
    return any(_matches(one, taint) for one in pod["spec"].get("tolerations") or ())


def _matches(toleration: Json, taint: Taint) -> bool:
    if toleration.get("effect") not in (None, "", taint.effect):
        return False
    if toleration.get("key") not in (None, "", taint.key):
        return False
    value = toleration.get("value") or ""
    match toleration.get("operator") or "Equal":
        case "Exists":
            return True
        case "Equal":
            return bool(value == taint.value)
        case "Lt":
            return _less(taint.value, value)
        case "Gt":
            return _less(value, taint.value)
    return False


def _less(one: str, other: str) -> bool:
    """As numbers; what is none is not less, nor more."""
    first, second = _number(one), _number(other)
    return first is not None and second is not None and first < second


def _number(text: str) -> int | None:
    """Of 64 bits, in the one way that the API takes it: ``5``, not ``05`` or ``+5``."""
    try:
        value = int(text) if len(text) <= 20 else None
    except ValueError:
        return None
    return value if value is not None and str(value) == text and _LEAST <= value <= _MOST else None
