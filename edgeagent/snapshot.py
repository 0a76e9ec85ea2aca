"""What a device knows at one moment, for ``edgeagent status`` and ``edgeagent pods``: one value.

Made by the running agent from its memory (``taken``), which is true also while its disk is full,
or without one from the database (``store/reading.py``); told in ``local/describing.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from shared.objects import Json, ObjectKey

if TYPE_CHECKING:  # The command line loads none of it.
    from edgeagent.desired import Desired
    from edgeagent.outbox import Row
    from edgeagent.standing import Standing


@dataclass(frozen=True)
class StoredReport:
    """Newest report about one pod, as it is or will be sent."""

    namespace: str
    name: str
    uid: str
    status: Json
    sent: bool


@dataclass(frozen=True)
class Snapshot:
    agent_runs: bool
    standing: Json
    revision: int
    wanted_pods: frozenset[str]
    """``namespace/name`` of every listed and every static pod."""
    missing: tuple[str, ...]
    """Listed objects whose body has not come."""
    reports: tuple[StoredReport, ...] = ()
    waiting: int = 0
    """Reports that the broker does not have yet."""
    facts: tuple[Json, ...] = ()
    """What is kept about each pod, as ``pods.facts.PodFacts`` has it."""
    trouble: str = ""
    """Why the database cannot be written; empty = it can."""
    live: bool = False
    """Told by the agent itself, of this moment."""


_PODS = ("Pod", "StaticPod")


def taken(
    standing: Standing,
    *,
    desired: Desired,
    static: Iterable[ObjectKey],
    rows: Mapping[ObjectKey, Row],
    facts: Iterable[Json],
    trouble: str,
) -> Json:
    """Of a running agent; ``read`` at the other end of its socket makes the value of it."""
    listed = (key for key in desired.inventory.entries if key.kind == "Pod")
    return {
        "standing": asdict(standing),
        "revision": desired.inventory.revision,
        "wanted_pods": sorted({_name(key) for key in (*listed, *static)}),
        "missing": sorted(str(key) for key in desired.missing()),
        "reports": [_report(row) for key, row in rows.items() if key.kind in _PODS],
        "waiting": sum(not row.sent for row in rows.values()),
        "facts": list(facts),
        "trouble": trouble,
    }


def read(told: Json) -> Snapshot:
    """Raises KeyError or TypeError when another version of the agent told something else."""
    return Snapshot(
        agent_runs=True,
        standing=dict(told["standing"]),
        revision=int(told["revision"]),
        wanted_pods=frozenset(told["wanted_pods"]),
        missing=tuple(told["missing"]),
        reports=tuple(StoredReport(**one) for one in told["reports"]),
        waiting=int(told["waiting"]),
        facts=tuple(told["facts"]),
        trouble=str(told["trouble"]),
        live=True,
    )


def _name(key: ObjectKey) -> str:
    return f"{key.namespace}/{key.name}"


def _report(row: Row) -> Json:
    key = row.key
    return asdict(StoredReport(key.namespace, key.name, row.uid, row.status, row.sent))
