"""A device in virtual time: the pod machine over the runtime in memory, everything else recorded.

Excluded: files and images by pull policy (they have tests of their own), the link, the database.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from edgeagent.pods.materials.origins import HASH
from edgeagent.pods.materials.sandboxes import LABEL_NODE, runtime_handler
from edgeagent.pods.materials.userids import FIRST_ID, id_range
from edgeagent.pods.model import specs
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.model.podevents import Record
from edgeagent.pods.model.view import Refusal
from edgeagent.pods.workers import Pods
from edgeagent.runtime.abilities import Handler
from edgeagent.runtime.limits import Resources
from edgeagent.runtime.memory import MemoryRuntime
from edgeagent.runtime.memory_device import Behaviour, MemoryDevice, Process
from edgeagent.runtime.port import (
    LABEL_POD_UID,
    Container,
    ContainerConfig,
    ContainerState,
    ExecResult,
    Image,
    SandboxConfig,
    SandboxSecurity,
)
from edgeagent.windows import Window
from shared.errors import KubetideError, StoreBusy
from shared.messages import ReportedEvent
from shared.objects import Json, ObjectKey
from simulator.clock import SimClock

NODE = NodeFacts("edge-1", ips=("192.0.2.7",), handlers=(Handler("", user_namespaces=True),))


def a_container(name: str = "main", **fields: Any) -> Json:
    return {"name": name, "image": "app:1", **fields}


def a_pod(name: str = "web", *containers: Json, uid: str = "", **spec: Any) -> Json:
    return {
        "metadata": {"name": name, "namespace": "default", "uid": uid or f"uid-{name}"},
        "spec": {"containers": list(containers or [a_container()]), **spec},
    }


@dataclass(frozen=True)
class Wanted:
    uid: str
    key: ObjectKey
    pod: Json
    grace: int | None = None


class DesiredPods:
    def __init__(self) -> None:
        self.known = True
        self.revision = 1
        self.wanted: dict[str, Wanted] = {}

    def pods(self) -> Mapping[str, Wanted]:
        return self.wanted

    def may_stop(self, uid: str, key: ObjectKey) -> bool:
        return self.known and uid not in self.wanted


@dataclass
class MemoryFacts:
    """JSON in, JSON out; what an agent stored outlives it."""

    records: dict[str, Json] = field(default_factory=dict)
    full: bool = False

    async def load_all(self) -> Mapping[str, Json]:
        return dict(self.records)

    async def save(self, uid: str, record: Json) -> None:
        if self.full:
            raise StoreBusy("database or disk is full")
        self.records[uid] = json.loads(json.dumps(record))

    async def delete(self, uid: str) -> None:
        self.records.pop(uid, None)


@dataclass
class Reported:
    status: Json = field(default_factory=dict)
    finished: bool = False
    events: list[ReportedEvent] = field(default_factory=list)
    within: float = 0.0
    history: list[Json] = field(default_factory=list)


class RecordedReports:
    def __init__(self) -> None:
        self.by_uid: dict[str, Reported] = {}

    async def put(
        self,
        key: ObjectKey,
        *,
        uid: str,
        status: Json | None,
        events: Sequence[ReportedEvent],
        finished: bool,
        within: float,
    ) -> None:
        reported = self.by_uid.setdefault(uid, Reported())
        reported.status = status or reported.status
        reported.finished, reported.within = finished, within
        reported.events.extend(events)
        reported.history.append(reported.status)


class PlainMaterials:
    """The least that the runtime in memory needs; what fails is the test's to say."""

    def __init__(self, device: MemoryDevice) -> None:
        self.device = device
        self.node = NODE
        self.refused: Refusal | None = None
        self.resize_refused: Refusal | None = None
        self.failures: dict[str, KubetideError] = {}
        self.calls: list[str] = []
        self.prepare_seconds = self.remove_seconds = self.pull_seconds = 0.0
        self.services_awaited = False
        self.behind = False

    def refusal(self, pod: Json) -> Refusal | None:
        return self.refused

    def in_the_way(self, pod: Json, leaving: Collection[str]) -> Collection[str]:
        return ()

    def resize_refusal(self, allocated: Json, asked: Json) -> Refusal | None:
        return self.resize_refused

    async def prepare(self, pod: Json, record: Record) -> bool:
        self._called("prepare", pod)
        if self.prepare_seconds:
            await self.device.clock.sleep(self.prepare_seconds)
        return not self.behind

    async def refresh(self, pod: Json) -> None:
        self._called("refresh", pod)

    async def remove(self, pod: Json) -> None:
        self._called("remove", pod)
        if self.remove_seconds:
            await self.device.clock.sleep(self.remove_seconds)

    async def before_sandbox(self, pod: Json, record: Record) -> None:
        self._called("before_sandbox", pod)

    async def link_log(self, pod: Json, name: str, *, attempt: int, container_id: str) -> None:
        self._called("link_log", pod)

    async def forget(self, pod: Json) -> None:
        self._called("forget", pod)

    async def remove_files(self, pod: Json, container: Container) -> None:
        self._called("remove_files", pod)

    async def image(self, pod: Json, container: Json, record: Record) -> Image:
        self._called("image", pod)
        if self.pull_seconds:
            await self.device.clock.sleep(self.pull_seconds)
        return self.device.add_image(container["image"])

    def node_changed(self, node: NodeFacts) -> None:
        self.node = node

    def sandbox(
        self,
        pod: Json,
        *,
        attempt: int,
        seen: float,
        first_id: int,
        record: Record,
        handler: str = "",
    ) -> SandboxConfig:
        node = self.node.bound(specs.runtime_class(pod), handler)
        return SandboxConfig(
            name=specs.name_of(pod),
            namespace=specs.namespace_of(pod),
            uid=specs.uid_of(pod),
            attempt=attempt,
            hostname=specs.name_of(pod),
            log_directory="/logs",
            labels={LABEL_NODE: NODE.name, LABEL_POD_UID: specs.uid_of(pod)},
            annotations={FIRST_ID: str(first_id)},
            security=SandboxSecurity(ids=id_range(pod, first_id, node)),
            runtime_handler=runtime_handler(pod, node),
        )

    async def container(
        self,
        pod: Json,
        container: Json,
        *,
        attempt: int,
        image: Image,
        ips: tuple[str, ...],
        record: Record,
        handler: str = "",
    ) -> ContainerConfig:
        self._called("container", pod)
        return ContainerConfig(
            name=container["name"],
            attempt=attempt,
            image=image.id,
            user_image=container["image"],
            annotations={HASH: specs.identity(container)},
        )

    def awaits_services(self, pod: Json) -> bool:
        return self.services_awaited

    def resources(self, pod: Json, container: Json) -> Resources:
        return Resources(memory_limit_bytes=2**20)

    async def limit_pod(self, pod: Json, *, only_wider: bool = False) -> str:
        """Nothing here has cgroups."""
        return ""

    async def termination_message(self, pod: Json, container: Json, *, attempt: int) -> str:
        return ""

    def _called(self, name: str, pod: Json) -> None:
        self.calls.append(name)
        if name in self.failures:
            raise self.failures[name]


class World:
    """``async with World() as world``: an agent that runs until the end of the block."""

    def __init__(self) -> None:
        self.clock = SimClock(asyncio.get_running_loop())
        self.behaviours: dict[str, Behaviour] = {}
        self.exec_results: dict[str, Callable[[], ExecResult]] = {}
        self.device = MemoryDevice(self.clock, behaviour=self._behaves, execute=self._executes)
        self.desired = DesiredPods()
        self.facts = MemoryFacts()
        self.reports = RecordedReports()
        self.materials = PlainMaterials(self.device)
        self.windows: tuple[Window, ...] = ()
        self.pods: Pods | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> World:
        self.start_agent()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.kill_agent()
        await self.device.close()

    def start_agent(self) -> None:
        self.pods = Pods(
            runtime=MemoryRuntime(self.device),
            desired=self.desired,
            materials=self.materials,
            facts=self.facts,
            reports=self.reports,
            clock=self.clock,
            node=NODE,
            windows=self.windows,
        )
        self._task = asyncio.create_task(self.pods.run())

    async def kill_agent(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._task = self.pods = None

    async def restart_agent(self) -> None:
        await self.kill_agent()
        self.start_agent()

    def apply(self, pod: Json, *, grace: int | None = None) -> str:
        uid = specs.uid_of(pod)
        key = ObjectKey.of("Pod", pod)
        self.desired.wanted[uid] = Wanted(uid, key, pod, grace)
        self._tell(key)
        return uid

    def delete(self, uid: str, *, grace: int = 30) -> None:
        """As ``kubectl delete``: desired still, with a grace period."""
        self.apply(self.desired.wanted[uid].pod, grace=grace)

    def drop(self, uid: str) -> None:
        """It is not in the inventory any more."""
        self._tell(self.desired.wanted.pop(uid).key)

    def node_changed(self, node: NodeFacts) -> None:
        """As the agent tells it to who asks for it."""
        assert self.pods is not None
        self.materials.node_changed(node)
        self.pods.node_changed(node)

    def desired_changed(self, key: ObjectKey) -> None:
        """Something that is no pod has come."""
        assert self.pods is not None
        self.pods.changed({key})

    async def passes(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def status(self, uid: str) -> Json:
        return self.reports.by_uid[uid].status

    def phase(self, uid: str) -> str:
        return str(self.status(uid).get("phase"))

    def container(self, uid: str, name: str = "main") -> Json:
        groups = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
        every = [one for group in groups for one in self.status(uid).get(group, ())]
        return next(one for one in every if one["name"] == name)

    def condition(self, uid: str, name: str) -> Json:
        return next(one for one in self.status(uid)["conditions"] if one["type"] == name)

    def reasons(self, uid: str) -> list[str]:
        return [event.reason for event in self.reports.by_uid[uid].events]

    def messages(self, uid: str, reason: str) -> list[str]:
        return [one.message for one in self.reports.by_uid[uid].events if one.reason == reason]

    def processes(self, uid: str = "") -> list[Process]:
        return [
            process
            for pod in self.device.pods.values()
            for process in pod.containers.values()
            if uid in ("", pod.seen.uid)
        ]

    def running(self, uid: str = "") -> list[str]:
        return [one.seen.name for one in self.processes(uid) if _runs(one.seen)]

    def crash(self, uid: str, name: str = "main", *, exit_code: int = 1) -> None:
        for process in self.processes(uid):
            if process.seen.name == name and _runs(process.seen):
                self.device.kill(process.seen.id, exit_code=exit_code)

    def starts(self, name: str = "") -> list[str]:
        return [call for call in self.device.calls("start_container") if call.endswith(name)]

    def _tell(self, key: ObjectKey) -> None:
        if self.pods is not None:
            self.pods.changed({key})

    def _behaves(self, config: ContainerConfig) -> Behaviour:
        return self.behaviours.get(config.name, Behaviour())

    def _executes(self, config: ContainerConfig, command: Sequence[str]) -> ExecResult:
        answer = self.exec_results.get(command[0])
        return answer() if answer else ExecResult(0, b"", b"")


def _runs(container: Container) -> bool:
    return container.state is ContainerState.RUNNING
