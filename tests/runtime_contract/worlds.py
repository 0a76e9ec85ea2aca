"""One runtime to test, whichever it is, with what a test needs to make pods in it.

A ``Program`` is a shell script for real runtimes and the same behaviour as data for the one in
memory, so that one test reads the same for all.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgeagent.runtime.memory_device import Behaviour
from edgeagent.runtime.port import (
    LABEL_CONTAINER_NAME,
    LABEL_POD_NAME,
    LABEL_POD_NAMESPACE,
    LABEL_POD_UID,
    Container,
    ContainerConfig,
    ContainerState,
    Runtime,
    SandboxConfig,
)
from shared.errors import TemporaryError
from tests.parts import images, traps
from tests.parts.clearing import cleared
from tests.parts.looking import looked_up
from tests.parts.patience import PATIENCE


@dataclass(frozen=True)
class Program:
    script: str
    behaviour: Behaviour = field(default_factory=Behaviour)


RUNS = Program("trap 'exit 143' TERM; sleep 3600 & wait")
STUBBORN = Program("trap '' TERM; while :; do sleep 0.1; done", Behaviour(ignores_stop=True))


def exits(code: int, *, after: float = 0.0) -> Program:
    return Program(f"sleep {after}; exit {code}", Behaviour(exit_after=after, exit_code=code))


def script(text: str) -> Program:
    """For runtimes with real processes only."""
    return Program(text)


@dataclass
class World:
    """A runtime under test; ``open`` makes one more client of it, as an agent's restart does."""

    kind: str
    runtime: Runtime
    open: Callable[[], Runtime]
    logs: Path
    address: str = ""
    """Of the CRI socket, where there is one."""
    programs: dict[str, Behaviour] = field(default_factory=dict)
    crash: Callable[[], None] = lambda: None
    """The runtime's daemon dies; containers go on."""
    come_back: Callable[[], None] = lambda: None

    def behaviour(self, config: ContainerConfig) -> Behaviour:
        return self.programs[config.command[-1]]

    async def pod(self, **changes: Any) -> Pod:
        """A started sandbox."""
        config = replace(self.pod_config(), **changes)
        return Pod(self, config, await self.runtime.start_sandbox(config))

    def pod_config(self) -> SandboxConfig:
        uid = secrets.token_hex(8)
        name = f"pod-{uid[:4]}"
        return SandboxConfig(
            name=name,
            namespace="default",
            uid=uid,
            attempt=0,
            hostname=name,
            log_directory=str(self.logs / uid),
            labels={LABEL_POD_NAME: name, LABEL_POD_NAMESPACE: "default", LABEL_POD_UID: uid},
            annotations={"example.com/note": "kept"},
        )

    async def close(self) -> None:
        try:
            await cleared(self.runtime, await self.runtime.list_sandboxes())
        finally:
            await self.runtime.close()


@dataclass
class Pod:
    world: World
    config: SandboxConfig
    id: str

    async def create(self, program: Program, *, name: str = "main", **changes: Any) -> str:
        self.world.programs[program.script] = program.behaviour
        # The agent makes it: containerd would, CRI-O does not.
        (self.world.logs / self.config.uid / name).mkdir(parents=True, exist_ok=True)
        config = replace(self._container_config(name), **changes)
        if not changes.get("command") and program.script:
            config = replace(config, command=("/bin/sh", "-c", program.script))
        return await self.world.runtime.create_container(self.id, self.config, config)

    async def run(self, program: Program, *, name: str = "main", **changes: Any) -> str:
        """Created and started."""
        container_id = await self.create(program, name=name, **changes)
        await self.world.runtime.start_container(container_id)
        return container_id

    async def output(self, program: Program, **changes: Any) -> str:
        """What a container writes to stdout until it ends by itself."""
        container = await ended(self.world, await self.run(program, **changes))
        return "\n".join(text for stream, text in log_lines(container) if stream == "stdout")

    def _container_config(self, name: str) -> ContainerConfig:
        return ContainerConfig(
            name=name,
            attempt=0,
            image=images.BUSYBOX,
            user_image=images.BUSYBOX,
            log_path=f"{name}/0.log",
            labels={**self.config.labels, LABEL_CONTAINER_NAME: name},
            annotations={"example.com/hash": "42"},
        )


async def seen(world: World, container_id: str) -> Container:
    container = await looked_up(world.runtime, container_id)
    assert container is not None
    return container


async def ended(world: World, container_id: str, *, within: float = 10.0) -> Container:
    async def is_over() -> Container | None:
        container = await seen(world, container_id)
        return container if container.state is ContainerState.EXITED else None

    return await eventually(is_over, within=within)


async def eventually(ask: Callable[[], Awaitable[Any]], *, within: float = 10.0) -> Any:
    """The first true answer; errors that pass are passed over."""
    deadline = time.monotonic() + within * PATIENCE
    while True:
        try:
            if answer := await ask():
                return answer
        except TemporaryError:
            if time.monotonic() > deadline:
                raise
        assert time.monotonic() < deadline, f"not within {within} s"
        await asyncio.sleep(0.02)


async def trap_set(world: World, container_id: str) -> None:
    """Wait until SIGTERM finds the trap of the program, where it is the first of its container."""

    async def is_set() -> bool:
        return world.kind != "containerd" or traps.is_set(container_id)

    await eventually(is_set)


def text_of(path: str | Path) -> str:
    return Path(path).read_text()


def log_lines(container: Container) -> list[tuple[str, str]]:
    """(stream, text) of complete lines in the container's CRI log."""
    lines = text_of(container.log_path).splitlines()
    fields = [line.split(" ", 3) for line in lines]
    return [(stream, text) for _, stream, _, text in fields]


@dataclass
class Heard:
    """Pod uids that the runtime's events named, and when."""

    uids: list[tuple[float, str]] = field(default_factory=list)
    error: TemporaryError | None = None

    async def names(self, uid: str, *, since: float, within: float) -> float:
        """Seconds from ``since`` until the pod was named after it."""

        async def named() -> list[float]:
            return [at for at, one in self.uids if one == uid and at > since]

        return float((await eventually(named, within=within))[0]) - since


@asynccontextmanager
async def listening(runtime: Runtime) -> AsyncIterator[Heard]:
    heard = Heard()

    async def follow() -> None:
        try:
            async for change in runtime.events():
                heard.uids.append((time.monotonic(), change.uid))
        except TemporaryError as error:
            heard.error = error

    task = asyncio.create_task(follow())
    try:
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def by_name(containers: tuple[Container, ...]) -> Mapping[str, Container]:
    return {container.name: container for container in containers}
