"""A device's database as the first release left it, and one as a later release will.

The text below is frozen: it is what lies on devices, whatever the migrations of today say.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

FROZEN = """
CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
);
CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name");
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE inventory (key TEXT PRIMARY KEY, digest BLOB NOT NULL, grace INTEGER) WITHOUT ROWID;
CREATE TABLE bodies (key TEXT PRIMARY KEY, digest BLOB NOT NULL, body BLOB NOT NULL);
CREATE TABLE outbox (key TEXT PRIMARY KEY, uid TEXT NOT NULL, sequence INTEGER NOT NULL,
  applied INTEGER NOT NULL, status TEXT NOT NULL, events TEXT NOT NULL, finished INTEGER NOT NULL,
  sent INTEGER NOT NULL);
CREATE TABLE facts (uid TEXT PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE standing (name TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO "_sqlite_migrations" VALUES
  (1, 'edgeagent', 'first_tables', '2026-01-01 00:00:00+00:00');
"""
TABLES = {
    "meta": "name, value",
    "inventory": "key, digest, grace",
    "bodies": "key, digest, body",
    "outbox": "key, uid, sequence, applied, status, events, finished, sent",
    "facts": "uid, record",
    "standing": "name, value",
}
LATER_FACTS = ("on_hold", "released")
"""What the first release did not keep about a pod."""


def make(path: Path) -> sqlite3.Connection:
    """An empty database of the first release, in its write-ahead log mode."""
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = wal")
    database.executescript(FROZEN)
    return database


def take_back(path: Path) -> None:
    """What a stopped agent of today left becomes what one of the first release would have."""
    aside = path.with_name("of-today.db")
    path.rename(aside)
    database = make(path)
    database.execute("ATTACH ? AS today", [str(aside)])
    for table, columns in TABLES.items():
        database.execute(
            f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM today.{table}"
        )
    for uid, record in database.execute("SELECT uid, record FROM main.facts").fetchall():
        facts = json.loads(record)
        for name in LATER_FACTS:
            del facts[name]
        database.execute("UPDATE main.facts SET record = ? WHERE uid = ?", [json.dumps(facts), uid])
    database.commit()
    database.close()
    aside.unlink()


def bring_forward(path: Path) -> None:
    """As a release to come would leave it: with a step that nobody of today knows."""
    database = sqlite3.connect(path)
    database.execute(
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
        " VALUES ('edgeagent', 'table_of_tomorrow', '2030-01-01 00:00:00+00:00')"
    )
    database.execute("CREATE TABLE tomorrow (name TEXT PRIMARY KEY)")
    database.commit()
    database.close()
