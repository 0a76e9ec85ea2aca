"""What the process runtime knows, as files: pods, containers, and which processes still live.

Owns one folder per sandbox, with ``sandbox.json`` and one folder per container in it
(``container.json`` from the agent; ``process_shim.py`` writes the others). Nothing is kept in
memory, so an agent that starts again sees what the one before it saw. A process is only ever
signalled through a handle taken before its start time was compared: a reused pid is a stranger.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgeagent.runtime.looking import newest_first
from edgeagent.runtime.port import Container, ContainerState, Sandbox, SandboxState
from edgeagent.runtime.process_shim import start_time, write_record

SANDBOX, CONTAINER = "sandbox.json", "container.json"
"""Records of which each is the last that is written into a new folder."""
LOST = 255
"""The exit code of a process whose end nobody saw: a reboot, or its shim was killed too."""
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Running:
    """A container's process and its shim, as ``started.json`` has them."""

    pid: int
    pid_start: int
    shim: int
    shim_start: int
    started_at: int

    @property
    def process_lives(self) -> bool:
        return start_time(self.pid) == self.pid_start > 0

    @property
    def shim_lives(self) -> bool:
        return start_time(self.shim) == self.shim_start > 0

    def signal(self, number: int) -> None:
        _signal(self.pid, self.pid_start, number)


class ProcessFiles:
    """The records under one folder. Records of an earlier boot are of processes long gone."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        for folder in root.glob("*/"):
            if _ID.fullmatch(folder.name):
                _is_whole(folder, SANDBOX)  # Else nobody lists it, and its pod may never come back.

    def add_sandbox(self, sandbox: Sandbox) -> bool:
        """False when there is one with its id already."""
        folder = self._root / sandbox.id
        if _is_whole(folder, SANDBOX):
            return False
        folder.mkdir(parents=True, mode=0o700)
        self._write_sandbox(sandbox)
        return True

    def stop_sandbox(self, sandbox: Sandbox) -> None:
        self._write_sandbox(replace(sandbox, state=SandboxState.NOT_READY))

    def add_container(self, container: Container, spec: dict[str, Any]) -> bool:
        folder = self._root / container.sandbox_id / container.id
        if _is_whole(folder, CONTAINER):
            return False
        (folder / "scratch").mkdir(parents=True)
        write_record(folder / "spec.json", spec)
        record = {**asdict(container), "state": container.state.value, "boot": self._boot}
        write_record(folder / CONTAINER, record)
        return True

    def sandboxes(self) -> Iterator[Sandbox]:
        for path in sorted(self._root.glob(f"*/{SANDBOX}")):
            if sandbox := self.sandbox(path.parent.name):
                yield sandbox

    def sandbox(self, sandbox_id: str) -> Sandbox | None:
        record = self._record(sandbox_id, SANDBOX)
        if record is None:
            return None
        stopped = record.pop("boot") != self._boot
        record["state"] = SandboxState(record["state"])
        found = (path.parent for path in (self._root / sandbox_id).glob(f"*/{CONTAINER}"))
        containers = [one for one in (self._container(folder) for folder in found) if one]
        sandbox = Sandbox(**{**record, "ips": tuple(record["ips"]), "containers": ()})
        if stopped:
            sandbox = replace(sandbox, state=SandboxState.NOT_READY)
        return replace(sandbox, containers=newest_first(containers))

    def container(self, container_id: str) -> Container | None:
        folder = self.folder(container_id)
        return self._container(folder) if folder else None

    def folder(self, container_id: str) -> Path | None:
        if not _ID.fullmatch(container_id):
            return None
        return next(self._root.glob(f"*/{container_id}"), None)

    def spec(self, container_id: str) -> dict[str, Any]:
        folder = self.folder(container_id)
        return (_read(folder / "spec.json") if folder else None) or {}

    def running(self, container_id: str) -> Running | None:
        """Where its process is; None when it was not started, or is known to have ended."""
        folder = self.folder(container_id)
        return self._running(folder) if folder else None

    def touch_log(self, container: Container) -> None:
        if container.log_path:
            Path(container.log_path).touch()

    def remove_container(self, container_id: str) -> None:
        if folder := self.folder(container_id):
            shutil.rmtree(folder)

    def remove_sandbox(self, sandbox_id: str) -> None:
        if _ID.fullmatch(sandbox_id):
            shutil.rmtree(self._root / sandbox_id, ignore_errors=True)

    def _write_sandbox(self, sandbox: Sandbox) -> None:
        record = asdict(replace(sandbox, containers=()))
        record = {**record, "state": sandbox.state.value, "boot": self._boot}
        write_record(self._root / sandbox.id / SANDBOX, record)

    def _record(self, sandbox_id: str, name: str) -> dict[str, Any] | None:
        return _read(self._root / sandbox_id / name) if _ID.fullmatch(sandbox_id) else None

    def _container(self, folder: Path) -> Container | None:
        record = _read(folder / CONTAINER)
        if record is None:
            return None
        same_boot = record.pop("boot") == self._boot
        container = Container(**{**record, "state": ContainerState.CREATED})
        started = _read(folder / "started.json")
        lives = same_boot and started is not None and _lives(Running(**started))
        if started:
            container = replace(
                container, state=ContainerState.RUNNING, started_at=started["started_at"]
            )
        # Read after the look at the processes: the shim writes it before it ends.
        if ended := _read(folder / "exit.json"):
            return replace(container, state=ContainerState.EXITED, **ended)
        return _lost(container) if started and not lives else container

    def _running(self, folder: Path) -> Running | None:
        container, started = self._container(folder), _read(folder / "started.json")
        if container is None or container.state is not ContainerState.RUNNING or started is None:
            return None
        return Running(**started)


def make_id(*parts: object) -> str:
    """Names from the API server are not path names, their digest is."""
    joined = "\0".join(map(str, parts))
    return hashlib.blake2b(joined.encode(), digest_size=16).hexdigest()


def _is_whole(folder: Path, record: str) -> bool:
    """Without its record nothing ran in it: a crash or a full disk has cut its making short, and
    it goes, or its name would be taken for ever."""
    if (folder / record).exists():
        return True
    shutil.rmtree(folder, ignore_errors=True)
    return False


def _lives(running: Running) -> bool:
    """A dead process whose shim lives is about to get its exit code written."""
    return running.process_lives or running.shim_lives


def _lost(container: Container) -> Container:
    return replace(
        container,
        state=ContainerState.EXITED,
        exit_code=LOST,
        finished_at=container.started_at,
        reason="Unknown",
        message="its end was not seen",
    )


def _signal(pid: int, started: int, number: int) -> None:
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            if start_time(pid) == started:
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None
