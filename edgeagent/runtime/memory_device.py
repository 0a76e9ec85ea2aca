"""The device that a runtime in memory runs on: its pods, images, registry, and its bad days.

Owns the state; ``memory.py`` is the port over it, and as many of those as a test likes can follow
one another (an agent that restarts). No process, no file: time is the clock's, ids are counted,
and what a container does comes from ``behaviour``, asked once per start.

What can happen to a device is a method: ``kill``, ``reboot``, ``go_away``/``come_back``, ``wipe``.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from edgeagent.runtime.limits import Resources
from edgeagent.runtime.port import (
    Change,
    Container,
    ContainerConfig,
    ContainerState,
    ExecResult,
    Image,
    ImageAuth,
    Sandbox,
    SandboxConfig,
    SandboxState,
)
from shared.clock import Clock
from shared.errors import KubetideError, TemporaryError
from shared.tasks import stop

SIGKILLED = 137
LOST_IN_REBOOT = 255
"""What containerd reports for a container that it finds dead after a reboot."""


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """What a container does from its start on. The default runs until it is stopped."""

    exit_after: float | None = None
    """Seconds until it ends by itself; None = never."""
    exit_code: int = 0
    stop_code: int = 143
    """Its exit code when it obeys the stop signal."""
    ignores_stop: bool = False
    """Only SIGKILL, after the whole grace period, ends it."""
    start_error: str = ""
    """The start fails with these words, and the container is then exited with code 128."""


@dataclass(frozen=True, kw_only=True)
class RemoteImage:
    """An image in the registry that ``pull_image`` reaches."""

    pull_seconds: float = 0.0
    user: str = ""
    needs: ImageAuth | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the port: which, on what (ids, or the pod and container names), and when."""

    name: str
    subject: str
    at: float


@dataclass
class Pod:
    """A sandbox, and the containers made in it, oldest first."""

    config: SandboxConfig
    seen: Sandbox
    containers: dict[str, Process] = field(default_factory=dict)


@dataclass
class Process:
    """A container: what was asked for, what is seen of it, and its timer while it runs."""

    pod: Pod
    config: ContainerConfig
    seen: Container
    resources: Resources
    behaviour: Behaviour = Behaviour()
    task: asyncio.Task[None] | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)


def _runs_on(_: ContainerConfig) -> Behaviour:
    return Behaviour()


def _exits_well(_: ContainerConfig, __: Sequence[str]) -> ExecResult:
    return ExecResult(0, b"", b"")


class MemoryDevice:
    """``images`` are on the device, ``registry`` can be pulled from: both are the test's to fill.

    ``latency`` is seconds by the name of the call; ``failures`` are errors by the name of the
    call, each raised once, in order. ``history`` has every call.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        behaviour: Callable[[ContainerConfig], Behaviour] = _runs_on,
        execute: Callable[[ContainerConfig, Sequence[str]], ExecResult] = _exits_well,
    ) -> None:
        self.clock = clock
        self.behaviour = behaviour
        self.execute = execute
        self.history: list[Call] = []
        self.registry: dict[str, RemoteImage] = {}
        self.registry_away = False
        self.network_trouble = ""
        """Why pods cannot get a network."""
        self.images: dict[str, Image] = {}
        self.latency: dict[str, float] = {}
        self.failures: dict[str, list[KubetideError]] = defaultdict(list)
        self.pods: dict[str, Pod] = {}
        self.followers: dict[asyncio.Queue[str | None], None] = {}
        self.away = False
        self._ids = count(1)

    def add_image(self, name: str, *, user: str = "") -> Image:
        """Present on the device, as after a pull."""
        image_id = f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"
        self.images[name] = Image(image_id, tags=(name,), size_bytes=1_000_000, user=user)
        return self.images[name]

    def check_ids(self, config: SandboxConfig) -> None:
        """No two pods have a user in common."""
        for pod in self.pods.values():
            mine, theirs = config.security.ids, pod.config.security.ids
            if mine and theirs and pod.config.uid != config.uid:
                apart = max(mine.first, theirs.first) >= min(mine.end, theirs.end)
                if not apart:
                    raise TemporaryError(f"the users of {config.name} are {pod.config.name}'s")

    def kill(self, container_id: str, *, exit_code: int = SIGKILLED, reason: str = "") -> None:
        """The process dies by itself: a crash, the OOM killer (reason ``OOMKilled``)."""
        self.end(self.process(container_id), exit_code, reason=reason)

    def reboot(self) -> None:
        """Nothing runs any more; what ran is listed as exited, sandboxes as not ready."""
        for pod in self.pods.values():
            for process in pod.containers.values():
                self.end(process, LOST_IN_REBOOT, reason="Unknown")
            pod.seen = replace(pod.seen, state=SandboxState.NOT_READY)
            self.changed(pod)

    def go_away(self) -> None:
        """The daemon dies: every call fails, containers go on."""
        self.away = True
        for follower in self.followers:
            follower.put_nowait(None)

    def come_back(self) -> None:
        self.away = False

    def wipe(self) -> None:
        """The runtime's disk is new: no sandboxes, no containers, no images."""
        pods, self.pods, self.images = list(self.pods.values()), {}, {}
        for pod in pods:
            for process in pod.containers.values():
                self.end(process, SIGKILLED)
            self.changed(pod)

    def calls(self, *names: str) -> list[str]:
        """``name subject`` of the recorded calls, all or those named."""
        chosen = [call for call in self.history if not names or call.name in names]
        return [f"{call.name} {call.subject}".strip() for call in chosen]

    async def close(self) -> None:
        """Ends the timers of containers, so that the loop is left empty."""
        processes = [one for pod in self.pods.values() for one in pod.containers.values()]
        await stop(*(one.task for one in processes if one.task))

    # What ``memory.py`` builds the port from

    def start(self, process: Process) -> None:
        process.behaviour = self.behaviour(process.config)
        self.see(process, state=ContainerState.RUNNING, started_at=self.nanoseconds())
        if process.behaviour.exit_after is not None:
            process.task = asyncio.create_task(self._run(process), name=f"run {process.seen.id}")

    async def _run(self, process: Process) -> None:
        await self.clock.sleep(process.behaviour.exit_after or 0.0)
        process.task = None
        self.end(process, process.behaviour.exit_code)

    async def wait_for_end(self, process: Process, seconds: float) -> None:
        timer = asyncio.ensure_future(self.clock.sleep(seconds))
        ended = asyncio.ensure_future(process.ended.wait())
        try:
            await asyncio.wait({timer, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await stop(timer, ended)

    def end(self, process: Process, exit_code: int, *, reason: str = "", message: str = "") -> None:
        if process.task is not None:
            process.task.cancel()
            process.task = None
        if process.seen.state is not ContainerState.RUNNING:
            return
        process.ended.set()
        self.see(
            process,
            state=ContainerState.EXITED,
            finished_at=self.nanoseconds(),
            exit_code=exit_code,
            reason=reason or ("Completed" if exit_code == 0 else "Error"),
            message=message,
        )

    def see(self, process: Process, **changes: object) -> None:
        process.seen = replace(process.seen, **changes)  # type: ignore[arg-type]
        self.changed(process.pod)

    def stop_pod(self, pod: Pod) -> None:
        for process in pod.containers.values():
            self.end(process, SIGKILLED)
        pod.seen = replace(pod.seen, state=SandboxState.NOT_READY)
        self.changed(pod)

    def changed(self, pod: Pod) -> None:
        for follower in self.followers:
            follower.put_nowait(pod.seen.uid)

    def change(self, uid: str) -> Change:
        pods = [one for one in self.pods.values() if one.seen.uid == uid]
        return Change(uid, tuple(self.inspected(one) for one in pods))

    def inspected(self, pod: Pod) -> Sandbox:
        newest_first = [one.seen for one in reversed(pod.containers.values())]
        return replace(pod.seen, containers=tuple(newest_first))

    def ready_pod(self, sandbox_id: str) -> Pod:
        pod = self.pods.get(sandbox_id)
        if pod is None or pod.seen.state is not SandboxState.READY:
            raise TemporaryError(f"the sandbox {sandbox_id} is not ready")
        return pod

    def process(self, container_id: str) -> Process:
        process = self.find(container_id)
        if process is None:
            raise TemporaryError(f"the container {container_id} is not there")
        return process

    def find(self, container_id: str) -> Process | None:
        found = (pod.containers.get(container_id) for pod in self.pods.values())
        return next((process for process in found if process), None)

    def name_of(self, container_id: str) -> str:
        process = self.find(container_id)
        if process is None:
            return container_id
        return f"{process.pod.seen.namespace}/{process.pod.seen.name}/{process.seen.name}"

    def image(self, image: str) -> Image | None:
        by_id = {one.id: one for one in self.images.values()}
        return self.images.get(image) or by_id.get(image)

    def next_id(self) -> int:
        return next(self._ids)

    def nanoseconds(self) -> int:
        return int(self.clock.now() * 1e9)
