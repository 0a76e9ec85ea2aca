"""fsGroup: the files of a volume that outlives its pods are given to the pod's group.

As a kubelet does it, the folder itself last, so that ``fits`` holds only for what was done to the
end, and a file system that has no groups (FAT) or refuses (NFS) keeps nobody from the volume. Other
containers may be at work in the volume and swap a folder for a link at any moment: so every entry
is opened without following links, and what was opened is what is changed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from edgeagent.pods.volumes import walking

_FILE = 0o660
_FOLDER = _FILE | 0o110 | stat.S_ISGID


def fits(folder: Path, group: int) -> bool:
    """Whether the folder itself is the group's already, with what the group needs."""
    found = folder.stat()
    return found.st_gid == group and found.st_mode & _FOLDER == _FOLDER


def give(folder: Path, group: int) -> str:
    """Everything at and below ``folder``; what vanishes meanwhile needs nothing.

    The last refusal of the file system, in its words; empty when there was none.
    """
    refusal, top = "", os.path.realpath(folder)
    for parent, names in walking.every_folder(top):
        for name in names:
            with suppress(FileNotFoundError):
                refusal = _give_one(name, group, parent=parent) or refusal
    return _give_one(top, group, parent=None) or refusal


def _give_one(name: str, group: int, *, parent: int | None) -> str:
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISLNK(mode):
            # Its mode means nothing, and what it points to is not ours.
            owning = partial(os.chown, name, -1, group, dir_fd=parent, follow_symlinks=False)
            return _refusal(owning)
        opened = f"/proc/self/fd/{descriptor}"
        wanted = stat.S_IMODE(mode) | (_FOLDER if stat.S_ISDIR(mode) else _FILE)
        owned = _refusal(partial(os.chown, opened, -1, group))
        return _refusal(partial(os.chmod, opened, wanted)) or owned
    finally:
        os.close(descriptor)


def _refusal(change: Callable[[], None]) -> str:
    try:
        change()
    except FileNotFoundError:
        raise
    except OSError as error:
        return str(error)
    return ""
