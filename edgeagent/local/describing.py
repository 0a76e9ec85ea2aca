"""``edgeagent status`` in plain words, and the table of ``edgeagent pods``. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from edgeagent.store.reading import Snapshot, StoredReport
from shared.objects import Json

COLUMNS = ("NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP")
UNITS = ((86400, "d"), (3600, "h"), (60, "m"))


def describe(snapshot: Snapshot, *, now: float) -> str:
    said = snapshot.standing
    lines = [
        ("agent", _agent(snapshot)),
        ("node", said.get("node", "not known yet")),
        ("link", _link(snapshot, now=now)),
        ("hub", _hub(said)),
        ("runtime", _runtime(said)),
        ("pods", _pods(snapshot)),
        ("list", _list(snapshot)),
        ("reports", _reports(snapshot)),
    ]
    if not snapshot.agent_runs:
        lines.insert(1, ("note", "what follows is what the agent knew when it last ran"))
    return "".join(f"{label + ':':<9} {text}\n" for label, text in lines)


def _agent(snapshot: Snapshot) -> str:
    if not snapshot.agent_runs:
        return "not running; containers that were running go on without it"
    said = snapshot.standing
    if said.get("fenced"):
        return f"stopped acting: {said['fenced']}"
    return f"running, version {said.get('version', '?')}" if said.get("ready") else "starting"


def _link(snapshot: Snapshot, *, now: float) -> str:
    said = snapshot.standing
    broker = f" (broker {said['broker']})" if said.get("broker") else ""
    since = said.get("since")
    ago = f", for {age(now - since)}" if isinstance(since, (int, float)) and since else ""
    return f"{said.get('link') or 'not connected yet'}{ago}{broker}"


def _hub(said: Json) -> str:
    if said.get("link") != "connected":
        return "not known while the link is away"
    return f"there ({said['hub']})" if said.get("hub") else "not there, as far as the broker knows"


def _runtime(said: Json) -> str:
    trouble = said.get("runtime_message")
    return f"{said.get('runtime', 'not known yet')}{f': {trouble}' if trouble else ''}"


def _pods(snapshot: Snapshot) -> str:
    phases = Counter(state(report.status) for report in wanted(snapshot))
    counts = ", ".join(f"{number} {phase}" for phase, number in sorted(phases.items()))
    return f"{len(snapshot.wanted_pods)} wanted{f': {counts}' if counts else ''}"


def _list(snapshot: Snapshot) -> str:
    if snapshot.revision == 0:
        return "none received yet"
    whole = f"{snapshot.missing} objects have not come yet" if snapshot.missing else "complete"
    return f"revision {snapshot.revision}, {whole}"


def _reports(snapshot: Snapshot) -> str:
    if not snapshot.waiting:
        return "all delivered to the broker"
    return f"{snapshot.waiting} wait for the link; they are kept on disk"


def wanted(snapshot: Snapshot) -> list[StoredReport]:
    """A report for every wanted pod; an empty one where there is none yet."""
    known = {f"{one.namespace}/{one.name}": one for one in snapshot.reports}
    return [known.get(name) or _unreported(name) for name in sorted(snapshot.wanted_pods)]


def _unreported(full_name: str) -> StoredReport:
    namespace, _, name = full_name.partition("/")
    return StoredReport(namespace, name, uid="", status={}, sent=False)


def table(reports: Iterable[StoredReport], *, now: float) -> str:
    rows = [COLUMNS, *(_row(report, now=now) for report in reports)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = ("   ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "".join(f"{line}\n" for line in lines)


def _row(report: StoredReport, *, now: float) -> tuple[str, ...]:
    containers = _containers(report.status)
    ready = sum(bool(one.get("ready")) for one in containers)
    restarts = sum(int(one.get("restartCount") or 0) for one in containers)
    began = _seconds(report.status.get("startTime"))
    return (
        *(report.namespace, report.name, f"{ready}/{len(containers)}", state(report.status)),
        *(str(restarts), age(now - began) if began else "-"),
        str(report.status.get("podIP") or "-"),
    )


def state(status: Json) -> str:
    """One word for a pod, as kubectl says it."""
    for container in _containers(status):
        current = container.get("state") or {}
        for kind in ("waiting", "terminated"):
            reason = (current.get(kind) or {}).get("reason")
            if reason:
                return str(reason)
    return str(status.get("reason") or status.get("phase") or "Waiting")


def _containers(status: Json) -> list[Json]:
    rows = status.get("containerStatuses")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _seconds(stamp: object) -> float | None:
    try:
        return datetime.fromisoformat(str(stamp)).timestamp()
    except ValueError:
        return None


def age(seconds: float) -> str:
    for size, unit in UNITS:
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{max(0, int(seconds))}s"
