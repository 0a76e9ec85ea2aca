"""What a benchmark gives: rows of the table in docs/benchmarks.md."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure with how it was got; ``met`` is None where there is no target."""

    what: str
    ours: str
    target: str = ""
    peer: str = ""
    """The same figure of KubeEdge, where it was measured."""
    met: bool | None = None
    method: str

    def cells(self) -> list[str]:
        verdict = {True: "yes", False: "**no**", None: ""}[self.met]
        return [self.what, self.peer, self.target, self.ours, verdict, self.method]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def spread(values: Sequence[float]) -> str:
    """Seconds: the median, and the least and greatest beside it."""
    return f"{median(values):.2f} s ({min(values):.2f} to {max(values):.2f}, n={len(values)})"


def table(rows: Sequence[Row]) -> str:
    head = ["what", "KubeEdge", "target", "Kubetide", "met", "how it was measured"]
    lines = [head, ["---"] * len(head), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
