"""The folders that containers write their logs into, ready before the sandbox and the container.

A kubelet makes them, open to collectors, which need not be root. CRI-O makes that of the pod for
root alone and that of the container not at all. A container that is removed takes its logs with it
(``leftovers.py``), but CRI-O forgets all containers when the device boots: what is older than the
log of the container before goes here, else it would pile up. The folder of all logs may be a link,
an administrator's; one below it is of a pod that may write there, and is never followed. Blocking.
Called by ``podmaterials.py``, ``leftovers.py`` and housekeeping.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import structlog

from edgeagent.pods.logs import loglinks
from edgeagent.pods.model.paths import PodPaths, log_path
from edgeagent.pods.volumes import nested
from shared.objects import Json

log = structlog.get_logger()

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OF_ATTEMPT = re.compile(r"([0-9]{1,9})\.log(\..+)?")
"""A log, and what was rotated away of it."""


def make(folder: Path, *, logs: Path) -> None:
    """All that is missing down to it. What is below ``logs`` is opened, whoever made it.

    A link or file that is in the way stays, and nothing is made behind it.
    """
    top = next(one for one in (logs, *logs.parents) if one.is_dir())
    nested.make(top.resolve(), [str(folder.relative_to(top))], group=None)


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    """A container's, for use as ``dir_fd``; OSError if it or its pod's is missing or a link."""
    of_pod = os.open(folder.parent, _FOLDER)
    try:
        descriptor = os.open(folder.name, _FOLDER, dir_fd=of_pod)
    finally:
        os.close(of_pod)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def opened_log(path: Path) -> IO[bytes]:
    """To be read. OSError where it or its folder is a link; no other end of a pipe is awaited."""
    with opened(path.parent) as folder:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return open(os.open(path.name, flags, dir_fd=folder), "rb")


def make_ready(paths: PodPaths, pod: Json, container: str, *, attempt: int) -> None:
    """For the log of this attempt."""
    folder = (paths.log_directory(pod) / log_path(container, attempt)).parent
    make(folder, logs=paths.logs)
    try:
        with opened(folder) as descriptor:
            _remove_older(paths, folder, descriptor, least=attempt - 1)
    except OSError as error:
        log.warning("old logs not removed", folder=str(folder), error=str(error))


def _remove_older(paths: PodPaths, folder: Path, descriptor: int, *, least: int) -> None:
    for name in os.listdir(descriptor):
        written = _OF_ATTEMPT.fullmatch(name)
        if written and int(written[1]) < least:
            loglinks.remove_below(paths, folder / name)
            os.unlink(name, dir_fd=descriptor)
