"""The runtime port over a device in memory: deterministic, scripted, for tests and the simulator.

Owns no state; the device (``memory_device.py``) has it. It is as strict as a real runtime where
that catches mistakes of the caller: names are taken until removed, containers need a ready sandbox
with the same users and a present image, only a created container can be started. Stricter than one
in this: two pods cannot have the same users. A slow answer tells what was so when it was asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from edgeagent.runtime.abilities import Handler, RuntimeInfo
from edgeagent.runtime.limits import Resources
from edgeagent.runtime.memory_device import SIGKILLED, Call, MemoryDevice, Pod, Process
from edgeagent.runtime.port import (
    LABEL_CONTAINER_NAME,
    Change,
    Container,
    ContainerConfig,
    ContainerState,
    ExecResult,
    Image,
    ImageAuth,
    ImagePullError,
    InvalidImageName,
    RegistryUnreachable,
    RuntimeAway,
    Sandbox,
    SandboxConfig,
    SandboxState,
)
from edgeagent.runtime.usage import ContainerStats, FilesystemUsage
from shared.errors import TemporaryError


class MemoryRuntime:
    """One client of the device; make another one for an agent that restarts."""

    def __init__(self, device: MemoryDevice) -> None:
        self.device = device

    async def info(self) -> RuntimeInfo:
        await self._called("info")
        able = Handler(user_namespaces=True)
        return RuntimeInfo("memory", "1", has_events=True, handlers=(able,))

    async def network_ready(self) -> tuple[bool, str]:
        await self._called("network_ready")
        trouble = self.device.network_trouble
        return not trouble, trouble

    async def list_sandboxes(self) -> list[Sandbox]:
        found = [self.device.inspected(pod) for pod in self.device.pods.values()]
        await self._called("list_sandboxes")
        return found

    async def inspect_sandbox(self, sandbox_id: str, *, new: bool = False) -> Sandbox | None:
        pod = self.device.pods.get(sandbox_id)
        found = self.device.inspected(pod) if pod else None
        await self._called("inspect_sandbox", sandbox_id)
        return replace(found, containers=()) if found and new else found

    async def inspect_container(self, container_id: str, sandbox_id: str) -> Container | None:
        process = self.device.find(container_id)
        found = process.seen if process else None
        await self._called("inspect_container", container_id)
        return found if found and found.sandbox_id == sandbox_id else None

    async def stats(self) -> list[ContainerStats]:
        await self._called("stats")
        return [
            ContainerStats(
                container_id=one.seen.id,
                name=one.seen.labels.get(LABEL_CONTAINER_NAME, one.seen.name),
                pod_uid=pod.seen.uid,
                cpu_usage_ns=self.device.nanoseconds() - one.seen.started_at,
                memory_working_set_bytes=1_000_000,
                memory_usage_bytes=1_000_000,
            )
            for pod in self.device.pods.values()
            for one in pod.containers.values()
            if one.seen.state is ContainerState.RUNNING
        ]

    # The port: sandboxes

    async def start_sandbox(self, config: SandboxConfig) -> str:
        await self._called("start_sandbox", f"{config.namespace}/{config.name}")
        taken = {(pod.config.uid, pod.config.attempt) for pod in self.device.pods.values()}
        if (config.uid, config.attempt) in taken:
            raise TemporaryError(f"the sandbox name {config.name}_{config.attempt} is taken")
        self.device.check_ids(config)
        number = self.device.next_id()
        address = f"10.88.{number // 250 % 250}.{number % 250 + 2}"
        sandbox = Sandbox(
            id=f"sandbox-{number}",
            name=config.name,
            namespace=config.namespace,
            uid=config.uid,
            attempt=config.attempt,
            state=SandboxState.READY,
            created_at=self.device.nanoseconds(),
            ips=() if config.security.host_network else (address,),
            labels=dict(config.labels),
            annotations=dict(config.annotations),
            runtime_handler=config.runtime_handler,
        )
        self.device.pods[sandbox.id] = Pod(config, sandbox)
        self.device.changed(self.device.pods[sandbox.id])
        return sandbox.id

    async def stop_sandbox(self, sandbox_id: str) -> None:
        await self._called("stop_sandbox", sandbox_id)
        if pod := self.device.pods.get(sandbox_id):
            self.device.stop_pod(pod)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        await self._called("remove_sandbox", sandbox_id)
        if pod := self.device.pods.get(sandbox_id):
            self.device.stop_pod(pod)
            del self.device.pods[sandbox_id]
            self.device.changed(pod)

    # The port: containers

    async def create_container(
        self, sandbox_id: str, sandbox: SandboxConfig, config: ContainerConfig
    ) -> str:
        await self._called("create_container", f"{sandbox.namespace}/{sandbox.name}/{config.name}")
        pod = self.device.ready_pod(sandbox_id)
        if sandbox.security.ids != pod.config.security.ids:
            raise TemporaryError("the user namespace of the sandbox is another one")
        image = self.device.image(config.image)
        if image is None:
            raise TemporaryError(f"the image {config.image} is not there")
        self._need_processes(config.processes_of)
        taken = {(one.config.name, one.config.attempt) for one in pod.containers.values()}
        if (config.name, config.attempt) in taken:
            raise TemporaryError(f"the container name {config.name}_{config.attempt} is taken")
        container = Container(
            stop_signal=config.stop_signal,
            id=f"container-{self.device.next_id()}",
            sandbox_id=sandbox_id,
            name=config.name,
            attempt=config.attempt,
            state=ContainerState.CREATED,
            image=config.user_image or config.image,
            image_ref=image.id,
            created_at=self.device.nanoseconds(),
            log_path=f"{sandbox.log_directory}/{config.log_path}" if config.log_path else "",
            labels=dict(config.labels),
            annotations=dict(config.annotations),
        )
        pod.containers[container.id] = Process(pod, config, container, config.resources)
        self.device.changed(pod)
        return container.id

    def _need_processes(self, container_id: str) -> None:
        """For another container to join; empty when none does."""
        target = self.device.find(container_id)
        if container_id and (target is None or target.seen.state is not ContainerState.RUNNING):
            raise TemporaryError(f"invalid target container: {container_id} is not running")

    async def start_container(self, container_id: str) -> None:
        await self._called("start_container", self.device.name_of(container_id))
        process = self.device.process(container_id)
        self.device.ready_pod(process.seen.sandbox_id)
        if process.seen.state is not ContainerState.CREATED:
            raise TemporaryError(f"{container_id} is {process.seen.state.value}, not created")
        self.device.start(process)
        if process.behaviour.start_error:
            words = process.behaviour.start_error
            self.device.end(process, 128, reason="StartError", message=words)
            raise TemporaryError(words)

    async def stop_container(self, container_id: str, grace_seconds: float) -> None:
        await self._called("stop_container", self.device.name_of(container_id))
        process = self.device.find(container_id)
        if process is None or process.seen.state is not ContainerState.RUNNING:
            return
        if grace_seconds > 0 and not process.behaviour.ignores_stop:
            self.device.end(process, process.behaviour.stop_code)
        elif grace_seconds > 0:
            await self.device.wait_for_end(process, grace_seconds)
        self.device.end(process, SIGKILLED)

    async def remove_container(self, container_id: str) -> None:
        await self._called("remove_container", self.device.name_of(container_id))
        if process := self.device.find(container_id):
            self.device.end(process, SIGKILLED)
            del process.pod.containers[container_id]
            self.device.changed(process.pod)

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        await self._called("update_resources", self.device.name_of(container_id))
        process = self.device.process(container_id)
        process.resources = resources

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout: float
    ) -> ExecResult:
        slow = self.device.latency.get("exec_sync", 0.0) > timeout
        await self._called("exec_sync", self.device.name_of(container_id), at_most=timeout)
        if slow:
            raise TimeoutError(f"the command took longer than {timeout} s")
        process = self.device.process(container_id)
        if process.seen.state is not ContainerState.RUNNING:
            raise TemporaryError(f"{container_id} does not run")
        return self.device.execute(process.config, command)

    async def reopen_log(self, container_id: str) -> None:
        await self._called("reopen_log", self.device.name_of(container_id))

    # The port: images

    async def pull_image(self, image: str, auth: ImageAuth | None = None) -> str:
        await self._called("pull_image", image)
        if not image or image != image.lower() or " " in image:
            raise InvalidImageName(f"{image!r} is not an image name")
        remote = self.device.registry.get(image)
        if self.device.registry_away:
            raise RegistryUnreachable(f"dial tcp: no route to the registry of {image}")
        if remote is None:
            raise ImagePullError(f"{image}: not found")
        if remote.needs is not None and remote.needs != auth:
            raise ImagePullError(f"{image}: 401 Unauthorized")
        await self.device.clock.sleep(remote.pull_seconds)
        return self.device.add_image(image, user=remote.user).id

    async def image_status(self, image: str) -> Image | None:
        await self._called("image_status", image)
        return self.device.image(image)

    async def list_images(self) -> list[Image]:
        await self._called("list_images")
        return list(self.device.images.values())

    async def remove_image(self, image: str) -> None:
        await self._called("remove_image", image)
        found = self.device.image(image)
        for name in [name for name, one in self.device.images.items() if one == found]:
            del self.device.images[name]

    async def image_filesystem(self) -> FilesystemUsage | None:
        await self._called("image_filesystem")
        used = sum(image.size_bytes for image in self.device.images.values())
        return FilesystemUsage("/", used)

    async def events(self) -> AsyncIterator[Change]:
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        for uid in sorted({pod.seen.uid for pod in self.device.pods.values()}):
            queue.put_nowait(uid)
        self.device.followers[queue] = None
        try:
            while not self.device.away and (uid_or_end := await queue.get()) is not None:
                yield self.device.change(uid_or_end)
            raise RuntimeAway("the runtime is away")
        finally:
            self.device.followers.pop(queue, None)

    async def close(self) -> None:
        """Containers go on: they are the device's."""

    async def _called(self, name: str, subject: str = "", *, at_most: float | None = None) -> None:
        self.device.history.append(Call(name, subject, self.device.clock.monotonic()))
        delay = self.device.latency.get(name, 0.0)
        if delay > 0:
            await self.device.clock.sleep(delay if at_most is None else min(delay, at_most))
        if self.device.away:
            raise RuntimeAway("the runtime is away")
        if self.device.failures[name]:
            raise self.device.failures[name].pop(0)
