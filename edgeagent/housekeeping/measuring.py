"""Measures what pods use: memory from the runtime, disk by walking folders, processes from /proc.

Owns the walking: links are never followed, nor other file systems entered, nor even asked about
(one whose server is away would not answer); what vanishes meanwhile counts nothing. Called by
``evicting.py`` when something is short, and for pods with limits.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgeagent.housekeeping.usage import ContainerUse, PodUse
from edgeagent.pods.held import HeldPod
from edgeagent.pods.model import specs
from edgeagent.pods.model.paths import PodPaths, safe
from edgeagent.pods.volumes import mounting
from edgeagent.pods.volumes.making import kind_of
from edgeagent.runtime.port import Runtime
from edgeagent.runtime.usage import ContainerStats
from shared.objects import Json
from shared.threads import Offload

PROC = Path("/proc")
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Size:
    bytes: int = 0
    inodes: int = 0


@dataclass(frozen=True, slots=True)
class _OnDisk:
    volumes: dict[str, int]
    logs: dict[str, int]
    inodes: int


class Measuring:
    def __init__(self, runtime: Runtime, paths: PodPaths, offload: Offload | None) -> None:
        self._runtime = runtime
        self._paths = paths
        self._offload = offload

    async def memory(self, pods: Sequence[HeldPod]) -> list[PodUse]:
        """Cheap: nothing but what the runtime tells."""
        stats = await self._runtime.stats()
        return [_use(one, stats, _OnDisk({}, {}, 0)) for one in pods]

    async def disk(self, pods: Sequence[HeldPod]) -> list[PodUse]:
        """Walks every folder of these pods."""
        stats = await self._runtime.stats()
        return [_use(one, stats, await self._walk(one.pod)) for one in pods]

    async def processes(self, pods: Sequence[HeldPod]) -> list[PodUse]:
        if self._offload is None:
            return [PodUse(one.uid, one.pod) for one in pods]
        uids = [one.uid for one in pods]
        try:
            counted: dict[str, int] = await self._offload(lambda: count_processes(uids))
        except RuntimeError:  # No thread can be made: there are too many processes already.
            counted = count_processes(uids)
        return [PodUse(one.uid, one.pod, pids=counted[one.uid]) for one in pods]

    async def _walk(self, pod: Json) -> _OnDisk:
        if self._offload is None:
            return _OnDisk({}, {}, 0)
        found: _OnDisk = await self._offload(lambda: _on_disk(pod, self._paths))
        return found


def _use(held: HeldPod, stats: list[ContainerStats], found: _OnDisk) -> PodUse:
    containers = {
        one.name: ContainerUse(
            memory=one.memory_working_set_bytes,
            layer=one.rootfs_used_bytes,
            logs=found.logs.get(one.name, 0),
            inodes=one.rootfs_inodes_used,
        )
        for one in stats
        if one.pod_uid == held.uid
    }
    return PodUse(held.uid, held.pod, containers, found.volumes, inodes=found.inodes)


def _on_disk(pod: Json, paths: PodPaths) -> _OnDisk:
    """Blocking. Volumes in memory are on another file system, and count nothing."""
    uid, folder = specs.uid_of(pod), paths.log_directory(pod)
    mounts = frozenset(mounting.mount_points())
    device = _device(paths.data)
    volumes = {
        one["name"]: measure(paths.volume(uid, one["name"]), device=device, mounts=mounts)
        for one in pod["spec"].get("volumes") or ()
        if kind_of(one) == "emptyDir"
    }
    logs = {
        one["name"]: measure(folder / safe(one["name"]), device=_device(paths.logs), mounts=mounts)
        for one in specs.every_container(pod)
    }
    return _OnDisk(
        {name: size.bytes for name, size in volumes.items()},
        {name: size.bytes for name, size in logs.items()},
        sum(size.inodes for size in (*volumes.values(), *logs.values())),
    )


def measure(top: Path, *, device: int | None, mounts: Collection[str] = ()) -> Size:
    """What a folder takes on the file system ``device``; nothing at or below ``mounts`` is touched.

    Memory goes by folders: a pod may have files by the million.
    """
    tally = _Tally(device)
    first = os.path.join(os.path.realpath(top.parent), top.name)
    waiting = [first] if first not in mounts and tally.add(lambda: os.lstat(first)) else []
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                waiting += [
                    one.path
                    for one in entries
                    if one.path not in mounts
                    and tally.add(partial(one.stat, follow_symlinks=False))
                ]
        except OSError:
            continue
    return Size(tally.bytes, tally.inodes)


class _Tally:
    def __init__(self, device: int | None) -> None:
        self.bytes = self.inodes = 0
        self._device = device
        self._linked: set[int] = set()
        """Inodes that have other names, and were counted."""

    def add(self, look: Callable[[], os.stat_result]) -> bool:
        """Whether it is a folder to be entered."""
        try:
            found = look()
        except OSError:
            return False
        if found.st_dev != self._device or found.st_ino in self._linked:
            return False
        is_folder = stat.S_ISDIR(found.st_mode)
        if found.st_nlink > 1 and not is_folder:
            self._linked.add(found.st_ino)
        self.inodes += 1
        self.bytes += found.st_blocks * _BLOCK
        return is_folder


def _device(path: Path) -> int | None:
    try:
        return path.stat().st_dev
    except OSError:
        return None


def count_processes(uids: Sequence[str]) -> dict[str, int]:
    """By pod uid, from the names of the cgroups that processes are in, as both drivers write."""
    marks = {uid: (f"pod{uid}", f"pod{uid.replace('-', '_')}") for uid in uids}
    counted = dict.fromkeys(uids, 0)
    for file in PROC.glob("[0-9]*/cgroup"):
        try:
            text = file.read_text(errors="replace")
        except OSError:
            continue
        for uid, names in marks.items():
            counted[uid] += any(name in text for name in names)
    return counted
