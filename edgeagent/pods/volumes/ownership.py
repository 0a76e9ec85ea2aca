"""fsGroup: the files of a volume that outlives its pods are given to the pod's group.

As a kubelet does it, the folder itself last, so that ``fits`` holds only for what was done to the
end. Other containers may be at work in the volume and swap a folder for a link at any moment: so
every entry is opened without following links, and what was opened is what is changed.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

_FILE = 0o660
_FOLDER = _FILE | 0o110 | stat.S_ISGID


def fits(folder: Path, group: int) -> bool:
    """Whether the folder itself is the group's already, with what the group needs."""
    found = folder.stat()
    return found.st_gid == group and found.st_mode & _FOLDER == _FOLDER


def give(folder: Path, group: int) -> None:
    """Everything at and below ``folder``; what vanishes meanwhile needs nothing."""
    top = os.path.realpath(folder)
    for _, folders, files, parent in os.fwalk(top, topdown=False, onerror=_unless_gone):
        for name in (*files, *folders):
            try:
                _give_one(name, group, parent=parent)
            except FileNotFoundError:
                continue
    _give_one(top, group, parent=None)


def _give_one(name: str, group: int, *, parent: int | None) -> None:
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISLNK(mode):
            # Its mode means nothing, and what it points to is not ours.
            os.chown(name, -1, group, dir_fd=parent, follow_symlinks=False)
            return
        opened = f"/proc/self/fd/{descriptor}"
        os.chown(opened, -1, group)
        os.chmod(opened, stat.S_IMODE(mode) | (_FOLDER if stat.S_ISDIR(mode) else _FILE))
    finally:
        os.close(descriptor)


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
