"""Which taints of a Node its device judges new pods by. Pure.

A kubelet takes up no pod that does not tolerate the NoExecute taints of its Node. A device is told
of those that somebody has put there for a purpose. Not of ``node.kubernetes.io/…``: these are what
the control plane concludes from a link, also from one that is merely down, and the device knows
better. Nor of those that the hub gives each Node: they would be on every device's list, and say
nothing of any. Called by ``nodes.py`` and ``node_status.py``.
"""

from __future__ import annotations

from collections.abc import Iterable

from shared.objects import Json

CONTROL_PLANES = "node.kubernetes.io/"
"""How keys begin that Kubernetes itself puts on Nodes and takes away again."""


def judged_by(node: Json) -> list[Json]:
    """Sorted, and without the time at which they came: setting one again changes nothing."""
    taints = (node.get("spec") or {}).get("taints") or ()
    kept = [
        {name: one[name] for name in ("key", "value", "effect") if one.get(name)}
        for one in taints
        if one.get("effect") == "NoExecute" and not one["key"].startswith(CONTROL_PLANES)
    ]
    return sorted(kept, key=lambda one: (one["key"], one.get("value", "")))


def without(given: Iterable[Json], own: Iterable[Json]) -> list[Json]:
    """Those that the hub itself has not set."""
    mine = list(own)
    return [one for one in given if one not in mine]
