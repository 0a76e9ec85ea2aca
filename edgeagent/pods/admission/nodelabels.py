"""Labels of the Node as the hub tells them: those by which some new pod may not be here. Pure.

They hold with the list that they came with and no longer, so that a label which lets a pod in is
never older than the pod. While the newest have not come, none is known.
"""

from __future__ import annotations

from shared.node_affinity import Labels
from shared.objects import Json


def labels_of(node: Json | None) -> Labels:
    """Value by key, None for one that the Node does not have; what is neither says nothing."""
    metadata = (node or {}).get("metadata")
    rows = metadata.get("labels") if isinstance(metadata, dict) else None
    if not isinstance(rows, dict):
        return {}
    return {
        key: value
        for key, value in rows.items()
        if isinstance(key, str) and (value is None or isinstance(value, str))
    }
