"""Taking a pod's folder away without ever touching what is not its own.

First everything mounted inside is unmounted; only when the mount table shows that nothing is left
does removal begin. Links are removed, never followed; folders may be as deep as a program that went
wild could make them. So neither a hostPath nor another pod's
volume nor a folder that a container mounted from elsewhere can lose a file here.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from edgeagent.pods.volumes import mounting
from shared.errors import TemporaryError

PASSES = 3
"""Over all folders without one that goes, until somebody must be writing there."""


class StillMounted(TemporaryError):
    """Something in the pod's folder cannot be unmounted: nothing in it was removed."""


def remove(folder: Path, *, unmount: Callable[[Path], None] = mounting.unmount_below) -> None:
    """Idempotent; a folder that is not there is a success."""
    if folder.is_symlink() or not folder.exists():
        return
    if mounting.may_mount():
        unmount(folder)
    top = os.path.realpath(folder)
    left = [one for one in mounting.mount_points() if one == top or one.startswith(top + "/")]
    if left:
        raise StillMounted(f"{left[0]} is still mounted")
    try:
        _remove_tree(top)
    except FileNotFoundError:
        remove(folder, unmount=unmount)
    except OSError as error:
        raise StillMounted(f"{folder} cannot be removed: {error}") from error


def _remove_tree(top: str) -> None:
    """Folders come up to the top one by one, so that no depth needs more files or memory."""
    names = (f"{secrets.token_hex(8)}-{number}" for number in count())
    vain = 0
    with _opened(top) as here:
        while vain < PASSES and (folders := _without_files(here)):
            gone = [_is_lifted(name, here, names) for name in folders]
            vain = 0 if any(gone) else vain + 1
    os.rmdir(top)


def _is_lifted(name: str, here: int, names: Iterator[str]) -> bool:
    """Whether the folder is gone, and what was in it is up here. A look may miss some of that, or
    somebody may still be writing: then it comes again."""
    with _opened(name, here) as folder:
        for inner in _without_files(folder):
            _lift(inner, next(names), folder, here)
    try:
        os.rmdir(name, dir_fd=here)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        return False
    return True


def _lift(inner: str, name: str, folder: int, here: int) -> None:
    try:
        os.rename(inner, name, src_dir_fd=folder, dst_dir_fd=here)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EXDEV):
            raise
        # What may not be written to is not moved by all users, nor is what has a subvolume.
        shutil.rmtree(inner, dir_fd=folder)


def _without_files(folder: int) -> list[str]:
    """Takes away all but folders, and answers the names of those."""
    folders = []
    with os.scandir(folder) as entries:
        for one in entries:
            if one.is_dir(follow_symlinks=False):
                folders.append(one.name)
            else:
                os.unlink(one.name, dir_fd=folder)
    return folders


@contextmanager
def _opened(name: str, parent: int | None = None) -> Iterator[int]:
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
