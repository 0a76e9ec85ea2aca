"""PersistentVolumes on this device: checked, given to the pod's group, remembered for the pod.

A pod remembers its volume as a link in its own folder, made when all else is done: who has one
was set up before, keeps its volume whatever becomes of the claim, and is not set up again, not
even after a reboot. What is behind the link is never removed. Blocking; called by ``making.py``.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from edgeagent.pods.model.errors import MountError
from edgeagent.pods.model.paths import PodPaths
from edgeagent.pods.model.podevents import Record, warning
from edgeagent.pods.volumes import hostpath, ownership
from edgeagent.pods.volumes.claims import LOCAL, Place

TURN_SECONDS = 5.0

_taking: dict[str, threading.Lock] = {}
"""By path: who looks whether a volume is in use also takes it, before anybody else looks."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Owning:
    """What a pod's security context says about the files of its volumes."""

    group: int
    only_if_root_differs: bool = False
    """fsGroupChangePolicy OnRootMismatch."""


def remembered(link: Path) -> str:
    """Where the pod's volume is; empty for a pod that has not got it yet."""
    return os.readlink(link) if link.is_symlink() else ""


def take(
    place: Place, link: Path, *, paths: PodPaths, owning: Owning | None, record: Record
) -> str:
    """The path for the pod's containers; ``link`` is the pod's. Raises MountError."""
    path = _checked(place)
    if remembered(link) == path:
        return path
    with _turn(path, place):
        is_used = _is_used(path, paths, apart_from=link.parent)
        if place.for_one_pod and is_used:
            raise MountError(
                place.volume,
                "volume uses the ReadWriteOncePod access mode and is already in use by another pod",
            )
        # As on a kubelet, a hostPath keeps its owners: others use it too.
        if owning is not None and place.source == LOCAL and not place.is_block:
            if is_used:
                _tell_apart(place, Path(path), owning, record)
            else:
                _give(place, Path(path), owning)
        _remember(link, path)
    return path


@contextmanager
def _turn(path: str, place: Place) -> Iterator[None]:
    """Who waits for one that takes hours for its files must not hold a thread as long."""
    lock = _taking.setdefault(path, threading.Lock())
    if not lock.acquire(timeout=TURN_SECONDS):
        raise MountError(place.volume, "another pod is just being given this volume")
    try:
        yield
    finally:
        lock.release()


def _checked(place: Place) -> str:
    try:
        if place.source != LOCAL:
            return hostpath.prepare({"path": place.path, "type": place.type})
        return _local(place)
    except ValueError as error:
        raise MountError(place.volume, str(error)) from error
    except OSError as error:
        raise MountError(place.volume, error.strerror or str(error)) from error


def _local(place: Place) -> str:
    path = hostpath.prepare({"path": place.path})
    if not os.path.exists(path):
        step = "MountVolume.NewMounter initialization failed"
        raise MountError(place.volume, f'path "{path}" does not exist', step=step)
    mode = os.stat(path).st_mode
    if place.is_block:
        if not stat.S_ISBLK(mode):
            raise ValueError(f"{path} is not a block device")
        # A runtime does not look through links for a device.
        return os.path.realpath(path)
    if not stat.S_ISDIR(mode):
        raise ValueError(f"only directories are mounted on edge nodes, and {path} is none")
    return path


def _tell_apart(place: Place, folder: Path, owning: Owning, record: Record) -> None:
    """Files that another pod is at work on keep the group that the first one gave them."""
    group = folder.stat().st_gid
    if group != owning.group:
        words = (
            f"The requested fsGroup is {owning.group}, but the volume {place.volume} has GID"
            f" {group}. The volume may not be shareable."
        )
        record(warning("AlreadyMountedVolume", words))


def _give(place: Place, folder: Path, owning: Owning) -> None:
    if owning.only_if_root_differs and ownership.fits(folder, owning.group):
        return
    try:
        if refusal := ownership.give(folder, owning.group):
            log.warning("files keep their group", path=str(folder), error=refusal)
    except OSError as error:
        words = f"applyFSGroup failed for vol {place.volume}: {error}"
        raise MountError(place.volume, words) from error


def _is_used(path: str, paths: PodPaths, *, apart_from: Path) -> bool:
    """Until all that a pod has here is removed, its volumes are in use."""
    links = (link for link in paths.pods.glob("*/volumes/*") if link.parent != apart_from)
    return any(remembered(link) == path for link in links)


def _remember(link: Path, path: str) -> None:
    new = link.with_name(f".{link.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(path)
    new.rename(link)
