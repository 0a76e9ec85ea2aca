"""Volumes that a container mounts below a volume it only reads: the folders they are mounted on.

A runtime makes missing ones itself, but not where it may only read. They are folders of their own
beside the links of ``atomic.py``, which leaves them alone: an update swaps what is beside them, and
nothing is unmounted in a container by it. Called by ``making.py`` before it writes, and for the
folders of logs, which a pod may be able to write into as well.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from edgeagent.pods.model import specs
from shared.objects import Json

_LONGEST = 4096
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def points(pod: Json, volume: str, *, shown: Collection[str] = ()) -> list[str]:
    """Paths in the volume that other volumes are mounted on; ``shown`` are those of its files.

    A subPath over a file is a file as well: there is no folder in its place.
    """
    found = {
        point
        for one in specs.every_container(pod)
        for point, is_sub_path in _below(one, volume)
        if not (is_sub_path and point in shown)
    }
    return sorted(found)


def make(folder: Path, wanted: list[str], *, group: int | None) -> None:
    """Raises ValueError or OSError. Where a file or link of the volume is shown, it stays."""
    for point in wanted:
        if len(point) > _LONGEST:
            raise ValueError(f"invalid path of a mount: {point!r:.200}")
        if not point.startswith(".."):  # Such names are the volume's own.
            _make(folder, point.split("/"), group)


def _below(container: Json, volume: str) -> Iterator[tuple[str, bool]]:
    """Of what is mounted below the volume, all that is not below another such mount already."""
    by_path: dict[str, Json] = {}
    for one in container.get("volumeMounts") or ():
        by_path.setdefault(_clean(one), one)
    # What is below a path follows it at once.
    mounts = sorted(by_path.items(), key=lambda item: item[0].split("/"))
    for place, (top, mount) in enumerate(mounts):
        if mount["name"] != volume or _sub_path(mount):
            continue
        nearest = top
        for at in range(place + 1, len(mounts)):
            path, other = mounts[at]
            if not _is_below(path, top):
                break
            if nearest == top or not _is_below(path, nearest):
                nearest = path
                yield posixpath.relpath(path, top), _sub_path(other)


def _make(folder: Path, parts: list[str], group: int | None) -> None:
    descriptor = os.open(folder, _FOLDER)
    try:
        for part in parts:
            deeper = _made(part, descriptor, group)
            if deeper is None:
                return
            os.close(descriptor)
            descriptor = deeper
    finally:
        os.close(descriptor)


def _made(name: str, parent: int, group: int | None) -> int | None:
    """The folder, opened; its mode depends on no umask, and on no crash before it was set."""
    with suppress(FileExistsError):
        os.mkdir(name, dir_fd=parent)
    try:
        made = os.open(name, _FOLDER, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            return None
        raise
    try:
        _open_to_all(made, group)
    except BaseException:
        os.close(made)
        raise
    return made


def _open_to_all(folder: int, group: int | None) -> None:
    """Not touched where it fits: the disk may be read-only by now."""
    found, mode = os.fstat(folder), 0o755 if group is None else 0o755 | stat.S_ISGID
    if group is not None and found.st_gid != group:
        os.fchown(folder, -1, group)
    if stat.S_IMODE(found.st_mode) != mode:
        os.fchmod(folder, mode)


def _clean(mount: Json) -> str:
    return posixpath.normpath("/" + str(mount.get("mountPath")).lstrip("/"))


def _sub_path(mount: Json) -> bool:
    return bool(mount.get("subPath") or mount.get("subPathExpr"))


def _is_below(path: str, top: str) -> bool:
    return path != top and path.startswith(top.rstrip("/") + "/")
