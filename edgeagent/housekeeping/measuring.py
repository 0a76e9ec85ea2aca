"""Measures what pods use: memory from the runtime, disk by walking folders, processes from /proc.

Owns the walking: links are never followed, nor other file systems entered; what vanishes meanwhile
counts nothing. Called by ``evicting.py`` when something is short, and for pods with limits.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeagent.housekeeping.usage import ContainerUse, PodUse
from edgeagent.pods.held import HeldPod
from edgeagent.pods.model import specs
from edgeagent.pods.model.paths import PodPaths, safe
from edgeagent.pods.volumes.making import Offload, kind_of
from edgeagent.runtime.port import Runtime
from edgeagent.runtime.usage import ContainerStats
from shared.objects import Json

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
        counted: dict[str, int] = await self._offload(lambda: count_processes(uids))
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
            disk=one.rootfs_used_bytes + found.logs.get(one.name, 0),
            inodes=one.rootfs_inodes_used,
        )
        for one in stats
        if one.pod_uid == held.uid
    }
    return PodUse(held.uid, held.pod, containers, found.volumes, inodes=found.inodes)


def _on_disk(pod: Json, paths: PodPaths) -> _OnDisk:
    """Blocking. Volumes in memory are on another file system, and count nothing."""
    uid, folder = specs.uid_of(pod), paths.log_directory(pod)
    device = _device(paths.data)
    volumes = {
        one["name"]: measure(paths.volume(uid, one["name"]), device=device)
        for one in pod["spec"].get("volumes") or ()
        if kind_of(one) == "emptyDir"
    }
    logs = {
        one["name"]: measure(folder / safe(one["name"]), device=_device(paths.logs))
        for one in specs.every_container(pod)
    }
    return _OnDisk(
        {name: size.bytes for name, size in volumes.items()},
        {name: size.bytes for name, size in logs.items()},
        sum(size.inodes for size in (*volumes.values(), *logs.values())),
    )


def measure(top: Path, *, device: int | None) -> Size:
    """What a folder takes on the file system ``device``, blocks of a linked file once."""
    size, inodes = 0, set[int]()
    waiting = [str(top)]
    while waiting:
        path = waiting.pop()
        try:
            entry = os.lstat(path)
            if entry.st_dev != device or entry.st_ino in inodes:
                continue
            inodes.add(entry.st_ino)
            size += entry.st_blocks * _BLOCK
            if stat.S_ISDIR(entry.st_mode):
                waiting += [one.path for one in os.scandir(path)]
        except OSError:
            continue
    return Size(size, len(inodes))


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
            text = file.read_text()
        except OSError:
            continue
        for uid, names in marks.items():
            counted[uid] += any(name in text for name in names)
    return counted
