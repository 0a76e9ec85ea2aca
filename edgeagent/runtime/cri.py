"""containerd and CRI-O through the Kubernetes Container Runtime Interface: the real runtime.

Owns the calls and nothing else: what is sent and read is translated in ``cri_requests`` and
``cri_answers``, errors in ``cri_errors``, waiting for changes is ``cri_events``, and what may keep
a sandbox from being stopped for ever is mended in ``cni_results``. Importing this
module loads protobuf and HTTP/2 (7 MB), so ``runtime/opening.py`` does it only when chosen.
Works with containerd from 1.6 on and with CRI-O.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import structlog

from edgeagent.runtime import cni_results, cri_answers, cri_requests
from edgeagent.runtime.abilities import RuntimeInfo
from edgeagent.runtime.cri_channel import (
    CHANGE_SECONDS,
    FLUSH_SECONDS,
    PULL_SECONDS,
    QUERY_SECONDS,
    SANDBOX_SECONDS,
    STOP_SLACK_SECONDS,
    CriChannel,
)
from edgeagent.runtime.cri_errors import (
    NotThere,
    TookTooLong,
    sayable,
    translated,
    translated_look_up,
    translated_pull,
    translated_start,
)
from edgeagent.runtime.cri_events import CriEvents
from edgeagent.runtime.cri_messages import cri
from edgeagent.runtime.flushing import flush_filesystem
from edgeagent.runtime.limits import Resources
from edgeagent.runtime.masking import masked_paths
from edgeagent.runtime.port import (
    Change,
    Container,
    ContainerConfig,
    ExecResult,
    Image,
    ImageAuth,
    RuntimeAway,
    Sandbox,
    SandboxConfig,
)
from edgeagent.runtime.usage import ContainerStats, FilesystemUsage
from shared.errors import KubetideError, PermanentError, TemporaryError

log = structlog.get_logger()

LONGEST_GRACE = 90_000_000
"""Seconds; more has no room in the deadline of a gRPC call."""
_CUT_OFF = b"command timed out"
"""What CRI-O answers instead of an error, with an exit code that no command has."""
_LATE_SECONDS = 10.0
"""A time-out that is told so much later is a runtime that hung, and says nothing of the command."""


class CriRuntime:
    """The port over a unix socket (``unix:///run/containerd/containerd.sock``)."""

    def __init__(self, address: str, *, flush: Callable[[str], None] = flush_filesystem) -> None:
        """``flush`` brings the file system of a folder to the disk."""
        self._flush = flush
        self._channel = CriChannel(address)
        self._runtime = self._channel.runtime
        self._images = self._channel.images
        self._events = CriEvents(self._channel, self.list_sandboxes)
        self._driver: str | None = None

    async def info(self) -> RuntimeInfo:
        version = await self._query(self._runtime.Version, cri.VersionRequest())
        status = await self._query(self._runtime.Status, cri.StatusRequest(verbose=True))
        if self._driver is None:
            self._driver = await self._cgroup_driver()
        return cri_answers.runtime_info(
            version, status, driver=self._driver, has_events=self._events.pushed
        )

    async def network_ready(self) -> tuple[bool, str]:
        return cri_answers.network_ready(
            await self._query(self._runtime.Status, cri.StatusRequest())
        )

    async def list_sandboxes(self) -> list[Sandbox]:
        """Containers first: one made between the two lists then has its sandbox in the second."""
        containers = await self._query(self._runtime.ListContainers, cri.ListContainersRequest())
        sandboxes = await self._query(self._runtime.ListPodSandbox, cri.ListPodSandboxRequest())
        return cri_answers.listed(sandboxes.items, containers.containers)

    async def inspect_sandbox(self, sandbox_id: str, *, new: bool = False) -> Sandbox | None:
        request = cri.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id)
        try:
            answer = await self._query(self._runtime.PodSandboxStatus, request)
        except NotThere:
            return None
        inside = [] if new else await self._containers_of(sandbox_id)
        return cri_answers.inspected(answer.status, inside)

    async def inspect_container(self, container_id: str, sandbox_id: str) -> Container | None:
        request = cri.ContainerStatusRequest(container_id=container_id)
        try:
            answer = await self._query(self._runtime.ContainerStatus, request)
        except NotThere:
            return None
        return cri_answers.container(answer.status, sandbox_id)

    async def _containers_of(self, sandbox_id: str) -> list[Container]:
        only_its = cri.ContainerFilter(pod_sandbox_id=sandbox_id)
        request = cri.ListContainersRequest(filter=only_its)
        answer = await self._query(self._runtime.ListContainers, request)
        looked_up = await asyncio.gather(
            *(self.inspect_container(one.id, sandbox_id) for one in answer.containers)
        )
        return [one for one in looked_up if one]

    async def start_sandbox(self, config: SandboxConfig) -> str:
        with sayable("sandbox"):
            request = cri.RunPodSandboxRequest(
                config=cri_requests.sandbox_config(config), runtime_handler=config.runtime_handler
            )
        with translated_start("start sandbox"):
            answer = await self._runtime.RunPodSandbox(request, timeout=SANDBOX_SECONDS)
        return str(answer.pod_sandbox_id)

    async def stop_sandbox(self, sandbox_id: str) -> None:
        """CRI-O would give what runs in it, or has not begun, as long as the call may take."""
        only_its = cri.ContainerFilter(pod_sandbox_id=sandbox_id)
        request = cri.ListContainersRequest(filter=only_its)
        found = await self._query(self._runtime.ListContainers, request)
        alive = [one.id for one in found.containers if one.state != cri.CONTAINER_EXITED]
        await asyncio.gather(*(self.stop_container(one, 0) for one in alive))
        request = cri.StopPodSandboxRequest(pod_sandbox_id=sandbox_id)
        await self._unplug(self._runtime.StopPodSandbox, request, "stop sandbox")

    async def remove_sandbox(self, sandbox_id: str) -> None:
        request = cri.RemovePodSandboxRequest(pod_sandbox_id=sandbox_id)
        await self._unplug(self._runtime.RemovePodSandbox, request, "remove sandbox")

    async def create_container(
        self, sandbox_id: str, sandbox: SandboxConfig, config: ContainerConfig
    ) -> str:
        with sayable("container"):
            request = cri.CreateContainerRequest(
                pod_sandbox_id=sandbox_id,
                config=cri_requests.container_config(
                    config, sandbox.security, masked=masked_paths()
                ),
                sandbox_config=cri_requests.sandbox_config(sandbox),
            )
        with translated_start("create container"):
            answer = await self._runtime.CreateContainer(request, timeout=CHANGE_SECONDS)
        return str(answer.container_id)

    async def start_container(self, container_id: str) -> None:
        request = cri.StartContainerRequest(container_id=container_id)
        with translated_start("start container"):
            await self._runtime.StartContainer(request, timeout=CHANGE_SECONDS)

    async def stop_container(self, container_id: str, grace_seconds: float) -> None:
        grace = cri_requests.whole_seconds(grace_seconds)
        request = cri.StopContainerRequest(container_id=container_id, timeout=grace)
        await self._end(
            self._runtime.StopContainer,
            request,
            "stop container",
            seconds=min(grace, LONGEST_GRACE) + STOP_SLACK_SECONDS,
        )

    async def remove_container(self, container_id: str) -> None:
        """CRI-O would give one that runs, or has not begun, as long as the call may take."""
        await self.stop_container(container_id, 0)
        request = cri.RemoveContainerRequest(container_id=container_id)
        await self._end(self._runtime.RemoveContainer, request, "remove container")

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        with sayable("limit"):
            request = cri.UpdateContainerResourcesRequest(
                container_id=container_id, linux=cri_requests.resources(resources)
            )
        with translated("update resources"):
            await self._runtime.UpdateContainerResources(request, timeout=CHANGE_SECONDS)

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout: float
    ) -> ExecResult:
        seconds = max(1, cri_requests.whole_seconds(timeout))
        request = cri.ExecSyncRequest(container_id=container_id, cmd=command, timeout=seconds)
        cut_off = TimeoutError(f"the command took longer than {seconds} s")
        began = asyncio.get_running_loop().time()
        try:
            with translated("exec"):
                answer = await self._runtime.ExecSync(request, timeout=seconds + QUERY_SECONDS)
        except TookTooLong as error:
            if asyncio.get_running_loop().time() - began > seconds + _LATE_SECONDS:
                raise RuntimeAway(f"the container runtime did not keep time: {error}") from error
            raise cut_off from error
        if answer.exit_code == -1 and answer.stderr == _CUT_OFF:
            raise cut_off
        return ExecResult(answer.exit_code, answer.stdout, answer.stderr)

    async def reopen_log(self, container_id: str) -> None:
        request = cri.ReopenContainerLogRequest(container_id=container_id)
        with translated("reopen log"):
            await self._runtime.ReopenContainerLog(request, timeout=QUERY_SECONDS)

    async def pull_image(self, image: str, auth: ImageAuth | None = None) -> str:
        with sayable("login"):
            request = cri.PullImageRequest(
                image=cri.ImageSpec(image=image), auth=cri_requests.auth_config(auth)
            )
        with translated_pull(image):
            answer = await self._images.PullImage(request, timeout=PULL_SECONDS)
        await self._flush_images()
        return str(answer.image_ref)

    async def _flush_images(self) -> None:
        """The image is here in any case; a disk that takes too long is not waited for."""
        try:
            if found := await self.image_filesystem():
                flushing = asyncio.to_thread(self._flush, found.mountpoint)
                await asyncio.wait_for(flushing, FLUSH_SECONDS)
        except (KubetideError, OSError) as error:
            log.warning("pulled image not flushed to the disk", error=str(error) or "out of time")

    async def image_status(self, image: str) -> Image | None:
        request = cri.ImageStatusRequest(image=cri.ImageSpec(image=image))
        with translated_look_up(image):
            answer = await self._images.ImageStatus(request, timeout=QUERY_SECONDS)
        return cri_answers.image(answer.image) if answer.HasField("image") else None

    async def list_images(self) -> list[Image]:
        answer = await self._query(self._images.ListImages, cri.ListImagesRequest())
        return [cri_answers.image(one) for one in answer.images]

    async def remove_image(self, image: str) -> None:
        request = cri.RemoveImageRequest(image=cri.ImageSpec(image=image))
        await self._end(self._images.RemoveImage, request, "remove image")

    async def image_filesystem(self) -> FilesystemUsage | None:
        answer = await self._query(self._images.ImageFsInfo, cri.ImageFsInfoRequest())
        for one in answer.image_filesystems:
            return cri_answers.filesystem(one)
        return None

    async def stats(self) -> list[ContainerStats]:
        request = cri.ListContainerStatsRequest()
        answer = await self._query(self._runtime.ListContainerStats, request)
        return [cri_answers.stats(one) for one in answer.stats]

    def events(self) -> AsyncIterator[Change]:
        return self._events.follow()

    async def close(self) -> None:
        self._channel.close()

    async def _query(self, method: Any, request: Any) -> Any:
        with translated(type(request).__name__.removesuffix("Request")):
            return await method(request, timeout=QUERY_SECONDS)

    async def _end(
        self, method: Any, request: Any, action: str, *, seconds: float = CHANGE_SECONDS
    ) -> None:
        """Stopping and removing what is not there is a success."""
        try:
            with translated(action):
                await method(request, timeout=seconds)
        except NotThere:
            return

    async def _unplug(self, method: Any, request: Any, action: str) -> None:
        """Once more without what a power cut has left of the network's description."""
        try:
            await self._end(method, request, action)
        except RuntimeAway:
            raise
        except TemporaryError:
            damaged = cni_results.remove_damaged
            if not await asyncio.to_thread(damaged, request.pod_sandbox_id):
                raise
            await self._end(method, request, action)

    async def _cgroup_driver(self) -> str:
        """Empty when the runtime is too old for the question (containerd before 2.0)."""
        try:
            answer = await self._query(self._runtime.RuntimeConfig, cri.RuntimeConfigRequest())
        except PermanentError:
            return ""
        return cri_answers.driver_name(answer)
