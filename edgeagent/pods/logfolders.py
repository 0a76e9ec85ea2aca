"""The folder that a container writes its log into, ready before the container is made.

A kubelet makes it, and CRI-O relies on that; containerd would make it itself. A container that is
removed takes its logs with it (``leftovers.py``), but CRI-O forgets all containers when the device
boots: what is older than the log of the container before goes here, else it would pile up.
Blocking. Called by ``materials.py``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import structlog

from edgeagent.pods import loglinks
from edgeagent.pods.paths import PodPaths, log_path
from shared.objects import Json

log = structlog.get_logger()

_OF_ATTEMPT = re.compile(r"([0-9]{1,9})\.log(\..+)?")
"""A log, and what was rotated away of it."""


def make_ready(paths: PodPaths, pod: Json, container: str, *, attempt: int) -> None:
    """For the log of this attempt."""
    folder = (paths.log_directory(pod) / log_path(container, attempt)).parent
    for one in (folder.parent, folder):
        if not one.is_dir():
            one.mkdir(parents=True, exist_ok=True)
            # Collectors need not be root, whatever the umask.
            one.chmod(0o755)
    try:
        _remove_older(paths, folder, attempt - 1)
    except OSError as error:
        log.warning("old logs not removed", folder=str(folder), error=str(error))


def _remove_older(paths: PodPaths, folder: Path, least: int) -> None:
    for name in os.listdir(folder):
        written = _OF_ATTEMPT.fullmatch(name)
        if written and int(written[1]) < least:
            loglinks.remove_below(paths, folder / name)
            (folder / name).unlink(missing_ok=True)
