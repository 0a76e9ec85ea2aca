"""A device with a real containerd, for what its pods are made of.

Real: containerd, images, files, mounts. The test stands in for the worker of a pod, one container
at a time; whole pods with their worker are in ``tests/edge_pods/device.py``.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeagent.pods.images.pulling import Images
from edgeagent.pods.materials.sandboxes import handler_of
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.model.paths import PodPaths
from edgeagent.pods.model.podevents import PodEvent
from edgeagent.pods.podmaterials import PodMaterials
from edgeagent.pods.resources.cgroup_files import CgroupFiles
from edgeagent.pods.volumes.contents import NoTokens, Tokens
from edgeagent.pods.volumes.making import Volumes
from edgeagent.runtime.cri import CriRuntime
from edgeagent.runtime.port import Container, DnsConfig, SandboxConfig
from shared.clock import SystemClock
from shared.objects import Json
from tests.edge_materials.making import Objects, pod
from tests.parts import images
from tests.parts.clearing import cleared
from tests.parts.containerd import Containerd
from tests.parts.looking import looked_up
from tests.parts.mounts import nothing_mounted_after
from tests.runtime_contract.worlds import eventually, log_lines

NODE = NodeFacts(
    "edge-1",
    ips=("192.0.2.10",),
    memory_capacity=4 * 1024**3,
    host_dns=DnsConfig(servers=("192.0.2.53",), searches=("example.net",)),
)


Answers = dict[str, str]


@dataclass
class Device:
    runtime: CriRuntime
    paths: PodPaths
    objects: Objects = field(default_factory=Objects)
    events: list[PodEvent] = field(default_factory=list)
    clock: SystemClock = field(default_factory=SystemClock)
    tokens: Tokens = field(default_factory=NoTokens)
    active: list[Json] = field(default_factory=list)
    """Pods that count as being here beside the one that is started."""

    def __post_init__(self) -> None:
        self.volumes = Volumes(self.paths, self.clock, tokens=self.tokens)
        self.materials = PodMaterials(
            paths=self.paths,
            volumes=self.volumes,
            images=Images(self.runtime, self.clock),
            sources=self.objects,
            node=NODE,
            others=lambda: self.active,
            cgroup_files=CgroupFiles(),
        )

    async def start(self, whole: Json, *, name: str = "main") -> str:
        """Everything a worker does for one container; returns its id."""
        await self.materials.prepare(whole, self.events.append)
        await self.materials.before_sandbox(whole, self.events.append)
        sandbox = self.materials.sandbox(
            whole, attempt=0, seen=0.0, first_id=0, record=self.events.append
        )
        sandbox_id = await self.runtime.start_sandbox(sandbox)
        return await self.start_inside(whole, sandbox, sandbox_id, name=name)

    async def start_again(self, whole: Json, sandbox_id: str) -> str:
        """What a worker does for the next container in a sandbox that is there."""
        status = await self.runtime.inspect_sandbox(sandbox_id)
        assert status is not None
        around = self.materials.sandbox(
            whole,
            attempt=0,
            seen=0.0,
            first_id=0,
            record=self.events.append,
            handler=handler_of(status),
        )
        return await self.start_inside(whole, around, sandbox_id, attempt=1)

    async def start_inside(
        self,
        whole: Json,
        around: SandboxConfig,
        sandbox_id: str,
        *,
        name: str = "main",
        attempt: int = 0,
    ) -> str:
        status = await self.runtime.inspect_sandbox(sandbox_id)
        assert status is not None
        one = next(one for one in whole["spec"]["containers"] if one["name"] == name)
        config = await self.materials.container(
            whole,
            one,
            attempt=attempt,
            image=await self.materials.image(whole, one, self.events.append),
            ips=status.ips,
            record=self.events.append,
            handler=handler_of(status),
        )
        container_id = await self.runtime.create_container(sandbox_id, around, config)
        await self.runtime.start_container(container_id)
        return container_id

    async def output(self, script: str, *, spec: Json | None = None, **fields: Any) -> list[str]:
        """Lines that a script prints in a container with ``fields`` of a pod with ``spec``."""
        return printed(await self.ended(a_pod(script, spec=spec, **fields)))

    async def answers(self, script: str, *, spec: Json | None = None, **fields: Any) -> Answers:
        """What such a script says in lines of the form ``name=value``."""
        lines = await self.output(script, spec=spec, **fields)
        return {name: value for name, _, value in (line.partition("=") for line in lines)}

    async def ended(self, whole: Json) -> Container:
        container_id = await self.start(whole)

        async def is_over() -> Container | None:
            found = await seen_by(self.runtime, container_id)
            return found if found.finished_at else None

        return await eventually(is_over)  # type: ignore[no-any-return]

    async def is_cleared(self) -> bool:
        await cleared(self.runtime, await self.runtime.list_sandboxes())
        for uid in await self.volumes.orphans([]):
            await self.volumes.remove(uid)
        return True


async def seen_by(runtime: CriRuntime, container_id: str) -> Container:
    found = await looked_up(runtime, container_id)
    assert found is not None
    return found


def printed(container: Container) -> list[str]:
    return [text for _, text in log_lines(container)]


def a_pod(script: str, *, spec: Json | None = None, **fields: Any) -> Json:
    one = {
        "name": "main",
        "image": images.BUSYBOX,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", "-c", script],
        **fields,
    }
    uid = secrets.token_hex(8)
    return pod(one, metadata={"name": f"web-{uid[:4]}", "uid": uid}, **(spec or {}))


def a_new_one_of(whole: Json) -> Json:
    """The same pod made anew, as after its deletion."""
    uid = secrets.token_hex(8)
    return {**whole, "metadata": {**whole["metadata"], "uid": uid, "name": f"web-{uid[:4]}"}}


@asynccontextmanager
async def a_device(
    containerd: Containerd, folder: Path, *, tokens: Tokens | None = None
) -> AsyncIterator[Device]:
    """Leaves the shared containerd as it was, and nothing mounted."""
    runtime = CriRuntime(containerd.address)
    paths = PodPaths(folder / "data", folder / "logs")
    device = Device(runtime, paths, tokens=tokens or NoTokens())
    with nothing_mounted_after(folder):
        try:
            yield device
            await eventually(device.is_cleared, within=30)
        finally:
            await runtime.close()
