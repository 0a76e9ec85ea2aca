"""Container logs from the files that the runtime writes: ``edgeagent logs``, offline too.

Lines are in the CRI format (``TIME STREAM F|P TEXT``); partial lines are put together. The newest
attempt is shown, or the one before it, beginning with what was rotated away and is still here.
"""

from __future__ import annotations

import gzip
import os
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

from shared.errors import SettingsError

POLL_SECONDS = 0.25
OVER_SECONDS = 2.0


def find_log(pod_logs: Path, container: str, *, previous: bool) -> Path:
    """The file of the newest attempt of ``container`` (or the one before). SettingsError: none."""
    if not pod_logs.is_dir():
        raise SettingsError(f"no logs yet: {pod_logs} is not there")
    name = container or _only_container(pod_logs)
    attempts = _attempts(pod_logs / name)
    if not attempts:
        raise SettingsError(f"container {name!r} has no logs; there are {_names(pod_logs)}")
    if not previous:
        return attempts[-1]
    if len(attempts) < 2:
        raise SettingsError(f"container {name!r} has no previous attempt whose log is still here")
    return attempts[-2]


def _only_container(pod_logs: Path) -> str:
    names = [folder.name for folder in sorted(pod_logs.iterdir()) if folder.is_dir()]
    if len(names) != 1:
        raise SettingsError(f"the pod has several containers, name one with -c: {_names(pod_logs)}")
    return names[0]


def _names(pod_logs: Path) -> str:
    return ", ".join(folder.name for folder in sorted(pod_logs.iterdir()) if folder.is_dir())


def _attempts(folder: Path) -> list[Path]:
    files = [file for file in folder.glob("*.log") if file.stem.isdecimal()]
    return sorted(files, key=lambda file: int(file.stem))


def _has_a_newer_one(path: Path) -> bool:
    """In a rotation there is none at the path for a moment: that is no end."""
    newer = [one for one in _attempts(path.parent) if int(one.stem) > int(path.stem)]
    return bool(newer) or not path.parent.is_dir()


def read(
    path: Path, *, tail: int | None, follow: bool, over: Callable[[], bool] = lambda: False
) -> Iterator[bytes]:
    """The text of the log, without times; with ``follow`` until a newer attempt has begun, or the
    pod is ``over``, which is asked every few seconds."""
    log, asked = path.open("rb"), time.monotonic()
    try:
        lines = chain(_rotated_lines(path), _complete(log))
        yield from (deque(lines, maxlen=tail) if tail is not None else lines)
        while follow:
            ended = _has_a_newer_one(path)
            if not ended and time.monotonic() - asked >= OVER_SECONDS:
                ended, asked = over(), time.monotonic()
            yield from _complete(log)
            if _was_rotated(path, log):
                yield from _complete(log)  # What came between the last look and the rotation.
                log.close()
                log = path.open("rb")
            elif ended:
                return
            time.sleep(POLL_SECONDS)
    finally:
        log.close()


def _rotated_lines(path: Path) -> Iterator[bytes]:
    """Oldest first; without what is let go just now, or was damaged by a power cut."""
    for file in sorted(path.parent.glob(f"{path.name}.*")):
        opened = gzip.open if file.suffix == ".gz" else open
        with suppress(OSError, EOFError, zlib.error), opened(file, "rb") as log:
            if file.suffix != ".tmp":
                yield from _complete(cast(BinaryIO, log))


def _was_rotated(path: Path, log: BinaryIO) -> bool:
    """Whether another file stands at the path by now; nothing is added to the old one then."""
    try:
        return not os.path.samestat(path.stat(), os.fstat(log.fileno()))
    except FileNotFoundError:
        return False


def _complete(log: BinaryIO) -> Iterator[bytes]:
    """Whole lines, and at the end of the file what there is of the last one.

    A record that is half written stays for the next call.
    """
    begun = b""
    while True:
        place = log.tell()
        record = log.readline()
        if not record.endswith(b"\n"):
            log.seek(place)
            break
        begun += text_of(record)
        if begun.endswith(b"\n"):
            yield begun
            begun = b""
    if begun:
        yield begun


def text_of(record: bytes) -> bytes:
    """``2026-01-01T00:00:00Z stdout P half a li`` → ``half a li``, and F ends the line."""
    parts = record.rstrip(b"\n").split(b" ", 3)
    if len(parts) < 3 or parts[1] not in (b"stdout", b"stderr"):
        return record
    text = parts[3] if len(parts) == 4 else b""
    return text if parts[2].startswith(b"P") else text + b"\n"
