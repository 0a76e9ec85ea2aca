"""A device's disk: the store on it, which can be full, lost, damaged, or an older image.

A folder (on tmpfs) with a real SQLite file; except that it can be full at any time, it is only
touched while no agent runs. ``forget`` is told when what an agent knew is not there any more.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import sqlite_utils

from edgeagent.store import FILE
from edgeagent.store.database import Database
from edgeagent.store.executor import InlineExecutor
from shared.errors import StoreBusy

Result = TypeVar("Result")


class Store(Database):
    """The real store, on a disk that can be full, and is never busy: every write is done when it is
    asked for, so that an agent which is killed leaves none for later."""

    def __init__(self, folder: Path, is_full: Callable[[], bool]) -> None:
        super().__init__(folder, executor=InlineExecutor())
        self._is_full = is_full

    async def _commit(self, work: Callable[[sqlite_utils.Database], Result]) -> Result:
        if self._is_full():
            raise StoreBusy("database: the disk is full")
        return await self._executor.run(lambda: self._run(work))


class Disk:
    def __init__(self, folder: Path, rng: random.Random, forget: Callable[[str], None]) -> None:
        self.is_full = False
        self._folder = folder
        self._data = folder / "data"
        self._rng = rng
        self._forget = forget
        self._images: list[Path] = []

    def store(self) -> Store:
        return Store(self._data, lambda: self.is_full)

    def keep_image(self) -> None:
        """Remember the database as it is now."""
        if not (self._data / FILE).exists():
            return
        image = self._folder / f"image-{len(self._images)}"
        image.mkdir()
        for file in self._files():
            shutil.copy(file, image)
        self._images.append(image)

    def roll_back(self) -> None:
        if not self._images:
            return
        image = self._rng.choice(self._images)
        self._remove_database()
        for file in image.iterdir():
            shutil.copy(file, self._data)
        self._forget(f"database rolled back to {image.name}")

    def lose_database(self) -> None:
        self._remove_database()
        self._forget("database lost")

    def damage_database(self) -> None:
        """Garbage over some pages, or the file cut short."""
        file = self._data / FILE
        if not file.exists():
            return
        content = bytearray(file.read_bytes())
        if self._rng.random() < 0.3:
            content = content[: self._rng.randrange(len(content) + 1)]
        for _ in range(self._rng.choice((1, 4, 40))):
            if content:
                place = self._rng.randrange(len(content))
                content[place : place + 64] = self._rng.randbytes(min(64, len(content) - place))
        file.write_bytes(bytes(content))
        self._forget("database damaged")

    def _remove_database(self) -> None:
        for file in self._files():
            file.unlink()

    def _files(self) -> list[Path]:
        names = (FILE, f"{FILE}-wal", f"{FILE}-shm")
        return [self._data / name for name in names if (self._data / name).exists()]
