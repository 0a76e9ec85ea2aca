"""A device's database in a temporary folder; ``small_disk`` is one that fills up."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

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


class SmallDisk:
    """A file system of its own, 1 MiB, that can be filled or made read-only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def mount(self) -> None:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", self.folder], check=True
        )

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", self.folder], check=True)

    def fill(self) -> None:
        with self._filler.open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(b"x" * 4096)
            except OSError:
                pass

    def free(self) -> None:
        self._filler.unlink()

    def writable(self, can: bool) -> None:
        subprocess.run(["mount", "-o", f"remount,{'rw' if can else 'ro'}", self.folder], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    if os.geteuid() != 0:
        pytest.skip("only root can mount the small file system that this fills")
    disk = SmallDisk(tmp_path)
    disk.mount()
    yield disk
    disk.unmount()
