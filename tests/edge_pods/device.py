"""A device on a real containerd: the whole pod machine with real files; the link is recorded."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeagent.node.device import read_device
from edgeagent.pods.images.pulling import Images
from edgeagent.pods.model import specs
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.model.paths import PodPaths
from edgeagent.pods.podmaterials import PodMaterials
from edgeagent.pods.resources.cgroup_files import CgroupFiles
from edgeagent.pods.volumes.making import Volumes
from edgeagent.pods.workers import Pods
from edgeagent.runtime.cri import CriRuntime
from edgeagent.runtime.port import ContainerState, Sandbox
from shared.clock import SystemClock
from shared.objects import Json, ObjectKey
from tests.edge_pods.world import DesiredPods, MemoryFacts, RecordedReports, Wanted
from tests.parts import images, traps
from tests.parts.clearing import cleared
from tests.parts.containerd import Containerd
from tests.parts.looking import looked_up
from tests.parts.mounts import nothing_mounted_after
from tests.parts.patience import PATIENCE
from tests.runtime_contract.worlds import eventually


def a_script(text: str, name: str = "main", **fields: Any) -> Json:
    command = ["/bin/sh", "-c", text]
    return {"name": name, "image": images.BUSYBOX, "command": command, **fields}


OBEYS = "trap 'exit 7' TERM; sleep 3600 & wait"
"""Runs until it is told to stop, and says so by its exit code."""

SHARED = [{"name": "shared", "emptyDir": {}}]
"""The volumes of a pod with a container of ``a_sharer``."""

WAITS = "until [ -e /v/go ]; do sleep 0.1; done"
"""Of such a container: until ``Device.go_on``. What a test wants to see of it before that cannot be
over already on a slow machine."""

V2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()


def a_sharer(text: str, name: str = "main", **fields: Any) -> Json:
    """Sees the pod's volume at /v."""
    return a_script(text, name, volumeMounts=[{"name": "shared", "mountPath": "/v"}], **fields)


class DesiredObjects(DesiredPods):
    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[ObjectKey, Json] = {}

    def get(self, key: ObjectKey) -> Json | None:
        return self.objects.get(key)

    def services(self, namespace: str) -> dict[str, Json]:
        return {}

    def awaited_services(self, namespace: str) -> set[str]:
        return set()


class Device:
    def __init__(self, private: Containerd, folder: Path) -> None:
        self.runtime = CriRuntime(private.address)
        self.desired = DesiredObjects()
        self.facts = MemoryFacts()
        self.reports = RecordedReports()
        self.paths = PodPaths(folder / "data", folder / "logs")
        self.node = NodeFacts(
            f"node-{secrets.token_hex(4)}",
            ips=("192.0.2.7",),
            cgroup_version=2 if V2 else 1,
            swap_limits=read_device(folder).swap_limits,
        )
        self._clock = SystemClock()
        self._images = Images(self.runtime, self._clock)
        self._task: asyncio.Task[None] | None = None
        self.pods = self._new_pods()

    def _new_pods(self) -> Pods:
        self.materials = PodMaterials(
            paths=self.paths,
            volumes=Volumes(self.paths, self._clock),
            images=self._images,
            sources=self.desired,
            node=self.node,
            others=lambda: self.pods.active(),
            cgroup_files=CgroupFiles(),
        )
        return Pods(
            runtime=self.runtime,
            desired=self.desired,
            materials=self.materials,
            facts=self.facts,
            reports=self.reports,
            clock=self._clock,
            node=self.node,
        )

    def start_agent(self) -> None:
        self.pods = self._new_pods()
        self._task = asyncio.create_task(self.pods.run())

    async def meet_runtime(self) -> None:
        """A new agent that knows what its runtime is and can, as a whole agent does."""
        await self.kill_agent()
        info = await self.runtime.info()
        self.node = replace(
            self.node,
            runtime_name=info.name,
            runtime_version=info.version,
            handlers=info.handlers,
        )
        self.start_agent()

    async def kill_agent(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def close(self) -> None:
        """Leaves the shared containerd as it was."""
        await self.kill_agent()
        try:
            await cleared(self.runtime, await self.sandboxes())
            volumes = Volumes(self.paths, self._clock)
            for uid in await volumes.orphans([]):
                await volumes.remove(uid)
        finally:
            await self._images.close()
            await self.runtime.close()

    def apply(self, *containers: Json, labels: dict[str, str] | None = None, **spec: Any) -> str:
        uid = f"uid-{secrets.token_hex(6)}"
        metadata: Json = {"name": f"pod-{secrets.token_hex(3)}", "namespace": "default", "uid": uid}
        if labels:
            metadata["labels"] = labels
        self.put({"metadata": metadata, "spec": {"containers": list(containers), **spec}})
        return uid

    def put(self, pod: Json, *, grace: int | None = None) -> None:
        key = ObjectKey.of("Pod", pod)
        self.desired.wanted[specs.uid_of(pod)] = Wanted(specs.uid_of(pod), key, pod, grace)
        self.pods.changed({key})

    def delete(self, uid: str, *, grace: int) -> None:
        self.put(self.desired.wanted[uid].pod, grace=grace)

    def drop(self, uid: str) -> None:
        self.pods.changed({self.desired.wanted.pop(uid).key})

    def go_on(self, uid: str) -> None:
        """For containers that have come to ``WAITS``, or will."""
        (self.paths.volume(uid, "shared") / "go").touch()

    async def ended_without_agent(self, uid: str) -> None:
        """The container goes on from ``WAITS`` and ends while no agent is there."""
        await self.kill_agent()
        self.go_on(uid)
        container_id = self.container(uid)["containerID"].partition("://")[2]

        async def has_ended() -> bool:
            found = await looked_up(self.runtime, container_id)
            return found is not None and found.state is ContainerState.EXITED

        await eventually(has_ended)

    async def sandboxes(self) -> list[Sandbox]:
        """Those of this device's agent, on a containerd that tests share."""
        every = await self.runtime.list_sandboxes()
        return [one for one in every if one.labels.get("kubetide.io/node") == self.node.name]

    def status(self, uid: str) -> Json:
        reported = self.reports.by_uid.get(uid)
        return reported.status if reported else {}

    def container(self, uid: str, name: str = "main") -> Json:
        groups = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
        every = [one for group in groups for one in self.status(uid).get(group, ())]
        return next((one for one in every if one["name"] == name), {})

    def runs(self, uid: str, name: str = "main") -> bool:
        return "running" in self.container(uid, name).get("state", {})

    def obeys(self, uid: str, name: str = "main") -> bool:
        """It runs, and has come to its ``trap``: it minds SIGTERM."""
        container_id = self.container(uid, name).get("containerID", "").partition("://")[2]
        return self.runs(uid, name) and traps.is_set(container_id)

    def ended(self, uid: str, name: str = "main") -> Json:
        """How it ended, or empty."""
        return dict(self.container(uid, name).get("state", {}).get("terminated") or {})

    def finished(self, uid: str) -> bool:
        return uid in self.reports.by_uid and self.reports.by_uid[uid].finished

    def reasons(self, uid: str) -> list[str]:
        reported = self.reports.by_uid.get(uid)
        return [event.reason for event in reported.events] if reported else []

    def messages(self, uid: str, reason: str) -> list[str]:
        """Of its Events with that reason."""
        reported = self.reports.by_uid.get(uid)
        events = reported.events if reported else []
        return [event.message for event in events if event.reason == reason]

    def condition(self, uid: str, kind: str) -> Json:
        """Or empty."""
        every = self.status(uid).get("conditions", ())
        return next((one for one in every if one["type"] == kind), {})

    def waits_for(self, uid: str, name: str = "main") -> str:
        """The reason that a container waits for, or empty."""
        return str(self.container(uid, name).get("state", {}).get("waiting", {}).get("reason", ""))

    def change(self, uid: str, *containers: Json, **spec: Any) -> None:
        """As an update of the pod in the API, with the next generation."""
        pod = self.desired.wanted[uid].pod
        generation = pod["metadata"].get("generation", 1) + 1
        changed = {"containers": list(containers)} if containers else {}
        metadata = {**pod["metadata"], "generation": generation}
        self.put({"metadata": metadata, "spec": {**pod["spec"], **changed, **spec}})

    def log(self, uid: str, name: str = "main", *, attempt: int = 0) -> str:
        pod = self.desired.wanted[uid].pod
        file = self.paths.log_directory(pod) / name / f"{attempt}.log"
        lines = file.read_text().splitlines() if file.exists() else []
        return "\n".join(line.split(" ", 3)[-1] for line in lines)

    async def until(self, condition: Callable[[], bool], *, seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds * PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"waited {seconds} s in vain: {self._words()}"
            await asyncio.sleep(0.01)

    def _words(self) -> str:
        return str({uid: one.status for uid, one in self.reports.by_uid.items()})


@asynccontextmanager
async def a_device(private: Containerd, folder: Path) -> AsyncIterator[Device]:
    device = Device(private, folder)
    device.start_agent()
    with nothing_mounted_after(folder):
        try:
            yield device
        finally:
            await device.close()
