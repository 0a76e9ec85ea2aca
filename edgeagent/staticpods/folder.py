"""The static-pods folder, looked at every few seconds: which files give which pods.

Invariant: a file's last good pod stays until the file was seen to be gone, twice, in a folder that
could be read, or gives another pod. What cannot be read or used changes nothing and is a
``trouble``. A changed file is taken when it looks the same twice, so that a half-written one is not
believed; only at the first look everything is taken at once. ``look`` blocks; ``take`` does not.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from edgeagent.desired import DesiredPod
from edgeagent.staticpods.manifests import BadManifest, parse
from shared.objects import ObjectKey
from shared.static_pods import MOST_PODS, SEEN

SUFFIXES = (".yaml", ".yml", ".json")
MOST_FILE = 1024 * 1024

Stamp = tuple[int, int, int, int]
"""Times, size and inode: another one after every change."""


@dataclass(frozen=True, slots=True)
class Look:
    stamps: Mapping[str, Stamp]
    """Of the files that could be looked at."""
    found: Mapping[str, DesiredPod | str]
    """What the files that were read gave: a pod, or why not."""
    names: frozenset[str]
    """Of every file, those that could not be looked at among them."""


class Unreadable(str):
    """Why a file could not be read just now: it is tried again at the next look."""


class Folder:
    def __init__(self, path: Path, *, node: str, pods: Mapping[str, DesiredPod]) -> None:
        """``pods`` by file name, as an earlier process left them."""
        self.path = path
        self._node = node
        self._pods = dict(pods)
        self._troubles: dict[str, str] = {}
        self._chosen = set(pods)
        self._stamps: Mapping[str, Stamp] | None = None
        self._taken: dict[str, Stamp] = {}
        self._absent: set[str] = set()

    def missing(self) -> frozenset[str]:
        """Files of an earlier process that are not there; blocks and raises as ``look`` does."""
        return frozenset(self._pods.keys() - _list(self.path).keys())

    def note_missing(self, names: frozenset[str]) -> None:
        """That was the first time; the first look is the second."""
        self._absent = set(names)

    def look(self) -> Look:
        """Raises OSError when the folder itself cannot be read: then nothing is known."""
        listed = _list(self.path)
        stamps = {name: one for name, one in listed.items() if not isinstance(one, str)}
        found: dict[str, DesiredPod | str] = {
            name: why for name, why in listed.items() if isinstance(why, str)
        }
        for name, stamp in stamps.items():
            if self._is_due(name, stamp):
                found[name] = _read(self.path / name, self._node)
        return Look(stamps, found, frozenset(listed))

    def _is_due(self, name: str, stamp: Stamp) -> bool:
        if self._taken.get(name) == stamp:
            return False
        return self._stamps is None or self._stamps.get(name) == stamp

    def take(self, look: Look, *, now: str) -> None:
        self._stamps = look.stamps
        for name, found in look.found.items():
            self._take_file(name, found, look.stamps.get(name), now=now)
        known = self._pods.keys() | self._troubles.keys()
        for name in (known - look.names) & self._absent:
            for part in (self._pods, self._troubles, self._taken):
                part.pop(name, None)
        self._absent = known - look.names

    def _take_file(
        self, name: str, found: DesiredPod | str, stamp: Stamp | None, *, now: str
    ) -> None:
        if stamp is not None and not isinstance(found, Unreadable):
            self._taken[name] = stamp
        if isinstance(found, str):
            self._troubles[name] = found
        else:
            self._pods[name] = self._known(found, now)
            self._troubles.pop(name, None)

    def _known(self, pod: DesiredPod, now: str) -> DesiredPod:
        """The same pod may come from a renamed file, or from one that was only touched."""
        same = (one for one in self._pods.values() if one.uid == pod.uid)
        return next(same, None) or _first_seen(pod, now)

    def chosen(self) -> dict[str, DesiredPod]:
        """By file name; of two files that give a pod of one name, the one that had it counts."""
        holders = self._holders()
        self._chosen = set(holders.values())
        return {name: self._pods[name] for name in sorted(self._chosen)}

    def troubles(self) -> dict[str, str]:
        """By file name, why it counts for nothing as it is now."""
        holders = self._holders()
        taken = {
            name: f"{holders[pod.key]} gives another pod of that name"
            for name, pod in self._pods.items()
            if self._pods[holders[pod.key]].uid != pod.uid
        }
        return taken | self._troubles

    def _holders(self) -> dict[ObjectKey, str]:
        holders: dict[ObjectKey, str] = {}
        for name in sorted(self._pods, key=lambda one: (one not in self._chosen, one)):
            holders.setdefault(self._pods[name].key, name)
        return holders


def _first_seen(pod: DesiredPod, now: str) -> DesiredPod:
    metadata = pod.pod["metadata"]
    annotations = {**metadata["annotations"], SEEN: now}
    return replace(pod, pod={**pod.pod, "metadata": {**metadata, "annotations": annotations}})


def _list(folder: Path) -> dict[str, Stamp | str]:
    """By name; a text for what is there and cannot be read as a file."""
    with os.scandir(folder) as entries:
        names = sorted(
            one.name
            for one in entries
            if one.name.endswith(SUFFIXES) and not one.name.startswith(".")
        )
    listed: dict[str, Stamp | str] = {name: _stamp(folder / name) for name in names[:MOST_PODS]}
    too_many = f"there are more than {MOST_PODS} files: it is not read"
    return listed | dict.fromkeys(names[MOST_PODS:], too_many)


def _stamp(path: Path) -> Stamp | str:
    try:
        path.name.encode()
        found = path.stat()
    except UnicodeEncodeError:
        return "its name is not UTF-8: rename it"
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    if not stat.S_ISREG(found.st_mode):
        return "it is not a file"
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _read(path: Path, node: str) -> DesiredPod | str:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_FILE + 1)
    except OSError as error:
        return Unreadable(f"it cannot be read: {error.strerror}")
    if len(data) > MOST_FILE:
        return f"it is larger than {MOST_FILE // 1024} KiB"
    try:
        return parse(data, node=node)
    except BadManifest as error:
        return str(error)
    except Exception as error:
        # YAML can say more than anybody foresees; a file is never more than its own trouble.
        return (
            f"it cannot be understood: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        )
