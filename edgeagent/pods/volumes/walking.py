"""Every folder of a tree that others may be changing, opened one at a time.

No link is followed, and folders may be as deep as a program that went wild could make them: neither
files nor memory are used up by it. The way back up is ``..``, and counts only where it leads to the
folder that was come from; where somebody moved or removed that meanwhile, it is looked for by the
names that led to it. What vanishes is left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

_LOOKING = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_GONE = FileNotFoundError, NotADirectoryError


def every_folder(top: str) -> Iterator[tuple[int, list[str]]]:
    """Each with the names in it; the descriptor is good until the next one. Raises OSError."""
    walk = _Walk(top)
    try:
        yield walk.look()
        while walk.goes_on():
            yield walk.look()
    finally:
        walk.end()


@dataclass(frozen=True, slots=True)
class _Level:
    name: str
    identity: tuple[int, int]
    waiting: list[str]
    """Folders in it that are still to be entered."""


class _Walk:
    def __init__(self, top: str) -> None:
        self._top = self._name = top
        self._levels: list[_Level] = []
        self._here = os.open(top, _LOOKING)

    def end(self) -> None:
        os.close(self._here)

    def look(self) -> tuple[int, list[str]]:
        names, folders = [], []
        with os.scandir(self._here) as entries:
            for one in entries:
                names.append(one.name)
                if one.is_dir(follow_symlinks=False):
                    folders.append(one.name)
        self._levels.append(_Level(self._name, _identity(self._here), folders))
        return self._here, names

    def goes_on(self) -> bool:
        """Enters the next folder, if there is one left."""
        while self._levels:
            if not self._levels[-1].waiting:
                self._leave()
                continue
            self._name = self._levels[-1].waiting.pop()
            with suppress(*_GONE):
                self._go(os.open(self._name, _LOOKING, dir_fd=self._here))
                return True
        return False

    def _go(self, there: int) -> None:
        os.close(self._here)
        self._here = there

    def _leave(self) -> None:
        self._levels.pop()
        if not self._levels:
            return
        with suppress(FileNotFoundError):
            above = os.open("..", _LOOKING, dir_fd=self._here)
            self._go(above)
            if _identity(above) == self._levels[-1].identity:
                return
        self._find()

    def _find(self) -> None:
        """The folder by its names, or what is still there of the way to it."""
        self._go(os.open(self._top, _LOOKING))
        for depth, level in enumerate(self._levels[1:], 1):
            try:
                self._go(os.open(level.name, _LOOKING, dir_fd=self._here))
            except _GONE:
                del self._levels[depth:]
                return


def _identity(folder: int) -> tuple[int, int]:
    found = os.fstat(folder)
    return found.st_dev, found.st_ino
