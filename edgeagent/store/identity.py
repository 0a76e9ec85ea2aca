"""Who this device is to the hub: a random instance, and a counter that grows with every CONNECT.

The instance is made with the database: a device with another one is another device, or the same
one after it lost its disk. The counter is on disk before the CONNECT that carries it; only while
the disk cannot be written does it grow in memory alone, because a device with a full disk must be
able to say so.

``told`` is the connection up to which this database knows what the broker was told. It is stored
by a clean stop alone: who was killed may have reported what a full disk did not take.
"""

from __future__ import annotations

import random

import sqlite_utils
import structlog

from edgeagent.store.database import Database
from shared.errors import StoreBusy

log = structlog.get_logger()


class Identity:
    def __init__(self, database: Database, *, rng: random.Random) -> None:
        self.instance = f"{rng.getrandbits(64):016x}"
        self.counter = 0
        self.told: int | None = None
        """Counter of the last birth that the broker acknowledged; None: not known."""
        self._database = database
        database.restore_with(self._write)

    async def load(self) -> None:
        """Take over what is stored, or store a new instance."""
        stored = await self._database.read(_load)
        instance, counter = stored.get("instance"), stored.get("counter")
        if isinstance(instance, str) and 0 < len(instance) <= 64:
            self.instance = instance
        if type(counter) is int and 0 <= counter < 2**52:
            self.counter = counter
        told = stored.get("told")
        if type(told) is int:
            self.told = told
        if instance != self.instance:
            await self._try_to_write()

    async def next_connection(self) -> int:
        self.counter += 1
        await self._try_to_write()
        return self.counter

    async def stop(self) -> None:
        """Every report is stored as the broker has it: the next process may build on that."""
        try:
            await self._database.write(self._write_told)
        except StoreBusy as error:
            log.warning("not stored, all reports will be sent again", error=str(error))

    async def _try_to_write(self) -> None:
        try:
            await self._database.write(self._write)
        except StoreBusy as error:
            log.error("connection counter not stored", error=str(error))

    def _write(self, db: sqlite_utils.Database) -> None:
        rows = [("instance", self.instance), ("counter", self.counter)]
        db.conn.executemany("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", rows)

    def _write_told(self, db: sqlite_utils.Database) -> None:
        db.execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('told', ?)", [self.told])


def _load(db: sqlite_utils.Database) -> dict[str, object]:
    names = "('instance', 'counter', 'told')"
    return dict(db.execute(f"SELECT name, value FROM meta WHERE name IN {names}"))
