"""``edgeagent status`` in plain words, and the table of ``edgeagent pods``. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from edgeagent.pods.rules.holding import CONDITION
from edgeagent.snapshot import Snapshot, StoredReport
from shared.clock import CLOCK_WAS_SET
from shared.objects import Json

COLUMNS = ("NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP")
FEW = 3
UNITS = ((86400, "d"), (3600, "h"), (60, "m"))


def describe(snapshot: Snapshot, *, now: float) -> str:
    said = snapshot.standing
    lines = [
        ("agent", _agent(snapshot)),
        ("node", said.get("node", "not known yet")),
        ("link", _link(snapshot, now=now)),
        ("hub", _hub(snapshot)),
        ("runtime", _runtime(said)),
        ("pods", _pods(snapshot)),
        *(
            (("static", f"files that cannot be used: {bad}"),)
            if (bad := said.get("static_pods"))
            else ()
        ),
        ("list", _list(snapshot, now=now)),
        ("reports", _reports(snapshot)),
        *([("disk", _disk(snapshot))] if snapshot.trouble else ()),
        *(("on hold", words) for words in _on_hold(snapshot, now=now)),
    ]
    if not snapshot.live:
        lines.insert(1, ("note", _note(snapshot)))
    return "".join(f"{label + ':':<9} {text}\n" for label, text in lines)


def _note(snapshot: Snapshot) -> str:
    if not snapshot.agent_runs:
        return "what follows is what the agent knew when it last ran"
    return "what follows is what the agent stored last"


def _agent(snapshot: Snapshot) -> str:
    if not snapshot.agent_runs:
        return "not running; containers that were running go on without it"
    if not snapshot.live:
        return "does not answer: it is starting, or cannot write its data folder; see its log"
    said = snapshot.standing
    if said.get("fenced"):
        return f"stopped acting: {said['fenced']}"
    return f"running, version {said.get('version', '?')}" if said.get("ready") else "starting"


def _link(snapshot: Snapshot, *, now: float) -> str:
    said = snapshot.standing
    broker = f" (broker {said['broker']})" if said.get("broker") else ""
    if not snapshot.live:
        return f"not known; it was: {said.get('link') or 'not connected yet'}{broker}"
    away = _away(said, now=now)
    ago = f", for {away}" if away else ""
    return f"{said.get('link') or 'not connected yet'}{ago}{broker}"


def _away(said: Json, *, now: float) -> str:
    """How long the link has been as it is; empty when a clock that was not set yet began it."""
    since = said.get("since")
    if not isinstance(since, (int, float)) or since < CLOCK_WAS_SET:
        return ""
    return age(now - since)


def _hub(snapshot: Snapshot) -> str:
    said = snapshot.standing
    if not snapshot.live:
        return "not known"
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


def _list(snapshot: Snapshot, *, now: float) -> str:
    if snapshot.revision == 0:
        return "none received yet"
    whole = f"{_some(snapshot.missing)} not come yet" if snapshot.missing else "complete"
    text = f"revision {snapshot.revision}, {whole}"
    if snapshot.live and snapshot.standing.get("link") == "connected":
        return text
    away = _away(snapshot.standing, now=now) if snapshot.live else ""
    return f"{text}; what changed{f' in the last {away}' if away else ' since'} is not known here"


def _reports(snapshot: Snapshot) -> str:
    if not snapshot.waiting:
        return "all delivered to the broker"
    verb = "waits" if snapshot.waiting == 1 else "wait"
    where = "in memory only" if snapshot.trouble else "on disk"
    return f"{snapshot.waiting} {verb} for the link, kept {where}"


def _disk(snapshot: Snapshot) -> str:
    return f"{snapshot.trouble}; what is new is forgotten if the agent ends before it can be stored"


def _on_hold(snapshot: Snapshot, *, now: float) -> Iterator[str]:
    for namespace, name, facts in holds_of(snapshot):
        since = ((facts.get("conditions") or {}).get(CONDITION) or {}).get("since") or 0
        ago = f" for {age(now - since)}" if since >= CLOCK_WAS_SET else ""
        way_out = f"edgeagent release {name} -n {namespace}"
        yield f"{facts['on_hold']} of {namespace}/{name}{ago}; `{way_out}` lets it go on"


def holds_of(snapshot: Snapshot) -> Iterator[tuple[str, str, Json]]:
    """Namespace, name and facts of each pod for which something is on hold."""
    for facts in snapshot.facts:
        metadata = (facts.get("pod") or {}).get("metadata") or {}
        if facts.get("on_hold"):
            yield str(metadata.get("namespace")), str(metadata.get("name")), facts


def _some(keys: Sequence[str]) -> str:
    """Kinds and names, the first few of many."""
    more = f" and {len(keys) - FEW} more have" if len(keys) > FEW else ""
    verb = more or (" has" if len(keys) == 1 else " have")
    return ", ".join(key.replace("/", " ", 1) for key in keys[:FEW]) + verb


def wanted(snapshot: Snapshot) -> list[StoredReport]:
    """A report for every pod that is wanted or on hold; an empty one where there is none."""
    known = {f"{one.namespace}/{one.name}": one for one in snapshot.reports}
    names = {*snapshot.wanted_pods, *(f"{where}/{name}" for where, name, _ in holds_of(snapshot))}
    return [known.get(name) or _unreported(name) for name in sorted(names)]


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
    """One word for a pod, as kubectl says it; ``(held)`` when it must not be updated."""
    held = any(row.get("type") == CONDITION for row in _rows(status, "conditions"))
    return f"{_state(status)} (held)" if held else _state(status)


def _state(status: Json) -> str:
    for container in _containers(status):
        current = container.get("state") or {}
        for kind in ("waiting", "terminated"):
            reason = (current.get(kind) or {}).get("reason")
            if reason:
                return str(reason)
    return str(status.get("reason") or status.get("phase") or "Waiting")


def _containers(status: Json) -> list[Json]:
    return _rows(status, "containerStatuses")


def _rows(status: Json, name: str) -> list[Json]:
    rows = status.get(name)
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
