"""hostPath volumes: whether what is at the path is what the pod's author expects there.

Nothing of a hostPath is ever removed, and only the ``…OrCreate`` types make anything.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

from shared.objects import Json

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
    except FileNotFoundError:
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
        path.touch(exist_ok=True)
        path.chmod(0o644)


def _make_folders(path: Path) -> None:
    """Whatever the umask, those above it too: others than the agent are to pass through them."""
    for folder in reversed([path, *path.parents]):
        if not folder.exists():
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
