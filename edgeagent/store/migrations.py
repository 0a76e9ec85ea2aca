"""The schema as named steps; each runs once, in one transaction with the record of it.

A step is never changed after a release: a new one is added below it.
"""

from __future__ import annotations

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

SCHEMA = Migrations("edgeagent")


@SCHEMA()  # type: ignore[untyped-decorator]
def first_tables(db: Database) -> None:
    db.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID")
    db.execute(
        "CREATE TABLE inventory (key TEXT PRIMARY KEY, digest BLOB NOT NULL, grace INTEGER)"
        " WITHOUT ROWID"
    )
    db.execute(
        "CREATE TABLE bodies (key TEXT PRIMARY KEY, digest BLOB NOT NULL, body BLOB NOT NULL)"
    )
    db.execute(
        "CREATE TABLE outbox (key TEXT PRIMARY KEY, uid TEXT NOT NULL, sequence INTEGER NOT NULL,"
        " applied INTEGER NOT NULL, status TEXT NOT NULL, events TEXT NOT NULL,"
        " finished INTEGER NOT NULL, sent INTEGER NOT NULL)"
    )
    db.execute("CREATE TABLE facts (uid TEXT PRIMARY KEY, record TEXT NOT NULL)")
    db.execute("CREATE TABLE standing (name TEXT PRIMARY KEY, value TEXT NOT NULL)")


@SCHEMA()  # type: ignore[untyped-decorator]
def table_of_tokens(db: Database) -> None:
    db.execute("CREATE TABLE tokens (name TEXT PRIMARY KEY, record TEXT NOT NULL)")


@SCHEMA()  # type: ignore[untyped-decorator]
def table_of_static_pods(db: Database) -> None:
    db.execute("CREATE TABLE static_pods (file TEXT PRIMARY KEY, record TEXT NOT NULL)")


PROBES = (
    "SELECT name, value FROM meta",
    "SELECT key, digest, grace FROM inventory",
    "SELECT key, digest, body FROM bodies",
    "SELECT key, uid, sequence, applied, status, events, finished, sent FROM outbox",
    "SELECT uid, record FROM facts",
    "SELECT name, value FROM standing",
    "SELECT name, record FROM tokens",
    "SELECT file, record FROM static_pods",
)
"""Statements that a usable database answers; what they name is all that the stores rely on."""


def steps_of(db: Database) -> set[str]:
    """Names of the steps that a database has had, by this program or a newer one."""
    return {step.name for step in SCHEMA.applied(db)}


def known_steps() -> set[str]:
    return {step.name for step in SCHEMA._migrations}
