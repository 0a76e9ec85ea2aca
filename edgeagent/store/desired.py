"""The applied list and its bodies on disk; one transaction per step, only what differs is written.

``load`` trusts nothing: a body is proven by its digest and dropped (so: missing, and fetched again)
when it does not fit; a list that is not what its digest says is loaded as revision 0, with which
everything goes on running and nothing may be deleted until the hub's list comes.
"""

from __future__ import annotations

from typing import Any

import sqlite_utils
import structlog

from edgeagent.desired import Body, Desired
from edgeagent.store.database import Database
from shared.errors import WireError
from shared.messages import Entry, Inventory
from shared.objects import ObjectKey

log = structlog.get_logger()


class DesiredStore:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._saved = Desired()
        self._in_order = True
        """Whether the rows are those of ``_saved``; else they are all written anew."""
        database.restore_with(self._write_all)

    async def load(self) -> Desired:
        self._saved, self._in_order = await self._database.read(_load)
        return self._saved

    async def save(self, desired: Desired) -> None:
        """Durable when this returns; StoreBusy changes nothing."""
        await self._database.write(lambda db: self._write(db, desired))
        self._saved, self._in_order = desired, True

    def _write(self, db: sqlite_utils.Database, desired: Desired) -> None:
        if not self._in_order:
            self._write_all(db)
        _write_difference(db, self._saved, desired)

    def _write_all(self, db: sqlite_utils.Database) -> None:
        db.execute("DELETE FROM inventory")
        db.execute("DELETE FROM bodies")
        _write_difference(db, Desired(), self._saved)


def _write_difference(db: sqlite_utils.Database, old: Desired, new: Desired) -> None:
    entries, before = new.inventory.entries, old.inventory.entries
    _delete(db, "inventory", before.keys() - entries.keys())
    db.conn.executemany(
        "INSERT OR REPLACE INTO inventory (key, digest, grace) VALUES (?, ?, ?)",
        [
            (str(key), entry.digest, entry.grace)
            for key, entry in entries.items()
            if before.get(key) != entry
        ],
    )
    _delete(db, "bodies", old.bodies.keys() - new.bodies.keys())
    db.conn.executemany(
        "INSERT OR REPLACE INTO bodies (key, digest, body) VALUES (?, ?, ?)",
        [
            (str(key), body.digest, body.packed)
            for key, body in new.bodies.items()
            if old.bodies.get(key) != body
        ],
    )
    for name, value in (("revision", new.inventory.revision), ("digest", new.inventory.digest)):
        db.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", [name, value])


def _delete(db: sqlite_utils.Database, table: str, keys: set[ObjectKey]) -> None:
    db.conn.executemany(f"DELETE FROM {table} WHERE key = ?", [(str(key),) for key in keys])


def _load(db: sqlite_utils.Database) -> tuple[Desired, bool]:
    entries, sound = _load_entries(db)
    bodies, all_bodies = _load_bodies(db)
    meta = dict(db.execute("SELECT name, value FROM meta WHERE name IN ('revision', 'digest')"))
    revision, digest = meta.get("revision", 0), meta.get("digest")
    inventory = Inventory(revision, entries) if type(revision) is int else Inventory(0, entries)
    if digest is not None or entries:
        sound = sound and type(revision) is int and inventory.digest == digest
    if not sound:
        log.error("the stored list is damaged; waiting for the hub's before anything is deleted")
        inventory = Inventory(0, entries)
    bodies = {key: body for key, body in bodies.items() if key in entries}
    return Desired(inventory, bodies), sound and all_bodies


def _load_entries(db: sqlite_utils.Database) -> tuple[dict[ObjectKey, Entry], bool]:
    entries, sound = {}, True
    for key, digest, grace in db.execute("SELECT key, digest, grace FROM inventory"):
        try:
            entries[ObjectKey.parse(str(key))] = _entry(digest, grace)
        except WireError as error:
            sound = False
            log.error("unreadable inventory row", row=repr(key)[:200], error=str(error))
    return entries, sound


def _entry(digest: Any, grace: Any) -> Entry:
    if not isinstance(digest, bytes) or not (grace is None or type(grace) is int):
        raise WireError("bad-field", "an entry")
    return Entry(digest, grace)


def _load_bodies(db: sqlite_utils.Database) -> tuple[dict[ObjectKey, Body], bool]:
    bodies, sound = {}, True
    for key, digest, packed in db.execute("SELECT key, digest, body FROM bodies"):
        try:
            bodies[ObjectKey.parse(str(key))] = _body(digest, packed)
        except WireError as error:
            sound = False
            log.error("unreadable body, will be fetched", row=repr(key)[:200], error=str(error))
    return bodies, sound


def _body(digest: Any, packed: Any) -> Body:
    if not isinstance(packed, bytes) or (body := Body.of(packed)).digest != digest:
        raise WireError("bad-digest", "a stored body")
    return body
