"""What devices say they run by themselves: the newest list of static pods of every node.

Read from the ``ReportBook``, which has what the broker retains; nothing is remembered beside it
but the last one that was decoded. Invariant: no list, or one that cannot be read, is no evidence of
anything. Asked by ``mirrors.py`` and ``reporting.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cloudhub.fleet.reports import ReportBook, most_of
from cloudhub.mirrors.mirror_rules import StaticPod, static_pods
from shared.errors import WireError
from shared.messages import Report
from shared.objects import ObjectKey
from shared.static_pods import list_key, pod_key


@dataclass(frozen=True, slots=True)
class StaticList:
    payload: bytes
    sequence: int
    pods: Mapping[ObjectKey, StaticPod]


class StaticLists:
    def __init__(self, book: ReportBook) -> None:
        self._book = book
        self._decoded: dict[str, StaticList] = {}

    def check(self, node: str, report: Report) -> None:
        """Raises WireError for a list that may not be believed."""
        static_pods(node, report.status)

    def of(self, node: str) -> StaticList | None:
        """None when the node has told none."""
        payload = self._book.payload(node, list_key(node))
        if payload is None:
            self._decoded.pop(node, None)
            return None
        known = self._decoded.get(node)
        if known is None or known.payload is not payload:
            report = Report.decode(payload, most=most_of(list_key(node)))
            try:
                pods = static_pods(node, report.status)
            except WireError:
                return None
            known = self._decoded[node] = StaticList(payload, report.sequence, pods)
        return known

    def forget(self, node: str) -> None:
        """Nothing is heard of it any more."""
        self._decoded.pop(node, None)

    def is_over(self, node: str, report: Report) -> bool:
        """Whether the device said after this report that it runs that static pod no more."""
        known = self.of(node)
        if known is None or known.sequence < report.sequence:
            return False
        pod = known.pods.get(pod_key(report.key))
        return pod is None or pod.uid != report.uid
