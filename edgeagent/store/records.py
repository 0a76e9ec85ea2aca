"""JSON records by name, kept in memory and on disk: facts, tokens, the agent's standing.

Opaque here: what a record means is its writer's. A row that is no JSON object is dropped and the
others stay.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import sqlite_utils
import structlog

from edgeagent.store.database import Database
from shared.objects import Json

log = structlog.get_logger()


class Records:
    """One table of records; ``save`` and ``delete`` are durable when they return."""

    def __init__(self, database: Database, table: str, *, column: str, value: str) -> None:
        self._database = database
        self._saved: dict[str, str] = {}
        self._select = f"SELECT {column}, {value} FROM {table}"
        self._insert = f"INSERT OR REPLACE INTO {table} ({column}, {value}) VALUES (?, ?)"
        self._delete = f"DELETE FROM {table} WHERE {column} = ?"
        self._table = table
        database.restore_with(self._write_all)

    async def load_all(self) -> Mapping[str, Json]:
        rows = await self._database.read(lambda db: db.execute(self._select).fetchall())
        records = {}
        for name, text in rows:
            record = _parsed(text)
            if record is None or not isinstance(name, str):
                log.error("unreadable record dropped", table=self._table, row=repr(name)[:200])
            else:
                self._saved[name], records[name] = text, record
        return records

    async def save(self, name: str, record: Json) -> None:
        text = json.dumps(record, separators=(",", ":"), sort_keys=True)
        if self._saved.get(name) == text:
            return
        await self._database.write(lambda db: db.execute(self._insert, [name, text]))
        self._saved[name] = text

    async def delete(self, name: str) -> None:
        await self._database.write(lambda db: db.execute(self._delete, [name]))
        self._saved.pop(name, None)

    def _write_all(self, db: sqlite_utils.Database) -> None:
        db.conn.executemany(self._insert, list(self._saved.items()))


def facts(database: Database) -> Records:
    """What must outlive the agent about each pod, by uid."""
    return Records(database, "facts", column="uid", value="record")


def tokens(database: Database) -> Records:
    """Service account tokens of the pods; the name is that of the request."""
    return Records(database, "tokens", column="name", value="record")


def static_pods(database: Database) -> Records:
    """The last good pod of each file of the static-pods folder, by file name."""
    return Records(database, "static_pods", column="file", value="record")


def standing(database: Database) -> Records:
    """What ``edgeagent status`` tells about the running agent."""
    return Records(database, "standing", column="name", value="value")


def _parsed(text: object) -> Json | None:
    try:
        record = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
