"""Taking a pod's folder away without ever touching what is not its own.

First everything mounted inside is unmounted; only when the mount table shows that nothing is left
does removal begin. Links are removed, never followed. So neither a hostPath nor another pod's
volume nor a folder that a container mounted from elsewhere can lose a file here.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from edgeagent.pods.volumes import mounting
from shared.errors import TemporaryError


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
        shutil.rmtree(top)
    except FileNotFoundError:
        remove(folder, unmount=unmount)
    except OSError as error:
        raise StillMounted(f"{folder} cannot be removed: {error}") from error
