"""What becomes of a message that the hub does not take: counted, logged now and then, and let go.

Reports are retained, so what is refused for good would wait at the broker for every hub to come,
and in such numbers that a queue overflows at each reading: those are cleared, at a bounded rate
for each node. Invariant: only what no hub could ever take is cleared; what another release may
understand (a kind that is not known here, a version, a field) stays. Owned by ``uplink.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from cloudhub.metrics import Metrics
from cloudhub.throttling import Buckets, Sayings
from shared.clock import Clock
from shared.errors import WireError
from shared.topics import Topics

FOR_GOOD = frozenset({"too-many-reports", "foreign-report", "bad-key"})
"""Reasons that do not pass."""
KNOWN = frozenset({"Pod", "Node", "StaticPod", "StaticPods"})
"""Kinds that are reported about."""
BURST, PER_SECOND = 200.0, 20.0
"""Topics of one node that are cleared; the others are when they are read the next time."""


class Refusals:
    def __init__(
        self,
        topics: Topics,
        let_go: Callable[[str, str], None],
        *,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """``let_go`` takes a refused report from the broker: node, and the rest of its topic."""
        self._topics = topics
        self._let_go = let_go
        self._metrics = metrics
        self._sayings = Sayings(clock=clock)
        self._clears = Buckets(burst=BURST, per_second=PER_SECOND, clock=clock)

    def refuse(self, topic: str, error: Exception) -> None:
        reason, trace = type(error).__name__, cast(Exception | None, error)
        if isinstance(error, WireError):
            reason, trace = error.reason, None
        self._metrics.rejected(reason)
        details = {"topic": topic[:300], "error": str(error)[:300]}
        self._sayings.warn(reason, "message rejected", **details, exc_info=trace)
        if trace is None and reason in FOR_GOOD:
            self._judge(topic)

    def _judge(self, topic: str) -> None:
        node, rest = self._topics.parse(topic)
        branch, kind = (*rest.split("/"), "")[:2]
        if branch == "reported" and kind in KNOWN and self._clears.take(node):
            self._let_go(node, rest)
