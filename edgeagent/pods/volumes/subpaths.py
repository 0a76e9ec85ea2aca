"""subPath: one file or folder inside a volume, whatever links a container left in there.

A container can write links into its volumes, and can swap them at any moment. So a path is
resolved first, must stay inside the volume, and is then opened again component by component
without following a single link; what was opened, not its name, is what gets mounted.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from edgeagent.pods.volumes import mounting

_WALK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class UnsafePath(ValueError):
    """The path leaves its volume, or changed while it was looked at."""


class NotMade(UnsafePath):
    """What is missing of the path cannot be made."""


def check(path: str) -> str:
    """What the API says about subPath, whether it was written so or expanded to it."""
    if path.startswith("/"):
        raise UnsafePath(f"error SubPath `{path}` must not be an absolute path")
    if ".." in path.split("/") or "\0" in path:
        raise UnsafePath(f"unable to provision SubPath `{path}`: must not contain '..'")
    return path


def expose(volume: Path, path: str, *, at: Path) -> str:
    """The safe path for a mount: ``at``, where exactly what ``path`` names is bound to.

    Missing folders are made, with the mode of the volume. Without the right to mount, it is the
    resolved path itself: then nothing keeps a container from swapping it afterwards.
    """
    _have(volume, check(path))
    inside = _inside(volume, path)
    with _opened(volume, inside) as descriptor:
        if not mounting.may_mount():
            return str(volume.resolve() / inside)
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        _make_target(at, is_folder=is_folder)
        mounting.bind(f"/proc/self/fd/{descriptor}", at)
    return str(at)


def read(volume: Path, path: str, *, most: int) -> bytes:
    """The file at ``path`` inside the volume; of a larger one, one byte more than ``most``.

    Only a plain file is opened: opening a pipe would wait for whoever put it there.
    """
    with _opened(volume, _inside(volume, check(path))) as descriptor:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UnsafePath(f"{path} is not a file")
        with open(f"/proc/self/fd/{descriptor}", "rb") as found:
            return found.read(most + 1)


def _make_target(at: Path, *, is_folder: bool) -> None:
    """A fresh place: what an earlier start of the container bound there is let go first."""
    if mounting.is_mounted(at):
        mounting.unmount_below(at)
    if at.is_dir():
        at.rmdir()
    else:
        at.unlink(missing_ok=True)
    at.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if is_folder:
        at.mkdir()
    else:
        at.touch()


def _inside(volume: Path, path: str) -> str:
    """``path`` with all its links resolved, relative to the volume."""
    top, target = os.path.realpath(volume), os.path.realpath(volume / path)
    if target != top and not target.startswith(top.rstrip("/") + "/"):
        raise UnsafePath("the path leaves its volume")
    return os.path.relpath(target, top)


def _have(volume: Path, path: str) -> None:
    try:
        _make(volume, path)
    except NotADirectoryError:
        raise  # Below a file nothing is missing: a kubelet does not try to make it.
    except (OSError, UnsafePath) as error:
        raise NotMade(str(error)) from error
    if not os.path.exists(volume / path):
        raise NotMade("a link leads nowhere")


def _make(volume: Path, path: str) -> None:
    if os.path.lexists(volume / path):
        return
    mode = stat.S_IMODE(volume.stat().st_mode)
    existing, missing = _existing_part(volume, path)
    with ExitStack() as opened:
        parent = opened.enter_context(_opened(volume, _inside(volume, existing)))
        for name in missing:
            parent = _make_one(parent, name, mode=mode)
            opened.callback(os.close, parent)


def _existing_part(volume: Path, path: str) -> tuple[str, list[str]]:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    count = len(parts)
    while count and not os.path.lexists(volume.joinpath(*parts[:count])):
        count -= 1
    return "/".join(parts[:count]), parts[count:]


def _make_one(parent: int, name: str, *, mode: int) -> int:
    """Makes a folder below ``parent`` and opens it; another container may make it just now."""
    with suppress(FileExistsError):
        os.mkdir(name, dir_fd=parent)
    made = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        os.fchmod(made, mode | (stat.S_IMODE(os.fstat(made).st_mode) & stat.S_ISGID))
    except BaseException:
        os.close(made)
        raise
    return made


@contextmanager
def _opened(volume: Path, inside: str) -> Iterator[int]:
    """``inside`` opened below the volume; no component may be a link."""
    descriptor = os.open(os.path.realpath(volume), _WALK)
    try:
        for part in inside.split("/"):
            if part in ("", "."):
                continue
            deeper = os.open(part, _WALK, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = deeper
            if stat.S_ISLNK(os.fstat(descriptor).st_mode):
                raise UnsafePath("the path changed while it was opened")
        yield descriptor
    finally:
        os.close(descriptor)
