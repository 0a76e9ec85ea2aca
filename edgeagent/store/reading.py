"""The database as the command line reads it, when no running agent answers: read-only.

Never makes, repairs or locks anything; what cannot be read is ``SettingsError`` with the reason.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from edgeagent.snapshot import Snapshot, StoredReport
from edgeagent.store import FILE
from shared.errors import SettingsError
from shared.objects import Json

_PODS = re.compile(r"(Pod|StaticPod)/[^/]+/[^/]+")
"""Keys of reports about pods; a damaged file may have others."""


def read_snapshot(data_dir: Path) -> Snapshot:
    path = data_dir / FILE
    if not os.access(data_dir, os.R_OK | os.X_OK):
        raise SettingsError(f"data-dir: {data_dir} cannot be read: be root, or name another folder")
    if not path.exists():
        raise SettingsError(f"data-dir: {data_dir} has no {FILE}: no agent has run with it yet")
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
        try:
            return _read(connection, agent_runs=is_locked(data_dir))
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise SettingsError(f"data-dir: {path} cannot be read: {error}") from error


def is_locked(data_dir: Path) -> bool:
    """Whether an agent holds the folder."""
    descriptor = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _read(connection: sqlite3.Connection, *, agent_runs: bool) -> Snapshot:
    keys = [str(key) for (key,) in connection.execute("SELECT key FROM inventory")]
    stored = connection.execute("SELECT value FROM meta WHERE name = 'revision'").fetchone()
    said = connection.execute("SELECT value FROM standing WHERE name = 'agent'").fetchone()
    missing = connection.execute(
        "SELECT key FROM inventory LEFT JOIN bodies USING (key)"
        " WHERE bodies.digest IS NOT inventory.digest ORDER BY key"
    ).fetchall()
    waiting = connection.execute("SELECT count(*) FROM outbox WHERE NOT sent").fetchone()
    rows = connection.execute("SELECT key, uid, status, sent FROM outbox ORDER BY key")
    facts = connection.execute("SELECT record FROM facts ORDER BY uid").fetchall()
    reports = [_report(*row) for row in rows if _PODS.fullmatch(str(row[0]))]
    return Snapshot(
        agent_runs=agent_runs,
        standing=_parsed(said[0]) if said else {},
        revision=stored[0] if stored and isinstance(stored[0], int) else 0,
        wanted_pods=frozenset(
            {*_static(connection), *(key[len("Pod/") :] for key in keys if key.startswith("Pod/"))}
        ),
        missing=tuple(str(key) for (key,) in missing),
        reports=tuple(reports),
        waiting=waiting[0],
        facts=tuple(_parsed(text) for (text,) in facts),
    )


def _static(connection: sqlite3.Connection) -> Iterator[str]:
    """An agent from before there were static pods has no table of them."""
    named = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'static_pods'"
    if connection.execute(named).fetchone():
        for (record,) in connection.execute("SELECT record FROM static_pods"):
            metadata = _parsed(record).get("metadata") or {}
            yield f"{metadata.get('namespace')}/{metadata.get('name')}"


def _report(key: str, uid: str, status: str, sent: int) -> StoredReport:
    _, namespace, name = key.split("/")
    return StoredReport(namespace, name, uid, _parsed(status), bool(sent))


def _parsed(text: object) -> Json:
    try:
        value = json.loads(text) if isinstance(text, str) else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
