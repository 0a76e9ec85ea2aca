"""The whole agent over a broker and a container runtime in memory, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from edgeagent.app import Agent, Ports
from edgeagent.node.device import Device, Readings, Room
from edgeagent.pods.admission import refusals
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.model.view import Refusal
from edgeagent.runtime.memory import MemoryRuntime
from edgeagent.runtime.memory_device import MemoryDevice
from edgeagent.runtime.port import RuntimeAway, SandboxConfig
from edgeagent.settings import Settings
from edgeagent.store import FILE
from edgeagent.store.database import Database
from edgeagent.store.executor import InlineExecutor
from shared.clock import Clock
from shared.link import Broker
from shared.objects import NO_NAMESPACE, Json, ObjectKey
from shared.topics import Topics
from simulator.network import Path as Way
from tests.edge_pods.world import PlainMaterials
from tests.edge_session.conftest import Model
from tests.edge_session.rig import NODE, a_hub, pod, pod_key, until
from tests.parts.virtual_time import virtual


class Files(PlainMaterials):
    """Its containers do not care about the node; which one they were begun on is kept."""

    def __init__(self, containers: MemoryDevice) -> None:
        super().__init__(containers)
        self.begun_on: list[str] = []
        self.begun_with: list[Mapping[str, str]] = []
        """The RuntimeClasses that were known then."""

    def refusal(self, pod: Json) -> Refusal | None:
        return refusals.refusal(pod, [], self.node)

    def sandbox(self, pod: Json, **rest: Any) -> SandboxConfig:
        self.begun_on.append(self.node.runtime_version)
        self.begun_with.append(self.node.runtime_classes)
        return super().sandbox(pod, **rest)


class Machine:
    """A device with a disk and a runtime; agents come and go on it."""

    def __init__(self, model: Model, name: str = "a") -> None:
        self.model = model
        self.folder = model.folder / name
        self.clock: Clock = model.clock
        self.containers = MemoryDevice(self.clock)
        self.readings = Readings(addresses=("192.0.2.7",))
        self.ready = 0
        self.lines: list[str] = []
        self.static_pods: Path | None = None
        self.way: Way

    @asynccontextmanager
    async def agent(self) -> AsyncIterator[Agent]:
        link = self.model.link()
        self.way = self.model.ways[-1]
        settings = Settings(
            *(NODE, Broker("broker", 1883), Topics(), self.folder, self.folder / "logs", "memory"),
            static_pods=self.static_pods,
        )
        ports = Ports(
            link=link,
            runtime=MemoryRuntime(self.containers),
            clock=self.clock,
            database=Database(self.folder, executor=InlineExecutor()),
            rng=random.Random(str(self.folder)),
            device=Device(boot_id="boot-1", cpus=2, memory=1 << 30),
            look=lambda: self.readings,
            materials=lambda node, **rest: self._new_files(node),
            ready=self._is_ready,
            told=self.lines.append,
        )
        agent = Agent(settings, ports)
        task = asyncio.create_task(agent.run())
        await asyncio.sleep(0.1)
        try:
            yield agent
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _new_files(self, node: NodeFacts) -> Files:
        self.files = Files(self.containers)
        self.files.node_changed(node)
        return self.files

    def _is_ready(self) -> None:
        self.ready += 1

    def running(self) -> set[str]:
        """Names of pods with a container that runs."""
        return {
            sandbox.name
            for sandbox in (self.containers.inspected(one) for one in self.containers.pods.values())
            if any(one.state.value == "running" for one in sandbox.containers)
        }


@virtual
async def test_a_pod_is_run_and_reported(tmp_path: Path) -> None:
    model = Model(tmp_path)
    machine = Machine(model)
    async with a_hub(model.link()) as hub, machine.agent():
        await hub.want("web")
        await until(lambda: machine.running() == {"web"})
        await until(lambda: (hub.newest("web") or {}).get("phase") == "Running")
        await hub.want()
        await until(lambda: not machine.running(), within=60)


@virtual
async def test_what_is_stored_runs_before_there_is_any_link(tmp_path: Path) -> None:
    model = Model(tmp_path)
    machine = Machine(model)
    async with a_hub(model.link()) as hub, machine.agent():
        await hub.want("web", "db")
        await until(lambda: machine.running() == {"web", "db"})
    machine.containers.pods.clear()  # The device boots: the runtime has nothing.
    model.broker.crash()
    async with machine.agent():
        assert machine.ready == 2
        await until(lambda: machine.running() == {"web", "db"}, within=5)
        await until(lambda: "not connected" in machine.lines[-1], within=30)


@virtual
async def test_pods_are_begun_on_a_runtime_that_is_known(tmp_path: Path) -> None:
    """At boot it may come after the agent; by it go cgroups, handlers and refusals."""
    model = Model(tmp_path)
    machine = Machine(model)
    machine.containers.failures["info"] = [RuntimeAway("not there yet") for _ in range(4)]
    async with a_hub(model.link()) as hub, machine.agent():
        await hub.want("web")
        await until(lambda: machine.running() == {"web"})
    assert set(machine.files.begun_on) == {"1"}


@virtual
async def test_a_pod_begins_with_its_runtime_class_also_without_any_link(tmp_path: Path) -> None:
    model = Model(tmp_path)
    machine = Machine(model)
    key = ObjectKey("RuntimeClass", NO_NAMESPACE, "sandboxed")
    made = {"metadata": {"name": "sandboxed"}, "handler": "runsc"}
    async with a_hub(model.link()) as hub, machine.agent():
        await hub.want("plain")
        await until(lambda: machine.running() == {"plain"})
        assert machine.files.begun_with[0] == {}
        before = len(machine.files.begun_with)
        await hub.want("plain", "web", objects={key: made})
        await until(lambda: machine.running() == {"plain", "web"})
        assert machine.files.begun_with[before] == {"sandboxed": "runsc"}
    machine.containers.pods.clear()  # The device boots: the runtime has nothing.
    model.broker.crash()
    async with machine.agent():
        await until(lambda: machine.running() == {"plain", "web"})
        assert machine.files.begun_with[0] == {"sandboxed": "runsc"}


@virtual
async def test_a_taint_refuses_pods_that_come_and_stops_none_that_is_here(tmp_path: Path) -> None:
    """Not when the agent is started again, nor when the device boots without any link."""
    model = Model(tmp_path)
    machine = Machine(model)
    key = ObjectKey("Node", NO_NAMESPACE, NODE)
    taints = [{"key": "example.com/maintenance", "effect": "NoExecute"}]
    tainted = {key: {"metadata": {"name": NODE}, "spec": {"taints": taints}}}
    async with a_hub(model.link()) as hub, machine.agent():
        await hub.want("web")
        await until(lambda: machine.running() == {"web"})
        before = set(machine.containers.pods)
        await hub.want("web", objects=tainted)
        await asyncio.sleep(60)
        await hub.want("web", "late", objects=tainted)
        await until(lambda: (hub.newest("late") or {}).get("reason") == "TaintToleration")
        assert (hub.newest("late") or {})["phase"] == "Failed"
        assert set(machine.containers.pods) == before
    async with machine.agent():
        await asyncio.sleep(60)
        assert set(machine.containers.pods) == before
    machine.containers.pods.clear()  # The device boots: the runtime has nothing.
    model.broker.crash()
    async with machine.agent():
        await until(lambda: machine.running() == {"web"})


NODE_KEY = ObjectKey("Node", NO_NAMESPACE, NODE)


def labelled(**labels: str | None) -> dict[ObjectKey, Json]:
    return {NODE_KEY: {"metadata": {"name": NODE, "labels": labels}}}


def choosy(name: str, **selector: str) -> Json:
    made = pod(name)
    return {**made, "spec": {**made["spec"], "nodeSelector": selector}}


@virtual
async def test_labels_refuse_pods_that_come_and_stop_none_that_is_here(tmp_path: Path) -> None:
    """Not when the agent is started again, nor when the device boots without any link."""
    model = Model(tmp_path)
    machine = Machine(model)
    bodies = {"web": choosy("web", zone="b"), "able": choosy("able", zone="a")}
    bodies |= {"late": choosy("late", zone="b"), "blind": choosy("blind", gpu="yes")}
    async with a_hub(model.link()) as hub, machine.agent():
        await hub.want("web", bodies=bodies)
        await until(lambda: machine.running() == {"web"})
        first = set(machine.containers.pods)
        await hub.want("web", bodies=bodies, objects=labelled(zone="a", gpu=None))
        await asyncio.sleep(60)
        assert set(machine.containers.pods) == first
        await hub.want(*bodies, bodies=bodies, objects=labelled(zone="a", gpu=None))
        for name in ("late", "blind"):
            await until(lambda name=name: hub.newest(name))  # type: ignore[misc]
            status = hub.newest(name) or {}
            assert (status["phase"], status["reason"]) == ("Failed", "NodeAffinity")
            assert status["message"] == (
                "Pod was rejected: Predicate NodeAffinity failed:"
                " node(s) didn't match Pod's node affinity/selector"
            )
            told = [one for one in hub.reports[pod_key(name)] if one.events]
            assert [event.reason for event in told[-1].events] == ["NodeAffinity"]
        await until(lambda: machine.running() == {"web", "able"})
        before = set(machine.containers.pods)
        assert first < before
    async with machine.agent():
        await asyncio.sleep(60)
        assert set(machine.containers.pods) == before
    machine.containers.pods.clear()  # The device boots: the runtime has nothing.
    model.broker.crash()
    async with machine.agent():
        await until(lambda: machine.running() == {"web", "able"})


@virtual
async def test_labels_of_an_older_list_refuse_no_pod_of_a_newer_one(tmp_path: Path) -> None:
    """Those of the newer one are listed, and have not come."""
    model = Model(tmp_path)
    machine = Machine(model)
    bodies = {"wrong": choosy("wrong", zone="b"), "right": choosy("right", zone="b")}
    async with a_hub(model.link()) as hub, machine.agent():
        await hub.want("wrong", bodies=bodies, objects=labelled(zone="a"))
        await until(lambda: (hub.newest("wrong") or {}).get("reason") == "NodeAffinity")
        newer = labelled(zone="b", gpu=None)
        await hub.want(*bodies, bodies=bodies, objects=newer, ride=False, withheld=True)
        await hub.publish_bodies("right")
        await until(lambda: machine.running() == {"right"}, within=60)


@virtual
async def test_a_pod_that_comes_when_the_taint_is_gone_is_taken_up(tmp_path: Path) -> None:
    model = Model(tmp_path)
    machine = Machine(model)
    key = ObjectKey("Node", NO_NAMESPACE, NODE)
    taints = [{"key": "example.com/maintenance", "effect": "NoExecute"}]
    tainted = {key: {"metadata": {"name": NODE}, "spec": {"taints": taints}}}
    async with a_hub(model.link()) as hub, machine.agent():
        await hub.want("early", objects=tainted)
        await until(lambda: (hub.newest("early") or {}).get("reason") == "TaintToleration")
        await hub.want("early", "late")
        await until(lambda: machine.running() == {"late"})


@virtual
async def test_a_stop_leaves_the_containers_and_the_next_agent_adopts_them(tmp_path: Path) -> None:
    model = Model(tmp_path)
    machine = Machine(model)
    async with a_hub(model.link()) as hub:
        async with machine.agent():
            await hub.want("web")
            await until(lambda: machine.running() == {"web"})
        before = set(machine.containers.pods)
        assert machine.running() == {"web"}
        async with machine.agent():
            await asyncio.sleep(60)
            assert set(machine.containers.pods) == before


@virtual
async def test_with_a_lost_database_everything_goes_on_and_is_adopted(tmp_path: Path) -> None:
    model = Model(tmp_path)
    machine = Machine(model)
    async with a_hub(model.link()) as hub:
        async with machine.agent():
            await hub.want("web", "db")
            await until(lambda: machine.running() == {"web", "db"})
        before = set(machine.containers.pods)
        (machine.folder / FILE).write_bytes(b"rubbish" * 1000)
        model.broker.crash()
        async with machine.agent():
            await asyncio.sleep(120)
            assert machine.running() == {"web", "db"}
            model.broker.start()
            await asyncio.sleep(120)
            assert machine.running() == {"web", "db"}
            assert set(machine.containers.pods) == before


@virtual
async def test_a_rejected_pod_is_reported_and_the_others_run(tmp_path: Path) -> None:
    model = Model(tmp_path)
    machine = Machine(model)
    broken: dict[str, Any] = {**pod("bad"), "spec": {"containers": [{"image": "no name"}]}}
    async with a_hub(model.link()) as hub, machine.agent():
        await hub.want("bad", "web", bodies={"bad": broken})
        await until(lambda: machine.running() == {"web"})
        await until(lambda: hub.newest("bad"))
        report = hub.reports[pod_key("bad")][-1]
        assert report.status["phase"] == "Failed"
        assert report.status["reason"] == "InvalidPod"
        assert "without a name" in report.status["message"]
        assert [event.reason for event in report.events] == ["InvalidPod"]


@virtual
async def test_a_fenced_agent_leaves_its_pods_alone(tmp_path: Path) -> None:
    model = Model(tmp_path)
    older, newer = Machine(model, "a"), Machine(model, "b")
    async with a_hub(model.link()) as hub, older.agent():
        await hub.want("web")
        await until(lambda: older.running() == {"web"})
        async with newer.agent():
            await until(lambda: "stopped acting" in older.lines[-1])
            await until(lambda: newer.running() == {"web"})
            await hub.want()
            await until(lambda: not newer.running(), within=60)
            await asyncio.sleep(600)
            assert older.running() == {"web"}


@virtual
async def test_a_fenced_agent_goes_on_when_the_other_is_gone(tmp_path: Path) -> None:
    model = Model(tmp_path)
    older, newer = Machine(model, "a"), Machine(model, "b")
    async with a_hub(model.link()) as hub, older.agent():
        await hub.want("web")
        await until(lambda: older.running() == {"web"})
        async with newer.agent():
            await until(lambda: "stopped acting" in older.lines[-1])
            await until(lambda: newer.running() == {"web"})
        await hub.want("db")
        await asyncio.sleep(60)
        await until(lambda: older.running() == {"db"}, within=700)
        await until(lambda: older.lines[-1] == "connected")


@virtual
async def test_an_event_of_the_node_tells_that_its_name_is_not_unique(tmp_path: Path) -> None:
    model = Model(tmp_path)
    older, newer = Machine(model, "a"), Machine(model, "b")
    async with a_hub(model.link()) as hub, older.agent(), newer.agent():
        await asyncio.sleep(120)
        reports = hub.reports[ObjectKey("Node", NO_NAMESPACE, NODE)]
        told = [event for report in reports for event in report.events]
        words = {event.message for event in told if event.reason == "NodeNameNotUnique"}
        assert len(words) == 1
        assert "give one of the two another node-name" in words.pop()


@virtual
async def test_the_node_is_reported_once_and_again_when_it_changes(tmp_path: Path) -> None:
    model = Model(tmp_path)
    machine = Machine(model)
    async with a_hub(model.link()) as hub, machine.agent():
        key = ObjectKey("Node", NO_NAMESPACE, NODE)
        await until(lambda: key in hub.reports)
        reports = hub.reports[key]
        await asyncio.sleep(3600)
        assert len(reports) == 1
        assert reports[0].status["nodeInfo"]["containerRuntimeVersion"] == "memory://1"
        machine.readings = Readings(addresses=("192.0.2.8",), disk=Room(1000, 10))
        await until(lambda: len(reports) == 2, within=20)
        assert reports[1].status["addresses"][0]["address"] == "192.0.2.8"
        conditions = {one["type"]: one["status"] for one in reports[1].status["conditions"]}
        assert conditions["DiskPressure"] == "True"
        reasons = {event.reason for report in reports for event in report.events}
        assert {"NodeHasDiskPressure", "EvictionThresholdMet"} <= reasons
