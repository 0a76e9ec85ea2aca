"""Makes cgroups of pods with what they should have, and removes those that are over.

A pod's cgroup is there before its sandbox, so that nothing of the pod ever runs without its limits.
Only the hierarchies that limit something are made here; the runtime makes the others. Only what
differs is written. No start fails because of it: a pod that could not be limited as a whole still
has the limits of its containers, and the log says so. Blocking. Called by ``podmaterials.py``, for
pods that nobody knows by ``edgeagent/housekeeping/orphan_cgroups.py``.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import structlog

from edgeagent.pods.resources.cgroups import Settings, differs, is_wider

log = structlog.get_logger()

_IN_USE = {"memory.max": "memory.current", "memory.limit_in_bytes": "memory.usage_in_bytes"}
"""By the file with a limit, that with what is used of it."""


class CgroupFiles:
    def __init__(self, top: Path = Path("/sys/fs/cgroup")) -> None:
        self._top = top

    def ensure(self, path: str, wanted: Mapping[str, Settings]) -> str:
        """Make ``path``, with those above it, and apply what is wanted of all of them."""
        troubles = [
            _made(self._top / hierarchy, path, controllers)
            for hierarchy, controllers in _hierarchies(wanted[path]).items()
        ]
        return "; ".join(filter(None, [*troubles, self.apply(wanted)]))

    def apply(self, wanted: Mapping[str, Settings], *, only_wider: bool = False) -> str:
        """``only_wider`` before containers grow; what shrinks follows when they have shrunk.

        Answers what the kernel did not take and why; empty when all is as it should be.
        """
        troubles = [
            self._write(self._file(path, setting), value, only_wider)
            for path, settings in wanted.items()
            for setting, value in settings.items()
        ]
        return "; ".join(filter(None, troubles))

    def harmless(self, path: str, wanted: Settings) -> Settings:
        """What of it the kernel kills nobody for: no limit that is used up already."""
        return {
            setting: value
            for setting, value in wanted.items()
            if _is_harmless(self._file(path, setting), value)
        }

    def remove(self, path: str, *, version: int) -> bool:
        """Idempotent; a cgroup that still has something in it stays.

        Whether it is seen to be gone: where no cgroup above it can be seen, nothing is known.
        """
        above, _, name = path.lstrip("/").rpartition("/")
        gone = [_removed(parent / name) for parent in self._in_hierarchies(above, version)]
        return bool(gone) and all(gone)

    def names_in(self, path: str, *, version: int) -> set[str]:
        """Of the cgroups directly below one, in whatever hierarchy."""
        folders = self._in_hierarchies(path, version)
        return {
            one.name
            for folder in folders
            for one in _entries(folder)
            if one.is_dir(follow_symlinks=False)
        }

    def in_use(self, path: str, *, version: int) -> bool:
        """Whether a process may be in a cgroup or below it, in whatever hierarchy.

        One that cannot be read may have some, and so may one of which nothing can be seen.
        """
        above = path.rpartition("/")[0]
        folders = self._in_hierarchies(path, version)
        return not self._in_hierarchies(above, version) or any(map(_has_processes, folders))

    def remove_empty(self, path: str, *, version: int) -> bool:
        """``remove``, with the cgroups below it that are empty as well: containers' of a runtime
        that has forgotten them. The kernel keeps one that has a process."""
        if self.in_use(path, version=version):
            return False
        for folder in self._in_hierarchies(path, version):
            for where, _, _ in os.walk(folder, topdown=False):
                if not _removed(Path(where)):
                    return False
        return self.remove(path, version=version)

    def _in_hierarchies(self, path: str, version: int) -> list[Path]:
        """Version 1 has one for each controller."""
        below = path.lstrip("/")
        return list(self._top.glob(below if version == 2 else f"*/{below}"))

    def _file(self, path: str, setting: str) -> Path:
        controller, _, name = setting.rpartition("/")
        return self._top / controller / path.lstrip("/") / name

    def _write(self, file: Path, value: str, only_wider: bool) -> str:
        try:
            now = file.read_text().strip()
            if not differs(value, now) or (only_wider and not is_wider(value, now)):
                return ""
            if used := _used_beyond(file, value):
                return f"attempting to set {file.name} ({value}) below current usage ({used})"
            file.write_text(value)
        except FileNotFoundError:
            return ""
        except OSError as error:
            log.warning("cgroup not limited", file=str(file), value=value, error=str(error))
            return f"{file.name} = {value}: {error.strerror or error}"
        return ""


def _used_beyond(file: Path, limit: str) -> str:
    """What is used, if it is no less than the limit: the kernel would kill for it."""
    usage = file.parent / _IN_USE.get(file.name, "")
    if not limit.isdecimal() or not usage.is_file():
        return ""
    used = usage.read_text().strip()
    return used if int(limit) <= int(used) else ""


def _is_harmless(file: Path, limit: str) -> bool:
    try:
        return not _used_beyond(file, limit)
    except OSError:
        return False


def _hierarchies(settings: Settings) -> dict[str, set[str]]:
    """With the controllers of each that are to be there; version 2 has one, without a name."""
    found: dict[str, set[str]] = {}
    for setting in settings:
        hierarchy, _, name = setting.rpartition("/")
        found.setdefault(hierarchy, set()).add(name.partition(".")[0])
    return found


def _made(top: Path, path: str, controllers: Collection[str]) -> str:
    """Answers what is in the way; not that there is no such hierarchy."""
    if not (top / "cgroup.procs").exists():
        return ""
    folder = top
    try:
        for name in path.strip("/").split("/"):
            _enable(folder, controllers)
            folder /= name
            folder.mkdir(exist_ok=True)
    except OSError as error:
        log.warning("cgroup not made", path=str(folder), error=str(error))
        return f"{folder.name}: {error.strerror or error}"
    return ""


def _enable(folder: Path, controllers: Collection[str]) -> None:
    """On version 2 a cgroup has the files of a controller only if the one above it says so."""
    switch = folder / "cgroup.subtree_control"
    try:
        lacking = set(controllers) - set(switch.read_text().split())
        has = set((folder / "cgroup.controllers").read_text().split())
    except FileNotFoundError:
        return
    if wanted := sorted(lacking & has):
        switch.write_text(" ".join(f"+{name}" for name in wanted))


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError as error:
        log.debug("cgroup not removed", path=str(folder), error=str(error))
        return False
    return True


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        yield from found


def _has_processes(folder: Path) -> bool:
    """One that is not there has none; one that vanishes meanwhile is looked at again."""
    try:
        for where, _, _ in os.walk(folder, onerror=_complain):
            if (Path(where) / "cgroup.procs").read_bytes():
                return True
    except OSError:
        return True
    return False


def _complain(error: OSError) -> None:
    raise error
