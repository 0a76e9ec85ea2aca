"""Whether a mount that asks to be recursively read-only is so on this device. Pure.

Goes by what the handler of the pod's RuntimeClass can. Called for the mount itself (``mounts.py``)
and for the status, which says what came of it (``container_states.py``).
"""

from __future__ import annotations

from edgeagent.pods.model import specs
from edgeagent.pods.model.nodefacts import NodeFacts
from shared.objects import Json

DISABLED, IF_POSSIBLE, ENABLED = "Disabled", "IfPossible", "Enabled"


def resolved(pod: Json, wanted: Json, node: NodeFacts) -> bool:
    """Raises ValueError with what is wrong with the wish."""
    mode = wanted.get("recursiveReadOnly") or DISABLED
    if mode == DISABLED:
        return False
    handler = node.handler(specs.runtime_class(pod))
    able = handler is not None and handler.recursive_readonly
    propagation = wanted.get("mountPropagation") or "None"
    if not wanted.get("readOnly"):
        raise ValueError("it is not read-only")
    if propagation != "None":
        raise ValueError(f'it is not compatible with propagation "{propagation}"')
    if mode == ENABLED and not able:
        raise ValueError("it is not supported by the runtime")
    return able


def unforeseen(pod: Json, container: Json, node: NodeFacts) -> list[Json]:
    """For the status: of each mount whose mode nobody else can tell from the spec, how it is."""
    said = []
    for wanted in container.get("volumeMounts") or ():
        asked = wanted.get("recursiveReadOnly") or DISABLED
        if wanted.get("readOnly") and asked != DISABLED:
            mode = ENABLED if _is_so(pod, wanted, node) else DISABLED
            if mode != asked:
                said.append({"mountPath": wanted.get("mountPath"), "recursiveReadOnly": mode})
    return said


def _is_so(pod: Json, wanted: Json, node: NodeFacts) -> bool:
    try:
        return resolved(pod, wanted, node)
    except ValueError:
        return False
