"""What one container leaves on the disk: its log with what was rotated away and the link to it,
and its last words.

A container that is removed while its pod lives takes these with it, else one that crashes for
months would fill the disk. Only files with the names that such a container's have are touched. What
cannot be removed is told in the log and keeps nothing from going on. Blocking. Called by
``materials.py`` and by housekeeping.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import structlog

from edgeagent.pods import loglinks, specs
from edgeagent.pods.paths import PodPaths, log_path
from edgeagent.runtime.port import Container
from shared.objects import Json

log = structlog.get_logger()


def remove_files(paths: PodPaths, pod: Json, container: Container) -> None:
    name, attempt = container.name, container.attempt
    written = paths.log_directory(pod) / log_path(name, attempt)
    said = paths.termination_log(specs.uid_of(pod), name, attempt=attempt)
    try:
        for file in (*_with_rotated(written), said):
            file.unlink(missing_ok=True)
        loglinks.remove(paths, pod, name, container_id=container.id)
    except OSError as error:
        log.warning("files of a container not removed", path=str(written), error=str(error))


def remove_logs(paths: PodPaths, pod: Json) -> None:
    folder = paths.log_directory(pod)
    try:
        loglinks.remove_below(paths, folder)
    except OSError as error:
        log.warning("links to logs not removed", folder=str(paths.links), error=str(error))
    shutil.rmtree(folder, ignore_errors=True)


def _with_rotated(written: Path) -> list[Path]:
    names = os.listdir(written.parent) if written.parent.is_dir() else []
    own = (one for one in names if one == written.name or one.startswith(f"{written.name}."))
    return [written.with_name(one) for one in own]
