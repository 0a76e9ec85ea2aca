"""Files that the agent itself makes for containers: their ``/etc/hosts``, their last words.

Owns how they are written and read, not what stands in them. Invariant: a file that a running
container has mounted keeps its inode, and is whole again after whatever failed. Blocking; called
by ``podmaterials.py``.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

import structlog

log = structlog.get_logger()

_LONGEST_MESSAGE = 4096
"""Bytes of a termination message that a status carries, as on a kubelet."""
_READABLE = 0o644


def write_in_place(file: Path, data: bytes) -> None:
    """For everybody to read, whatever the umask is and wherever an earlier agent was killed."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _READABLE)
    try:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != _READABLE:
            os.fchmod(descriptor, _READABLE)
        with open(descriptor, "rb", closefd=False) as found:
            before = found.read(len(data) + 1)  # A container can make it as long as it likes.
        if before != data:
            _replace(descriptor, before, data)
    finally:
        os.close(descriptor)


def _replace(descriptor: int, before: bytes, data: bytes) -> None:
    """Never empty in between: what is there takes no room to be written over, and comes back when
    there is none for the rest."""
    try:
        _overwrite(descriptor, data)
        os.ftruncate(descriptor, len(data))
    except OSError:
        with suppress(OSError):
            _overwrite(descriptor, before)
            if len(before) <= len(data):
                os.ftruncate(descriptor, len(before))
        raise


def _overwrite(descriptor: int, data: bytes) -> None:
    written = 0
    while written < len(data):
        written += os.pwrite(descriptor, data[written:], written)


def last_words(file: Path) -> str:
    """A container can put a link or a pipe where its file was: only a plain file is read. One that
    a worn disk does not give back holds up nothing of the pod."""
    try:
        if not stat.S_ISREG(file.lstat().st_mode):
            return ""
        with file.open("rb") as found:
            found.seek(max(0, found.seek(0, os.SEEK_END) - _LONGEST_MESSAGE))
            return found.read(_LONGEST_MESSAGE).decode(errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        log.warning("termination message not read", file=str(file), error=str(error))
        return ""
