"""A device's database in a temporary folder."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from edgeagent.store.database import Database
from edgeagent.store.executor import InlineExecutor, ThreadExecutor


@asynccontextmanager
async def opened(folder: Path, *, thread: bool = False) -> AsyncIterator[Database]:
    database = Database(folder, executor=ThreadExecutor() if thread else InlineExecutor())
    try:
        await database.open()
        yield database
    finally:
        await database.close()


async def ruin(database: Database) -> None:
    """Overwrite the file under a running agent, and let nothing of it be remembered."""
    connection = sqlite3.connect(database.path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    with database.path.open("r+b") as file:
        file.write(b"\xff" * database.path.stat().st_size)
    await database.read(lambda db: db.execute("PRAGMA shrink_memory"))
