"""Host processes as containers, WITHOUT ANY ISOLATION: for trying things where no runtime is.

Owns the translation of the port to plain processes. What there is not is said here, once:

* no image: every name counts as present, and a container must say its ``command``;
* no network of its own: a pod's address is the host's, and ports need no mapping;
* no mounts: a container finds the host folder of its mount on ``/etc/app`` in the variable
  ``KUBETIDE_MOUNT_ETC_APP``, and nothing keeps it from writing there;
* no limits, capabilities or masks; ``runAsUser`` and groups are kept when the agent is root.

Processes outlive the agent (``process_shim.py``) and are found again (``process_state.py``).
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from edgeagent.runtime import process_shim
from edgeagent.runtime.abilities import RuntimeInfo
from edgeagent.runtime.limits import Resources
from edgeagent.runtime.looking import Looks, changes, looks
from edgeagent.runtime.port import (
    Change,
    Container,
    ContainerConfig,
    ContainerSecurity,
    ContainerState,
    ExecResult,
    Image,
    ImageAuth,
    InvalidImageName,
    Sandbox,
    SandboxConfig,
    SandboxState,
)
from edgeagent.runtime.process_state import ProcessFiles, make_id
from edgeagent.runtime.process_stats import container_stats
from edgeagent.runtime.usage import ContainerStats, FilesystemUsage
from shared.clock import Clock
from shared.errors import PermanentError, TemporaryError

log = structlog.get_logger()

_LOOK_SECONDS = 0.5
_END_SECONDS = 5.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_IMAGE_NAME = re.compile(r"[a-z0-9][a-z0-9._/:@-]*(:[A-Za-z0-9._-]+)?")
_NO_COMMAND = (
    "the process runtime has no images to take a command from: give the container a command,"
    " or run the agent with a container runtime (--runtime cri:unix:///run/containerd/...)"
)


class ProcessRuntime:
    """The port over host processes, with its records under ``root``."""

    def __init__(self, root: Path, *, clock: Clock) -> None:
        self._files = ProcessFiles(root)
        self._root = root
        self._clock = clock
        log.warning("containers run as plain host processes, without any isolation")

    async def info(self) -> RuntimeInfo:
        return RuntimeInfo("process", "1")

    async def network_ready(self) -> tuple[bool, str]:
        return True, ""

    async def list_sandboxes(self) -> list[Sandbox]:
        return list(self._files.sandboxes())

    async def inspect_sandbox(self, sandbox_id: str, *, new: bool = False) -> Sandbox | None:
        found = self._files.sandbox(sandbox_id)
        return replace(found, containers=()) if found and new else found

    async def inspect_container(self, container_id: str, sandbox_id: str) -> Container | None:
        found = self._files.container(container_id)
        return found if found and found.sandbox_id == sandbox_id else None

    async def start_sandbox(self, config: SandboxConfig) -> str:
        sandbox = Sandbox(
            id=make_id(config.uid, config.attempt),
            name=config.name,
            namespace=config.namespace,
            uid=config.uid,
            attempt=config.attempt,
            state=SandboxState.READY,
            created_at=self._nanoseconds(),
            ips=() if config.security.host_network else (_host_address(),),
            labels=dict(config.labels),
            annotations=dict(config.annotations),
        )
        if not self._files.add_sandbox(sandbox):
            raise TemporaryError(f"the sandbox name {config.name}_{config.attempt} is taken")
        return sandbox.id

    async def stop_sandbox(self, sandbox_id: str) -> None:
        sandbox = self._files.sandbox(sandbox_id)
        if sandbox is None:
            return
        await asyncio.gather(*(self.stop_container(one.id, 0) for one in sandbox.containers))
        self._files.stop_sandbox(sandbox)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        await self.stop_sandbox(sandbox_id)
        self._files.remove_sandbox(sandbox_id)

    async def create_container(
        self, sandbox_id: str, sandbox: SandboxConfig, config: ContainerConfig
    ) -> str:
        if not config.command:
            raise PermanentError(_NO_COMMAND)
        self._need_ready(sandbox_id)
        container = Container(
            stop_signal=config.stop_signal,
            id=make_id(sandbox_id, config.name, config.attempt),
            sandbox_id=sandbox_id,
            name=config.name,
            attempt=config.attempt,
            state=ContainerState.CREATED,
            image=config.user_image or config.image,
            image_ref=config.image,
            created_at=self._nanoseconds(),
            log_path=f"{sandbox.log_directory}/{config.log_path}" if config.log_path else "",
            labels=dict(config.labels),
            annotations=dict(config.annotations),
        )
        scratch = self._root / sandbox_id / container.id / "scratch"
        if not self._files.add_container(container, _spec(config, container.log_path, scratch)):
            raise TemporaryError(f"the container name {config.name}_{config.attempt} is taken")
        return container.id

    async def start_container(self, container_id: str) -> None:
        container = self._need(container_id)
        self._need_ready(container.sandbox_id)
        if container.state is not ContainerState.CREATED:
            raise TemporaryError(f"{container.name} is {container.state.value}, not created")
        folder = self._root / container.sandbox_id / container_id
        shim = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", process_shim.__file__, str(folder)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, problem = await shim.communicate()
        if shim.returncode != 0:
            raise TemporaryError(problem.decode(errors="replace").strip())

    async def stop_container(self, container_id: str, grace_seconds: float) -> None:
        if grace_seconds > 0:
            self._signal(container_id, self._stop_signal(container_id))
            if await self._ends_within(container_id, grace_seconds):
                return
        self._signal(container_id, signal.SIGKILL)
        if not await self._ends_within(container_id, _END_SECONDS):
            raise TemporaryError(f"the process of {container_id} survives SIGKILL")

    async def remove_container(self, container_id: str) -> None:
        await self.stop_container(container_id, 0)
        self._files.remove_container(container_id)

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        """There are no limits to change; a container that is not there is still an error."""
        self._need(container_id)

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout: float
    ) -> ExecResult:
        if self._files.running(container_id) is None:
            raise TemporaryError(f"{container_id} does not run")
        if not command:
            raise TemporaryError("there is no command to run")
        spec = self._files.spec(container_id)
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=spec["working_dir"],
                env=spec["env"],
                user=spec["user"],
                group=spec["group"],
                extra_groups=spec["extra_groups"],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise TemporaryError(f"cannot run {command[0]!r}: {error}") from error
        return await _result(process, timeout)

    async def reopen_log(self, container_id: str) -> None:
        """The shim sees that its file was moved when it next writes; the new one is there now."""
        self._files.touch_log(self._need(container_id))

    async def pull_image(self, image: str, auth: ImageAuth | None = None) -> str:
        if not _IMAGE_NAME.fullmatch(image):
            raise InvalidImageName(f"{image!r} is not an image name")
        return image

    async def image_status(self, image: str) -> Image | None:
        return Image(await self.pull_image(image), tags=(image,))

    async def list_images(self) -> list[Image]:
        sandboxes = self._files.sandboxes()
        names = {one.image_ref for sandbox in sandboxes for one in sandbox.containers}
        return [Image(name, tags=(name,)) for name in sorted(names)]

    async def remove_image(self, image: str) -> None:
        """There is nothing to remove."""

    async def image_filesystem(self) -> FilesystemUsage | None:
        usage = shutil.disk_usage(self._root.parent)
        return FilesystemUsage(str(self._root.parent), used_bytes=usage.used)

    async def stats(self) -> list[ContainerStats]:
        containers = [one for pod in self._files.sandboxes() for one in pod.containers]
        running = [(one, self._files.running(one.id)) for one in containers]
        return container_stats([(one, process.pid) for one, process in running if process])

    async def events(self) -> AsyncIterator[Change]:
        seen: Looks = {}
        while True:
            listed = list(self._files.sandboxes())
            for change in changes(seen, listed):
                yield change
            seen = looks(listed)
            await self._clock.sleep(_LOOK_SECONDS)

    async def close(self) -> None:
        """Processes go on; there is nothing to let go of."""

    def _need(self, container_id: str) -> Container:
        container = self._files.container(container_id)
        if container is None:
            raise TemporaryError(f"the container {container_id} is not there")
        return container

    def _need_ready(self, sandbox_id: str) -> None:
        sandbox = self._files.sandbox(sandbox_id)
        if sandbox is None or sandbox.state is not SandboxState.READY:
            raise TemporaryError(f"the sandbox {sandbox_id} is not ready")

    def _signal(self, container_id: str, number: int) -> None:
        if running := self._files.running(container_id):
            running.signal(number)

    def _stop_signal(self, container_id: str) -> int:
        name = str(self._files.spec(container_id).get("stop_signal") or "SIGTERM")
        return signal.Signals[name].value if name in signal.Signals.__members__ else signal.SIGTERM

    async def _ends_within(self, container_id: str, seconds: float) -> bool:
        deadline = self._clock.monotonic() + seconds
        pause = 0.01
        while self._files.running(container_id) is not None:
            if self._clock.monotonic() >= deadline:
                return False
            await self._clock.sleep(pause)
            pause = min(2 * pause, 0.1)
        return True

    def _nanoseconds(self) -> int:
        return int(self._clock.now() * 1e9)


def mount_variable(container_path: str) -> str:
    """``/etc/app`` → ``KUBETIDE_MOUNT_ETC_APP``."""
    return "KUBETIDE_MOUNT_" + re.sub(r"[^A-Za-z0-9]+", "_", container_path.strip("/")).upper()


def _spec(config: ContainerConfig, log_path: str, scratch: Path) -> dict[str, Any]:
    mounts = {mount_variable(mount.container_path): mount.host_path for mount in config.mounts}
    mounts |= {mount_variable(device.container_path): device.host_path for device in config.devices}
    return {
        "command": [*config.command, *config.args],
        "env": {"PATH": _PATH, **mounts, **dict(config.env)},
        "working_dir": config.working_dir or str(scratch),
        "log": log_path or os.devnull,
        "stop_signal": config.stop_signal,
        **_identity(config.security),
    }


def _identity(security: ContainerSecurity) -> dict[str, Any]:
    """Only root can become somebody else; saying so beats running as the wrong user."""
    user, groups = security.run_as_user, list(security.supplemental_groups)
    if os.geteuid() != 0:
        if user not in (None, os.geteuid()):
            raise PermanentError(f"the agent is not root, it cannot run a process as user {user}")
        return {"user": None, "group": None, "extra_groups": None}
    if user is None:
        return {"user": None, "group": None, "extra_groups": groups or None}
    return {"user": user, "group": security.run_as_group or 0, "extra_groups": groups}


def _host_address() -> str:
    """The address the host reaches others from; connecting a datagram socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


async def _result(process: asyncio.subprocess.Process, timeout: float) -> ExecResult:
    try:
        async with asyncio.timeout(timeout):
            stdout, stderr = await process.communicate()
    except TimeoutError:
        raise TimeoutError(f"the command took longer than {timeout} s") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    code = process.returncode or 0
    return ExecResult(code if code >= 0 else 128 - code, stdout, stderr)
