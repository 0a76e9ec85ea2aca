"""hostPath volumes: whether what is at the path is what the pod's author expects there.

Nothing of a hostPath is ever removed, and only the ``…OrCreate`` types make anything. Containers
may be at work in the folders above it and put a link in its place at any moment: what was there
before is followed, as on a kubelet, but what is missing is not made through a link, and a mode is
given only to what was made here.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from shared.objects import Json

_PASSING = os.O_PATH | os.O_CLOEXEC
_MADE = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_EXPECTED: dict[str, tuple[Callable[[int], bool], str]] = {
    "DirectoryOrCreate": (stat.S_ISDIR, "directory"),
    "Directory": (stat.S_ISDIR, "directory"),
    "FileOrCreate": (stat.S_ISREG, "file"),
    "File": (stat.S_ISREG, "file"),
    "Socket": (stat.S_ISSOCK, "socket file"),
    "CharDevice": (stat.S_ISCHR, "character device"),
    "BlockDevice": (stat.S_ISBLK, "block device"),
}


def prepare(source: Json) -> str:
    """The path, checked and if asked for made; raises ValueError."""
    path, kind = str(source.get("path") or ""), source.get("type") or ""
    if not path.startswith("/") or ".." in path.split("/") or "\0" in path:
        raise ValueError(f"invalid hostPath {path!r:.200}")
    if not kind:
        return path
    if kind not in _EXPECTED:
        raise ValueError(f"{kind} is an invalid volume type")
    try:
        _create(Path(path), kind)
    except OSError as error:
        doing = "mkdir" if kind == "DirectoryOrCreate" else "open"
        why = (error.strerror or str(error)).lower()
        raise ValueError(f"{doing} {error.filename or path}: {why}") from error
    fits, words = _EXPECTED[kind]
    try:
        mode = Path(path).stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        mode = 0
    if not fits(mode):
        raise ValueError(f"hostPath type check failed: {path} is not a {words}")
    return path


def _create(path: Path, kind: str) -> None:
    if path.exists():
        return
    if kind == "DirectoryOrCreate":
        _make_folders(path)
    elif kind == "FileOrCreate":
        with suppress(FileExistsError):
            _make_file(path)


def _make_file(path: Path) -> None:
    made = os.open(path, _NEW_FILE, 0o644)
    try:
        os.fchmod(made, 0o644)
    finally:
        os.close(made)


def _make_folders(path: Path) -> None:
    """Those above it too, and others than the agent are to pass through them."""
    folder = os.open("/", _PASSING)
    try:
        for part in path.parts[1:]:
            deeper = _entered(part, folder)
            os.close(folder)
            folder = deeper
    except OSError as error:
        # Of the name alone nobody could tell where it is.
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(folder)


def _entered(name: str, parent: int) -> int:
    try:
        return os.open(name, _PASSING, dir_fd=parent)
    except FileNotFoundError:
        with suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=parent)
            return _opened_to_all(name, parent)
        return os.open(name, _MADE, dir_fd=parent)


def _opened_to_all(name: str, parent: int) -> int:
    """The folder just made, whatever the umask; one with anything in it was put in its place."""
    made = os.open(name, _MADE, dir_fd=parent)
    try:
        if stat.S_IMODE(os.fstat(made).st_mode) & 0o755 != 0o755 and not os.listdir(made):
            os.fchmod(made, 0o755)
    except BaseException:
        os.close(made)
        raise
    return made
