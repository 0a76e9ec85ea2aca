"""The volumes of all pods on this device: made, kept up to date, mounted, and taken away.

Owns ``<data>/pods/<uid>``. Volumes are made from the pod and the objects it names and nothing
else, so preparing twice changes nothing, and after any crash preparing again repairs. Everything
that touches a disk runs in threads, because disks can be slow and can hang: for each pod one call
after the other (``fileturns.py``).
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

from edgeagent.pods.materials.sources import Missing, Sources
from edgeagent.pods.model import specs
from edgeagent.pods.model.errors import ContentsError, MountError, PodTrouble
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.model.paths import PodPaths, is_safe
from edgeagent.pods.model.podevents import PodEvent, Record, warning
from edgeagent.pods.resources import amounts, quantities
from edgeagent.pods.volumes import (
    atomic,
    claims,
    contents,
    hostpath,
    hugepages,
    mounting,
    nested,
    persistent,
    removing,
)
from edgeagent.pods.volumes.contents import NoTokens, Origin, Tokens
from edgeagent.pods.volumes.fileturns import FileTurns, own_thread
from shared.clock import Clock
from shared.errors import PermanentError
from shared.objects import Json
from shared.threads import Offload

T = TypeVar("T")

WRITTEN = ("configMap", "secret", "downwardAPI", "projected")
"""Kinds whose files are written here and follow their objects; containers only read them."""
CLAIMS = (claims.CLAIM, claims.EPHEMERAL)
ODD = (ValueError, TypeError, AttributeError, LookupError, OverflowError)
"""What a volume, or an object that it shows, of no form that the API would let pass comes to."""
IMAGE = "image"
"""The runtime makes these, from an image that was pulled; there is no folder of them here."""
_IN_MEMORY = ("secret", "downwardAPI", "projected")
_ON_DISK_MODE, _IN_MEMORY_MODE, _HUGE_MODE = 0o777, 0o1777, 0o755
"""Of a volume's folder; in memory that of a tmpfs, of huge pages that of a hugetlbfs, as the kernel
makes them."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume that is ready to be mounted into containers."""

    name: str
    kind: str
    """Of a claim: where the PersistentVolume has its data."""
    path: str
    readonly: bool = False
    is_block: bool = False
    group: int | None = None
    """That processes of the pod need beside their own, so that they may use it."""
    is_behind: bool = False
    """The disk did not take its newest files: the pod has older ones."""


class Volumes:
    def __init__(
        self,
        paths: PodPaths,
        clock: Clock,
        *,
        tokens: Tokens | None = None,
        offload: Offload = own_thread,
    ) -> None:
        self._paths = paths
        self._clock = clock
        self._tokens = tokens or NoTokens()
        self._offload = offload
        self._turns = FileTurns(offload)
        self._claimed: dict[str, dict[str, Volume]] = {}
        """Volumes of claims by uid of the pod: where they are is not in the pod."""

    async def prepare(
        self, pod: Json, sources: Sources, node: NodeFacts, *, record: Record = lambda event: None
    ) -> dict[str, Volume]:
        """All volumes that the pod's containers use, by name. Of those that fail, the first raises
        its PodTrouble when all others are made; the others are told of."""
        await self._tokens.ready(pod)
        told: list[PodEvent] = []
        origin = Origin(pod, node, sources, self._tokens, told.append)
        try:
            made = await self.in_turn(pod, lambda: self._prepare(origin))
        finally:
            for event in told:
                record(event)
        claimed = [one["name"] for one in _volumes(pod) if kind_of(one) in CLAIMS]
        self._claimed[specs.uid_of(pod)] = {name: made[name] for name in claimed}
        return made

    def located(self, pod: Json) -> dict[str, Volume]:
        """Where the volumes of a prepared pod are; looks at nothing."""
        own = [one for one in _volumes(pod) if kind_of(one) not in CLAIMS]
        found = {one["name"]: self._located(pod, one) for one in own}
        return found | self._claimed.get(specs.uid_of(pod), {})

    async def refresh(self, pod: Json, sources: Sources, node: NodeFacts) -> tuple[str, ...]:
        """Bring written volumes in step with their objects; the names of those that changed.

        What is missing now stays as it is: a running container keeps what it has. When all others
        are done, raises the MountError of one that failed: a ContentsError only if all are.
        """
        origin = Origin(pod, node, sources, self._tokens)
        return await self.in_turn(pod, lambda: self._refresh(origin))

    async def in_turn(self, pod: Json, work: Callable[[], T]) -> T:
        """What ``work``, which uses the pod's volumes, returns or raises; it runs in a thread.

        It ends before the pod's files are removed, even if the caller is cancelled."""
        return cast(T, await self._turns.take(specs.uid_of(pod), work))

    async def remove(self, uid: str) -> None:
        """Unmount and delete all that the pod had here; idempotent.

        hostPaths and the volumes of claims stay untouched.
        """
        self._claimed.pop(uid, None)
        await self._turns.take(uid, lambda: removing.remove(self._paths.pod(uid)))

    async def orphans(self, known: Iterable[str]) -> tuple[str, ...]:
        """Uids that have a folder here but are not among the ``known`` ones; ``lost+found`` and the
        like are nobody's uid."""
        kept = set(known)
        return await self._offload(lambda: self._strangers(kept))  # type: ignore[no-any-return]

    def _strangers(self, known: set[str]) -> tuple[str, ...]:
        if not self._paths.pods.is_dir():
            return ()
        names = [name for name in os.listdir(self._paths.pods) if name not in known]
        return tuple(sorted(name for name in names if is_safe(name)))

    def _prepare(self, origin: Origin) -> dict[str, Volume]:
        make_private(self._paths.volumes(specs.uid_of(origin.pod)), below=self._paths.data)
        made: dict[str, Volume] = {}
        failed: list[PodTrouble] = []
        for volume in _volumes(origin.pod):
            try:
                made[volume["name"]] = self._make(volume, origin)
            except PodTrouble as error:
                failed.append(error)
        for trouble in failed[1:]:
            origin.record(warning(trouble.event, str(trouble)))
        if failed:
            raise failed[0]
        return made

    def _refresh(self, origin: Origin) -> tuple[str, ...]:
        changed: list[str] = []
        failed: list[MountError] = []
        for volume in _volumes(origin.pod):
            kind = kind_of(volume)
            if kind not in WRITTEN:
                continue
            folder = self._paths.volume(specs.uid_of(origin.pod), volume["name"])
            try:
                if folder.is_dir() and self._write(folder, kind, volume, origin=origin):
                    changed.append(volume["name"])
            except MountError as error:
                failed.append(error)
        if failed:
            raise min(failed, key=lambda error: isinstance(error, ContentsError))
        return tuple(changed)

    def _make(self, volume: Json, origin: Origin) -> Volume:
        name, kind = volume["name"], kind_of(volume)
        try:
            return self._made(name, kind, volume, origin=origin)
        except (*ODD, Missing, PermanentError) as error:
            raise MountError(name, str(error)) from error
        except OSError as error:
            raise MountError(name, f"{error.strerror or error}") from error

    def _located(self, pod: Json, volume: Json) -> Volume:
        name, kind = volume["name"], kind_of(volume)
        if kind == "hostPath":
            return Volume(name, kind, str(volume[kind].get("path")))
        if kind == IMAGE:
            return Volume(name, kind, "", readonly=True)
        folder = self._paths.volume(specs.uid_of(pod), name)
        return Volume(name, kind, str(folder), readonly=kind in WRITTEN)

    def _made(self, name: str, kind: str, volume: Json, *, origin: Origin) -> Volume:
        if kind == "hostPath":
            return Volume(name, kind, hostpath.prepare(volume[kind]))
        if kind == IMAGE:
            return Volume(name, kind, "", readonly=True)
        folder = self._paths.volume(specs.uid_of(origin.pod), name)
        if kind in CLAIMS:
            return self._claim(volume, folder, origin)
        if kind == "emptyDir":
            _empty_dir(folder, volume.get(kind) or {}, origin)
            return Volume(name, kind, str(folder))
        if kind not in WRITTEN:
            raise ValueError(f"volumes of kind {kind} are not supported on this node")
        _written_dir(folder, in_memory=kind in _IN_MEMORY, group=_group(origin.pod))
        is_behind = False
        try:
            self._write(folder, kind, volume, origin=origin)
        except MountError as error:
            # A pod that ran with its files does not lose them because an object is gone.
            if not atomic.is_written(folder):
                raise
            is_behind = not isinstance(error, ContentsError)
        return Volume(name, kind, str(folder), readonly=True, is_behind=is_behind)

    def _claim(self, volume: Json, link: Path, origin: Origin) -> Volume:
        name, readonly = volume["name"], bool(volume[kind_of(volume)].get("readOnly"))
        is_block, group = claims.is_block(name, origin.pod), claims.group_of(volume, origin)
        try:
            place = claims.place_of(volume, origin)
        except PodTrouble:
            # A pod that had its volume does not lose it because an object is gone.
            if not (path := persistent.remembered(link)):
                raise
            return Volume(name, "hostPath", path, readonly, is_block, group)
        owning = None if readonly else _owning(origin.pod)
        path = persistent.take(place, link, paths=self._paths, owning=owning, record=origin.record)
        return Volume(name, place.source, path, readonly, is_block, group)

    def _write(self, folder: Path, kind: str, volume: Json, *, origin: Origin) -> bool:
        try:
            files, group = contents.files_of(kind, volume[kind], origin), _group(origin.pod)
            points = nested.points(origin.pod, volume["name"], shown=files)
            nested.make(folder, points, group=group)
            return atomic.write(folder, files, now=self._clock.now(), group=group)
        except (*ODD, Missing) as error:
            raise ContentsError(volume["name"], str(error)) from error
        except OSError as error:
            raise MountError(volume["name"], error.strerror or str(error)) from error


def _volumes(pod: Json) -> list[Json]:
    """Those that a container uses: of others nothing is made, and nothing has to be there."""
    used = specs.used_volumes(pod)
    return [one for one in pod["spec"].get("volumes") or () if one["name"] in used]


def kind_of(volume: Json) -> str:
    """The one field beside the name; a volume that says nothing is an emptyDir."""
    return next(
        (field for field, value in volume.items() if field != "name" and value is not None),
        "emptyDir",
    )


def make_private(folder: Path, *, below: Path) -> None:
    """Folders of the agent's own, closed to other users whatever the umask; mounts open them."""
    folder.mkdir(parents=True, exist_ok=True)
    while folder != below:
        folder.chmod(0o700)
        folder = folder.parent


def _group(pod: Json) -> int | None:
    group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
    return None if group is None else int(group)


def _owning(pod: Json) -> persistent.Owning | None:
    group, context = _group(pod), pod["spec"].get("securityContext") or {}
    policy = context.get("fsGroupChangePolicy")
    return None if group is None else persistent.Owning(group, policy == "OnRootMismatch")


def _written_dir(folder: Path, *, in_memory: bool, group: int | None) -> None:
    """Secrets stay off the disk where this process can mount; else in a closed folder on it."""
    folder.mkdir(exist_ok=True)
    if in_memory and mounting.may_mount() and not mounting.is_mounted(folder):
        mounting.tmpfs(folder, mode=_IN_MEMORY_MODE)
    if group is not None:
        os.chown(folder, -1, group)
    mode = _IN_MEMORY_MODE if in_memory else _ON_DISK_MODE
    folder.chmod(mode if group is None else mode | stat.S_ISGID)


def _empty_dir(folder: Path, source: Json, origin: Origin) -> None:
    """Empty when it is made; kept with what is in it for as long as the pod is here."""
    group, mode = _group(origin.pod), _empty_dir_mode(source)
    if group is not None:
        mode = _usual_mode(source) | 0o070 | stat.S_ISGID
    medium = source.get("medium") or ""
    if not medium:
        if not folder.is_dir():
            _whole(folder, mode, group)
        return
    if not mounting.may_mount():
        raise ValueError("an emptyDir in memory needs an agent that runs as root")
    folder.mkdir(exist_ok=True)
    if mounting.is_mounted(folder):
        return
    if medium == "Memory":
        size = memory_size(source, origin.pod, origin.node)
        mounting.tmpfs(folder, mode=mode, size=size, group=group)
    elif hugepages.is_medium(medium):
        _huge(folder, source, origin.pod, mode=mode, group=group)
    else:
        raise ValueError(f"emptyDir medium {medium:.40} is not supported on this node")


def _huge(folder: Path, source: Json, pod: Json, *, mode: int, group: int | None) -> None:
    """A limit is kept to in whole pages; without one the pod's cgroup has one."""
    written = hugepages.page_size(source["medium"], pod)
    page = quantities.whole(quantities.parse(written))
    pages = math.ceil(quantities.parse(source.get("sizeLimit") or 0) / page)
    try:
        mounting.hugetlbfs(folder, mode=mode, page_size=page, size=pages * page, group=group)
    except OSError as error:
        words = f"the kernel has no huge pages of {written}: {error.strerror}"
        raise ValueError(words) from error


def _empty_dir_mode(source: Json) -> int:
    mode = source.get("mode")
    if mode is not None and not 0 <= mode <= 0o1777:
        raise ValueError(f"{mode:o} is not a mode of an emptyDir")
    return _usual_mode(source) if mode is None else int(mode)


def _usual_mode(source: Json) -> int:
    medium = source.get("medium") or ""
    if hugepages.is_medium(medium):
        return _HUGE_MODE
    return _IN_MEMORY_MODE if medium == "Memory" else _ON_DISK_MODE


def _whole(folder: Path, mode: int, group: int | None) -> None:
    """Appears with its final owner and mode or not at all; later both belong to the pod."""
    new = folder.with_name(f".{folder.name}.new")
    new.mkdir(exist_ok=True)
    if group is not None:
        os.chown(new, -1, group)
    new.chmod(mode)
    new.rename(folder)


def memory_size(source: Json, pod: Json, node: NodeFacts) -> int:
    """The smallest of sizeLimit, the pod's memory limit and what the node can give; 0 = none."""
    limit = quantities.whole(quantities.parse(source.get("sizeLimit") or 0))
    whole_node = quantities.whole(node.allocatable.get("memory", quantities.parse(0)))
    whole_pod = quantities.whole(amounts.whole_limit(pod, "memory"))
    known = [size for size in (limit, whole_pod, whole_node) if size > 0]
    return min(known, default=0)
