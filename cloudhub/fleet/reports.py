"""The newest report of every object of every node: what a restarted hub finds on the broker.

Kept as payloads, because there are many. A device's sequence decides which of two is the newer,
so a broker that went back to an old store, or a late copy, does not take statuses back. But a
device may lose count (numbered on a full disk, then the clock went back, or an old image), and only
ever does by a new process, which is born first. So what it says live of an object for the first
time after a birth is the newest whatever its number, and after a birth that is plainly another
life's (``restarted``) so is what the broker retained of it. Pure. Owned by ``uplink.py``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from shared.codec import MAX_PLAIN, MAX_SAID
from shared.errors import WireError
from shared.messages import Report
from shared.objects import ObjectKey
from shared.topics import slot_of

ABOUT_PODS = ("Pod", "StaticPod")
MOST_PER_NODE = 10_000
"""Reports kept of one node about pods: as many as a list can have entries."""
MOST_BYTES = 8 * 1024 * 1024
"""Of all of them; a report has some 400, a list of static pods at the very most 2 MiB."""


def most_of(key: ObjectKey) -> int:
    """Bytes, decompressed, of a report about this. Only static pods travel in one whole."""
    return MAX_PLAIN if key.kind == "StaticPods" else MAX_SAID


@dataclass(slots=True)
class _Kept:
    payload: bytes
    sequence: int
    bound: bool
    """It was said live by this life of the device: what is retained needs a higher sequence."""
    since_birth: bool
    """It was said live after the last birth: so does what is said live."""


class ReportBook:
    def __init__(self) -> None:
        self._nodes: dict[str, dict[ObjectKey, _Kept]] = {}
        self._bytes: Counter[str] = Counter()
        self._slots: defaultdict[int, set[str]] = defaultdict(set)

    def accept(self, node: str, report: Report, payload: bytes, *, retained: bool) -> bool:
        """Whether this is the newest of its object. Raises WireError for more than a node may
        have here."""
        if node not in self._nodes:
            self._nodes[node] = {}
            self._slots[slot_of(node)].add(node)
        kept = self._nodes[node]
        old = kept.get(report.key)
        if old is not None and old.payload == payload:
            return False
        bound = old is not None and (old.bound if retained else old.since_birth)
        if old is not None and bound and report.sequence <= old.sequence:
            return False
        grows = len(payload) - (len(old.payload) if old is not None else 0)
        too_many = old is None and len(kept) >= MOST_PER_NODE
        too_large = grows > 0 and self._bytes[node] + grows > MOST_BYTES
        # Of the device itself, and of its list of static pods, there is but one each.
        if report.key.kind in ABOUT_PODS and (too_many or too_large):
            raise WireError("too-many-reports", f"{node}: {len(kept)}, {self._bytes[node]} bytes")
        self._bytes[node] += grows
        kept[report.key] = _Kept(
            *(payload, report.sequence),
            bound=not retained or (old is not None and old.bound),
            since_birth=not retained or (old is not None and old.since_birth),
        )
        return True

    def born(self, node: str) -> None:
        """The device said so just now: it may be a process that lost count."""
        for kept in self._nodes.get(node, {}).values():
            kept.since_birth = False

    def restarted(self, node: str) -> None:
        """The device began anew: its sequence may begin anywhere."""
        for kept in self._nodes.get(node, {}).values():
            kept.bound = kept.since_birth = False

    def payload(self, node: str, key: ObjectKey) -> bytes | None:
        kept = self._nodes.get(node, {}).get(key)
        return kept.payload if kept else None

    def has(self, node: str, sequence: int, mark: int) -> bool:
        """Whether this report, or a newer one of its object, is here."""
        reports = self._nodes.get(node, {}).items()
        return any(kept.sequence >= sequence and key.mark == mark for key, kept in reports)

    def keys(self, node: str) -> list[ObjectKey]:
        return list(self._nodes.get(node, ()))

    def nodes_of(self, slot: int) -> list[str]:
        return sorted(self._slots[slot])

    def drop(self, node: str, key: ObjectKey) -> None:
        kept = self._nodes.get(node)
        if kept is not None and key in kept:
            self._bytes[node] -= len(kept.pop(key).payload)
            if not kept:
                self.drop_node(node)

    def drop_node(self, node: str) -> None:
        self._nodes.pop(node, None)
        self._bytes.pop(node, None)
        self._slots[slot_of(node)].discard(node)
