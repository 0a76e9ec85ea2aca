"""Writes what cgroups of pods should have into the kernel's files, and removes those that are over.

A cgroup appears with its pod's sandbox, made by the runtime; here nothing is ever made. Only what
differs is written. No start fails because of it: a pod that could not be limited as a whole still
has the limits of its containers, and the log says so. Blocking. Called by ``podmaterials.py`` only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import structlog

from edgeagent.pods.resources.cgroups import Settings, is_wider

log = structlog.get_logger()


class CgroupFiles:
    def __init__(self, top: Path = Path("/sys/fs/cgroup")) -> None:
        self._top = top

    def apply(self, wanted: Mapping[str, Settings], *, only_wider: bool = False) -> str:
        """``only_wider`` before containers grow; what shrinks follows when they have shrunk.

        Answers what the kernel did not take and why; empty when all is as it should be.
        """
        troubles = [
            self._write(self._top / controller / path.lstrip("/") / name, value, only_wider)
            for path, settings in wanted.items()
            for setting, value in settings.items()
            for controller, _, name in [setting.rpartition("/")]
        ]
        return "; ".join(filter(None, troubles))

    def remove(self, path: str, *, version: int) -> bool:
        """Idempotent; a cgroup that still has something in it stays.

        Whether it is seen to be gone: where no cgroup above it can be seen, nothing is known.
        """
        above, _, name = path.lstrip("/").rpartition("/")
        parents = list(self._top.glob(above if version == 2 else f"*/{above}"))
        gone = [_removed(parent / name) for parent in parents]
        return bool(gone) and all(gone)

    def _write(self, file: Path, value: str, only_wider: bool) -> str:
        try:
            now = file.read_text().strip()
            if now != value and (not only_wider or is_wider(value, now)):
                file.write_text(value)
        except FileNotFoundError:
            return ""
        except OSError as error:
            log.warning("cgroup not limited", file=str(file), value=value, error=str(error))
            return f"{file.name} = {value}: {error.strerror or error}"
        return ""


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError as error:
        log.debug("cgroup not removed", path=str(folder), error=str(error))
        return False
    return True
