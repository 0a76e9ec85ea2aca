"""What one container leaves on the disk: its log with what was rotated away and the link to it,
and its last words.

A container that is removed while its pod lives takes these with it, else one that crashes for
months would fill the disk. Only files with the names that such a container's have are touched, and
never through a link. What cannot be removed is told in the log and keeps nothing from going on.
Blocking. Called by ``podmaterials.py`` and by housekeeping.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

import structlog

from edgeagent.pods.logs import logfolders, loglinks
from edgeagent.pods.model import specs
from edgeagent.pods.model.paths import PodPaths, log_path
from edgeagent.runtime.port import Container
from shared.objects import Json

log = structlog.get_logger()


def remove_files(paths: PodPaths, pod: Json, container: Container) -> None:
    name, attempt = container.name, container.attempt
    written = paths.log_directory(pod) / log_path(name, attempt)
    said = paths.termination_log(specs.uid_of(pod), name, attempt=attempt)
    try:
        said.unlink(missing_ok=True)
        loglinks.remove(paths, pod, name, container_id=container.id)
        _remove_with_rotated(written)
    except OSError as error:
        log.warning("files of a container not removed", path=str(written), error=str(error))


def remove_logs(paths: PodPaths, pod: Json) -> None:
    folder = paths.log_directory(pod)
    try:
        loglinks.remove_below(paths, folder)
    except OSError as error:
        log.warning("links to logs not removed", folder=str(paths.links), error=str(error))
    try:
        remove_folder(folder, ignore_errors=True)
    except OSError as error:
        log.warning("link in place of logs not removed", folder=str(folder), error=str(error))


def remove_folder(folder: Path, *, ignore_errors: bool = False) -> None:
    """Of a pod's logs; a link in its place goes, what it leads to stays."""
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=ignore_errors)


def _remove_with_rotated(written: Path) -> None:
    with suppress(FileNotFoundError), logfolders.opened(written.parent) as folder:
        for name in os.listdir(folder):
            if name == written.name or name.startswith(f"{written.name}."):
                os.unlink(name, dir_fd=folder)
