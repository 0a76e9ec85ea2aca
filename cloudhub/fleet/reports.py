"""The newest report of every object of every node: what a restarted hub finds on the broker.

Kept as payloads, because there are many. A device's sequence decides which of two is the newer,
so a broker that went back to an old store does not take statuses back. Only a device that itself
began anew (another instance, or a lower counter: an old image) may come with lower ones, and what
it says live is newer than what was retained before. Pure. Owned by ``uplink.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.messages import Report
from shared.objects import ObjectKey

MOST_PER_NODE = 2000
"""Reports kept of one node; a device has a few hundred pods at the very most."""


@dataclass(slots=True)
class _Kept:
    payload: bytes
    sequence: int
    bound: bool
    """Only a higher sequence may replace it."""


class ReportBook:
    def __init__(self) -> None:
        self._nodes: dict[str, dict[ObjectKey, _Kept]] = {}

    def accept(self, node: str, report: Report, payload: bytes, *, retained: bool) -> bool:
        """Whether this is the newest of its object."""
        kept = self._nodes.setdefault(node, {})
        old = kept.get(report.key)
        if old is None and len(kept) >= MOST_PER_NODE:
            return False
        if old is not None and old.payload == payload:
            return False
        bound = old is not None and old.bound
        if old is not None and bound and report.sequence <= old.sequence:
            return False
        kept[report.key] = _Kept(payload, report.sequence, bound=bound or not retained)
        return True

    def restarted(self, node: str) -> None:
        """The device began anew: its sequence may begin anywhere."""
        for kept in self._nodes.get(node, {}).values():
            kept.bound = False

    def payload(self, node: str, key: ObjectKey) -> bytes | None:
        kept = self._nodes.get(node, {}).get(key)
        return kept.payload if kept else None

    def keys(self, node: str) -> list[ObjectKey]:
        return list(self._nodes.get(node, ()))

    def nodes(self) -> list[str]:
        return list(self._nodes)

    def drop(self, node: str, key: ObjectKey) -> None:
        kept = self._nodes.get(node)
        if kept is not None and key in kept:
            del kept[key]
            if not kept:
                del self._nodes[node]

    def drop_node(self, node: str) -> None:
        self._nodes.pop(node, None)
