"""The floor: what the bare runtime calls take in the same run, so that ratios travel."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable

from devcluster.containerd import Containerd
from edgeagent.runtime.cri import CriRuntime
from edgeagent.runtime.port import (
    ContainerConfig,
    SandboxConfig,
    SandboxSecurity,
    SeccompProfile,
)
from tests.parts import images


class Floor:
    """Bare pods: sandbox, one container, nothing stored, nothing told to anybody."""

    def __init__(self, containerd: Containerd) -> None:
        self._runtime = CriRuntime(containerd.address)

    async def create_seconds(self) -> float:
        took, sandbox = await self._timed(self._start_pod)
        await self._remove_pod(sandbox)
        return took

    async def many_seconds(self, count: int, *, at_once: int) -> float:
        turns = asyncio.Semaphore(at_once)

        async def one() -> str:
            async with turns:
                return await self._start_pod()

        started = time.monotonic()
        sandboxes = await asyncio.gather(*(one() for _ in range(count)))
        took = time.monotonic() - started
        for sandbox in sandboxes:
            await self._remove_pod(sandbox)
        return took

    async def delete_seconds(self) -> float:
        """Stop the container and its sandbox."""
        sandbox = await self._start_pod()
        found = await self._runtime.inspect_sandbox(sandbox)
        assert found is not None
        started = time.monotonic()
        await self._runtime.stop_container(found.containers[0].id, 5)
        await self._runtime.stop_sandbox(sandbox)
        took = time.monotonic() - started
        await self._runtime.remove_sandbox(sandbox)
        return took

    async def until_empty(self) -> None:
        """What the API does not know any more is still being taken apart on the device."""
        while await self._runtime.list_sandboxes():
            await asyncio.sleep(0.2)

    async def close(self) -> None:
        await self._runtime.close()

    async def _timed(self, call: Callable[[], Awaitable[str]]) -> tuple[float, str]:
        started = time.monotonic()
        result = await call()
        return time.monotonic() - started, result

    async def _start_pod(self) -> str:
        name = f"floor-{uuid.uuid4().hex[:8]}"
        config = SandboxConfig(
            *(name, "bench", name),
            attempt=0,
            hostname=name,
            log_directory="/tmp",
            # As for our pods, in which nobody asks for a profile either.
            security=SandboxSecurity(seccomp=SeccompProfile("Unconfined")),
        )
        container = ContainerConfig(
            name="main",
            attempt=0,
            image=images.BUSYBOX,
            user_image=images.BUSYBOX,
            command=("sh", "-c", "trap 'exit 0' TERM; sleep 3600 & wait"),
        )
        sandbox = await self._runtime.start_sandbox(config)
        made = await self._runtime.create_container(sandbox, config, container)
        await self._runtime.start_container(made)
        return sandbox

    async def _remove_pod(self, sandbox: str) -> None:
        await self._runtime.stop_sandbox(sandbox)
        await self._runtime.remove_sandbox(sandbox)
