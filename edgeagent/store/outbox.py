"""The outbox on disk: its rows, and the highest sequence number that was ever given."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import fields
from operator import attrgetter
from typing import Any

import sqlite_utils
import structlog

from edgeagent.outbox import Outbox, Row
from edgeagent.store.database import Database
from shared.errors import WireError
from shared.messages import ReportedEvent
from shared.objects import ObjectKey

log = structlog.get_logger()

COLUMNS = "key, uid, sequence, applied, status, events, finished, sent"
INSERT = f"INSERT OR REPLACE INTO outbox ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
EVENT_COLUMNS = attrgetter(*(one.name for one in fields(ReportedEvent)))
"""In the order in which ``ReportedEvent`` takes them."""


class OutboxStore:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._outbox = Outbox()
        database.restore_with(lambda db: self._writer(list(self._outbox.rows()))(db))

    async def load(self) -> Outbox:
        self._outbox = await self._database.read(_load)
        return self._outbox

    async def save(self, keys: Collection[ObjectKey]) -> None:
        """Write what the outbox now has for these keys, or delete what it no longer has."""
        await self._database.write(self._writer(keys))

    def _writer(self, keys: Collection[ObjectKey]) -> Callable[[sqlite_utils.Database], None]:
        """Takes the rows as they are now: the write itself runs beside the event loop."""
        rows = {key: self._outbox.get(key) for key in keys}
        number = ["sequence", self._outbox.sequence]

        def write(db: sqlite_utils.Database) -> None:
            gone = [(str(key),) for key, row in rows.items() if row is None]
            db.conn.executemany("DELETE FROM outbox WHERE key = ?", gone)
            db.conn.executemany(INSERT, [_columns(row) for row in rows.values() if row])
            db.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", number)

        return write


def _columns(row: Row) -> tuple[Any, ...]:
    status = json.dumps(row.status, separators=(",", ":"))
    events = json.dumps(list(map(EVENT_COLUMNS, row.events)), separators=(",", ":"))
    numbers = (row.sequence, row.applied)
    return (str(row.key), row.uid, *numbers, status, events, int(row.finished), int(row.sent))


def _load(db: sqlite_utils.Database) -> Outbox:
    rows = []
    for columns in db.execute(f"SELECT {COLUMNS} FROM outbox ORDER BY sequence").fetchall():
        try:
            rows.append(_row(*columns))
        except (WireError, ValueError, TypeError, AttributeError) as error:
            log.error("unreadable report dropped", row=repr(columns[0])[:200], error=str(error))
    stored = db.execute("SELECT value FROM meta WHERE name = 'sequence'").fetchone()
    sequence = stored[0] if stored and type(stored[0]) is int and 0 <= stored[0] < 2**52 else 0
    return Outbox(rows, sequence=sequence)


def _row(key: str, uid: str, *columns: Any) -> Row:
    sequence, applied, status, events, finished, sent = columns
    if not all(type(number) is int and 0 <= number < 2**53 for number in (sequence, applied)):
        raise ValueError("a number")
    parsed = json.loads(status)
    if not isinstance(parsed, dict) or not isinstance(uid, str):
        raise ValueError("a status")
    return Row(
        *(ObjectKey.parse(key), uid, parsed),
        events=tuple(ReportedEvent(*fields) for fields in json.loads(events)),
        finished=bool(finished),
        sequence=sequence,
        applied=applied,
        sent=bool(sent),
    )
