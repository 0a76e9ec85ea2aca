"""A folder of files that changes as one: readers see all of the old or all of the new.

The files live in a folder whose name begins with ``..``; ``..data`` links to it, and every
visible name is a link through ``..data``. A change writes a new folder and swaps that one link,
which is what applications watch for. A crash in between leaves the old contents in place; so does a
failure, and nothing else: a disk that is full does not fill with attempts.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from edgeagent.pods.volumes.contents import File, Files

_DATA = "..data"
_NEXT = "..data_tmp"


def write(folder: Path, files: Files, *, now: float, group: int | None) -> bool:
    """Make ``folder`` show exactly ``files``; False when it already does. ``group`` is fsGroup."""
    current = folder / _DATA
    names = {path.split("/")[0] for path in files}
    if current.is_symlink() and _holds(current, files, group=group):
        _show(folder, names)
        _drop_all_but(os.readlink(current), folder)
        return False
    before = os.readlink(current) if current.is_symlink() else ""
    stamp = datetime.fromtimestamp(now, UTC).strftime("..%Y_%m_%d_%H_%M_%S.")
    _drop_all_but(before, folder)
    fresh = Path(tempfile.mkdtemp(prefix=stamp, dir=folder))
    try:
        for path, file in files.items():
            _write_file(fresh / path, file, group=group)
        _open_folders(fresh, group=group)
        _swap(folder, fresh.name)
    except BaseException:
        shutil.rmtree(fresh)
        raise
    _show(folder, names)
    _drop_all_but(fresh.name, folder)
    return True


def is_written(folder: Path) -> bool:
    """Whether anything was ever shown here."""
    return (folder / _DATA).exists()


def _write_file(path: Path, file: File, *, group: int | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(file.data)
        os.fchown(descriptor, *_owners(file, group))
        os.fchmod(descriptor, _shared(file.mode, group))


def _owners(file: File, group: int | None) -> tuple[int, int]:
    keep = -1
    return keep if file.owner is None else file.owner, keep if group is None else group


def _shared(mode: int, group: int | None) -> int:
    """What belongs to the pod's group can be read by it."""
    return mode if group is None else mode | 0o440


def _open_folders(top: Path, *, group: int | None) -> None:
    for folder, _, _ in os.walk(top):
        if group is not None:
            os.chown(folder, -1, group)
        os.chmod(folder, 0o755 if group is None else 0o2755)


def _swap(folder: Path, fresh: str) -> None:
    link = folder / _NEXT
    link.unlink(missing_ok=True)
    link.symlink_to(fresh)
    link.rename(folder / _DATA)


def _show(folder: Path, names: set[str]) -> None:
    """One link per visible name; those of names that are gone go away.

    What is no link is a folder that another volume is mounted on, and stays as it is.
    """
    for entry in os.scandir(folder):
        if not entry.name.startswith("..") and entry.name not in names and entry.is_symlink():
            os.unlink(entry.path)
    for name in names:
        link = folder / name
        if not os.path.lexists(link):
            link.symlink_to(f"{_DATA}/{name}")


def _drop_all_but(kept: str, folder: Path) -> None:
    """The former contents, and what a crash between two steps left behind."""
    for entry in os.scandir(folder):
        old = entry.name.startswith("..") and entry.name != kept
        if old and entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)


def _holds(current: Path, files: Files, *, group: int | None) -> bool:
    there = {
        os.path.relpath(os.path.join(folder, name), current)
        for folder, _, names in os.walk(current)
        for name in names
    }
    return there == set(files) and all(
        _same(current / path, file, group=group) for path, file in files.items()
    )


def _same(path: Path, file: File, *, group: int | None) -> bool:
    found = path.lstat()
    if stat.S_IMODE(found.st_mode) != _shared(file.mode, group):
        return False
    if file.owner not in (None, found.st_uid) or group not in (None, found.st_gid):
        return False
    return found.st_size == len(file.data) and path.read_bytes() == file.data
