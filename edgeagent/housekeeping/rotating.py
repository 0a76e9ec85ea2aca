"""Keeping the logs of running containers small: 10 MiB a file, five files a container.

Owns the names of rotated logs, which are a kubelet's: ``0.log``, beside it the one before
(``0.log.20260101-120000``) and older ones packed (``….gz``). The runtime goes on writing into the
renamed file until it is told to reopen, so no line is lost. It is told so too when a log is gone:
somebody removed it, or the agent was killed between the two steps. Only logs of containers that
run are looked at, one ``stat`` each. No link that a pod may have put there is followed. Called by
``keeping.py``.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import structlog

from edgeagent.pods.held import PodsOfDevice
from edgeagent.pods.logs import logfolders
from edgeagent.runtime.port import Container, ContainerState, Runtime
from shared.clock import Clock
from shared.errors import KubetideError
from shared.threads import Offload

log = structlog.get_logger()

MOST_BYTES = 10 * 1024 * 1024
MOST_FILES = 5
LOOK_SECONDS = 10.0
_ROTATED = re.compile(r"\.[0-9]{8}-[0-9]{6}(\.gz|\.gz\.tmp)?")


@dataclass(frozen=True, slots=True)
class Tidying:
    """What to do with the rotated files of one log before it is rotated again."""

    remove: tuple[str, ...]
    pack: tuple[str, ...]


def tidying(names: Iterable[str], log_name: str, *, most: int = MOST_FILES) -> Tidying:
    """Pure. Leaves room for the file in use and the one that is about to be put aside."""
    rotated = {one for one in names if _is_of(one, log_name)}
    broken = {one for one in rotated if one.endswith(".tmp")}
    twice = {one for one in rotated if f"{one}.gz" in rotated}
    kept = sorted(rotated - broken - twice)
    excess = kept[: max(len(kept) - (most - 2), 0)]
    pack = [one for one in kept if one not in excess and not one.endswith(".gz")]
    return Tidying(tuple(sorted({*broken, *twice, *excess})), tuple(pack))


def _is_of(name: str, log_name: str) -> bool:
    return name.startswith(log_name) and bool(_ROTATED.fullmatch(name[len(log_name) :]))


class LogRotation:
    def __init__(
        self, runtime: Runtime, *, pods: PodsOfDevice, clock: Clock, offload: Offload
    ) -> None:
        self._runtime = runtime
        self._pods = pods
        self._clock = clock
        self._offload = offload

    async def run(self) -> None:
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Rotate every log that has grown too large, have every log that is gone begun anew."""
        running = [
            one
            for pod in self._pods.held()
            for one in pod.containers(ContainerState.RUNNING)
            if one.log_path
        ]
        if not running:
            return
        sizes = await self._offload(lambda: list(map(_size, running)))
        for one, size in zip(running, sizes, strict=True):
            try:
                if size is None:
                    await self._begin_anew(one)
                elif size > MOST_BYTES:
                    await self._rotate(one)
            except (OSError, KubetideError) as error:
                words = "log not begun anew" if size is None else "log not rotated"
                log.warning(words, path=one.log_path, error=str(error))

    async def _begin_anew(self, container: Container) -> None:
        """Else the runtime would go on writing into a file that nobody can find any more.

        Its folder comes first: of CRI-O, who writes a container's log ends where there is none.
        """
        folder = Path(container.log_path).parent
        await self._offload(lambda: logfolders.make(folder, logs=folder.parent.parent))
        await self._runtime.reopen_log(container.id)
        log.info("log begun anew", path=container.log_path)

    async def _rotate(self, container: Container) -> None:
        path = Path(container.log_path)
        stamp = datetime.fromtimestamp(self._clock.now(), UTC).strftime("%Y%m%d-%H%M%S")
        aside = path.with_name(f"{path.name}.{stamp}")
        await self._offload(lambda: _put_aside(path, aside))
        try:
            await self._runtime.reopen_log(container.id)
        except KubetideError:
            await self._offload(lambda: _put_back(path, aside))
            raise
        log.info("log rotated", path=str(path))


def _size(container: Container) -> int | None:
    """Bytes of the log; None = it is gone."""
    try:
        return os.stat(container.log_path, follow_symlinks=False).st_size
    except FileNotFoundError:
        return None
    except OSError:
        return 0


def _put_aside(path: Path, aside: Path) -> None:
    if aside.exists():
        raise FileExistsError(f"{aside} is there already")
    with logfolders.opened(path.parent) as folder:
        todo = tidying(os.listdir(folder), path.name)
        for name in todo.remove:
            os.unlink(name, dir_fd=folder)
        for name in todo.pack:
            if _is_plain(name, folder):
                _pack(name, folder)
            os.unlink(name, dir_fd=folder)
        os.rename(path.name, aside.name, src_dir_fd=folder, dst_dir_fd=folder)


def _put_back(path: Path, aside: Path) -> None:
    """The runtime goes on with the old file; unless it has begun the new one after all."""
    if not path.exists():
        aside.rename(path)


def _is_plain(name: str, folder: int) -> bool:
    """A pod that may write among the logs can put a link there to what it may not read."""
    return stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


def _pack(name: str, folder: int) -> None:
    """Appears whole or not at all, with the mode of the log."""
    new = f"{name}.gz.tmp"
    with (
        _open(name, folder, os.O_RDONLY, "rb") as source,
        _open(new, folder, os.O_WRONLY | os.O_CREAT | os.O_EXCL, "wb") as target,
    ):
        with gzip.GzipFile(fileobj=target, mode="wb", compresslevel=6) as packing:
            shutil.copyfileobj(source, packing, 1 << 18)
        target.flush()
        os.fchmod(target.fileno(), stat.S_IMODE(os.fstat(source.fileno()).st_mode))
        # The original goes: after a power cut there must be one or the other.
        os.fsync(target.fileno())
    os.rename(new, f"{name}.gz", src_dir_fd=folder, dst_dir_fd=folder)


def _open(name: str, folder: int, flags: int, mode: str) -> IO[bytes]:
    """Not through a link, and without waiting for the other end of a pipe."""
    never = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return open(os.open(name, flags | never, 0o600, dir_fd=folder), mode)
