"""Reports that wait for the link: one row per object, newest wins, however long the link is away.

Owns coalescing, event counting and sequence numbers, in memory; ``store.outbox`` keeps the rows on
disk, ``session.reporting`` moves them. A row is drafted (not numbered yet), sealed (numbered, to be
sent) or sent. Pure: the caller brings the time.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shared.messages import MAX_EVENTS, Report, ReportedEvent
from shared.objects import Json, ObjectKey

EVENT_SECONDS = 3600
"""Events older than this are dropped, as the API server would soon do."""
MAX_TEXT = 1024
"""Most characters of an Event's message (the API's own limit)."""
SHORT_TEXT = 200
"""Most characters of any text in the status of a report that was too large."""
PLAUSIBLE = range(1_700_000_000, 4_000_000_000)
"""Seconds since 1970 that a set clock may show."""


class News(enum.Enum):
    NOTHING = "nothing"
    REPEATS = "repeats"
    """Only Events that were told before, once more."""
    NEW = "new"


@dataclass(frozen=True, slots=True)
class Row:
    key: ObjectKey
    uid: str
    status: Json
    events: tuple[ReportedEvent, ...] = ()
    finished: bool = False
    sequence: int = 0
    """0 = drafted."""
    applied: int = 0
    sent: bool = False

    def report(self) -> Report:
        return Report(
            *(self.key, self.uid, self.sequence, self.applied, self.status),
            events=self.events,
            finished=self.finished,
        )


class Outbox:
    def __init__(self, rows: Iterable[Row] = (), *, sequence: int = 0) -> None:
        self._rows = {row.key: row for row in rows}
        self.sequence = max([sequence, *(row.sequence for row in self._rows.values())])
        self._clock_seen = False

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: ObjectKey) -> Row | None:
        return self._rows.get(key)

    def rows(self) -> Mapping[ObjectKey, Row]:
        return self._rows

    def put(
        self,
        key: ObjectKey,
        *,
        uid: str,
        status: Json | None,
        events: Sequence[ReportedEvent] = (),
        finished: bool = False,
        now: float,
    ) -> News:
        """Draft the newest report. ``status`` None: as it was; ``events``: since the last call."""
        row = self._rows.get(key)
        is_new = row is None or row.uid != uid
        if row is None or is_new:
            row = Row(key, uid, {})
        status = row.status if status is None else status
        same = not is_new and (status, finished) == (row.status, row.finished)
        if same and not events:
            return News.NOTHING
        known = {event.identity for event in row.events}
        merged = coalesce(row.events, events, now=now)
        self._rows[key] = replace(
            row, status=status, finished=finished, events=merged, sequence=0, sent=False
        )
        repeats = same and all(event.identity in known for event in events)
        return News.REPEATS if repeats else News.NEW

    def seal(self, keys: Iterable[ObjectKey], *, applied: int, now: float) -> list[Row]:
        """Number the drafts among ``keys``."""
        self._raise_to_clock(now)
        sealed = []
        for key in keys:
            row = self._rows.get(key)
            if row is None or row.sequence:
                continue
            self.sequence += 1
            self._rows[key] = replace(row, sequence=self.sequence, applied=applied)
            sealed.append(self._rows[key])
        return sealed

    def _raise_to_clock(self, now: float) -> None:
        """Once per process: above every number that a lost database may have known."""
        if not self._clock_seen and int(now) in PLAUSIBLE:
            self._clock_seen = True
            self.sequence = max(self.sequence, int(now * 1000))

    def waiting(self) -> list[Row]:
        """Sealed and not sent, oldest first."""
        rows = (row for row in self._rows.values() if row.sequence and not row.sent)
        return sorted(rows, key=lambda row: row.sequence)

    def mark_sent(self, key: ObjectKey, sequence: int) -> bool:
        """False when a newer report has taken its place."""
        row = self._rows.get(key)
        if row is None or row.sequence != sequence or row.sent:
            return False
        self._rows[key] = replace(row, sent=True)
        return True

    def mark_all_unsent(self) -> list[ObjectKey]:
        """The broker has lost what it kept; returns the keys that must be sent again."""
        sent = [key for key, row in self._rows.items() if row.sent]
        for key in sent:
            self._rows[key] = replace(self._rows[key], sent=False)
        return sent

    def drop(self, key: ObjectKey) -> bool:
        return self._rows.pop(key, None) is not None


def coalesce(
    old: Sequence[ReportedEvent], new: Sequence[ReportedEvent], *, now: float
) -> tuple[ReportedEvent, ...]:
    """Equal Events counted as one; the newest ``MAX_EVENTS`` of the last hour, oldest first."""
    found: dict[tuple[str, ...], ReportedEvent] = {}
    for event in (*old, *(replace(one, message=one.message[:MAX_TEXT]) for one in new)):
        before = found.pop(event.identity, None)
        found[event.identity] = event if before is None else _counted(before, event)
    recent = [event for event in found.values() if event.last > now - EVENT_SECONDS]
    return tuple(recent[-MAX_EVENTS:])


def _counted(before: ReportedEvent, event: ReportedEvent) -> ReportedEvent:
    first, order = min((before.first, before.order), (event.first, event.order))
    last, count = max(before.last, event.last), before.count + event.count
    return replace(event, first=first, order=order, last=last, count=count)


def smaller(report: Report) -> Iterator[Report]:
    """Ever smaller forms of a report that does not fit into a packet.

    A list of static pods is whole or of no use.
    """
    yield report
    if report.key.kind == "StaticPods":
        return
    bare = replace(report, events=())
    yield bare
    yield replace(bare, status=_shortened(report.status))
    phase = report.status.get("phase")
    said = {"reason": "StatusTooLarge", "message": "the status does not fit into an MQTT packet"}
    yield replace(bare, status={**({"phase": phase} if isinstance(phase, str) else {}), **said})


def _shortened(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= SHORT_TEXT else value[:SHORT_TEXT] + "…"
    if isinstance(value, list):
        return [_shortened(one) for one in value]
    if isinstance(value, dict):
        return {key: _shortened(one) for key, one in value.items()}
    return value
