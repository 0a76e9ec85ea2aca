"""What users and strangers get wrong: it is said where they look, and nothing else is harmed."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import urllib.request
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from cloudhub.kube.port import CONFIG_MAPS, EVENTS
from devcluster.containerd import Containerd
from devcluster.processes import Program
from shared.link import Broker, Connection, ConnectOptions
from shared.objects import Json, ObjectKey
from shared.paho_link import PahoLink
from shared.topics import Topics
from tests.parts import images
from tests.parts.kubernetes import Cluster
from tests.parts.mosquitto import Mosquitto
from tests.parts.system import System, running_system
from tests.parts.view import container_of, is_ready, phase_of, restarts_of

PACKET_LIMIT = 60_000
GARBAGE = (b"\0", b"garbage", b"\x01garbage", bytes(range(256)) * 10, b"\xff" * 40_000)


@pytest.fixture
async def system(
    embedded_kubernetes: Cluster, new_mosquitto: Callable[..., Mosquitto], containerd: Containerd
) -> AsyncIterator[System]:
    """Over a broker that takes no large packets."""
    async with running_system(
        kubeconfig=str(embedded_kubernetes.kubeconfig_path),
        broker=new_mosquitto(limits={"max_packet_size": str(PACKET_LIMIT)}),
        containerd=containerd,
    ) as running:
        await running.node_is("True")
        yield running


async def event(system: System, pod: str, *reasons: str) -> Json:
    """Wait for an Event of one of the reasons about the pod."""
    async with asyncio.timeout(60):
        while True:
            chosen = f"involvedObject.name={pod}"
            for one in await system.kube.list(EVENTS, namespace="default", field_selector=chosen):
                if one["reason"] in reasons:
                    return one
            await asyncio.sleep(0.3)


def with_main(**fields: object) -> list[Json]:
    command = ["sh", "-c", "trap 'exit 0' TERM; sleep 3600 & wait"]
    return [{"name": "main", "image": images.BUSYBOX, "command": command, **fields}]


async def test_of_two_agents_with_one_name_the_older_is_told_and_goes_on_when_it_is_alone(
    system: System,
) -> None:
    await system.agent.stop()
    system.agent.arguments[0] = "tests.parts.impatient_agent"
    await system.agent.start()
    await system.create_pod("bad-rival")
    await system.running("bad-rival")
    running = system.running_ids()
    rival = Program(
        "rival",
        [
            *("edgeagent", "run", "--node-name", system.node, "--mqtt", system.broker.url),
            *("--data-dir", str(system.folder / "rival"), "--log-dir", str(system.folder / "l2")),
            *("--runtime", f"cri:{system.containerd.address}"),
        ],
        log=system.folder / "rival.log",
    )
    await rival.start()
    try:
        status = ""
        async with asyncio.timeout(30):
            while "stopped acting: another agent has the name" not in status:
                await asyncio.sleep(0.3)
                status = await system.edgeagent("status")
        await asyncio.sleep(2)
        rival.check()
        system.agent.check()
        assert system.running_ids() == running
        assert is_ready(system.view.pods["bad-rival"])
        said = system.agent.log.read_text()
        assert said.count("give one of the two another node-name") == 1
        told = await event(system, system.node, "NodeNameNotUnique")
        assert "give one of the two another node-name" in told["message"]
    finally:
        await rival.stop()
    async with asyncio.timeout(90):
        while "link:     connected" not in status:
            await asyncio.sleep(1)
            status = await system.edgeagent("status")
    assert "another agent" not in status
    assert system.running_ids() == running
    await system.create_pod("bad-afterwards")
    await system.running("bad-afterwards")


async def test_a_field_that_is_not_supported_is_said_in_the_status_and_an_event(
    system: System,
) -> None:
    share = {"name": "share", "nfs": {"server": "192.0.2.1", "path": "/"}}
    await system.create_pod("bad-field", volumes=[share])
    await system.create_pod("good")
    pods = system.view.pods
    status = await system.view.until(
        "the pod is refused",
        lambda: phase_of(pods.get("bad-field")) == "Failed" and pods["bad-field"]["status"],
    )
    assert "nfs" in status["message"]
    told = await event(system, "bad-field", status["reason"])
    assert told["type"] == "Warning" and "nfs" in told["message"]
    await system.running("good")


async def test_a_config_map_over_the_brokers_limit_is_an_event_and_harms_nobody_else(
    system: System,
) -> None:
    noise = base64.b64encode(os.urandom(2 * PACKET_LIMIT)).decode()
    too_large = {"metadata": {"name": "bad-large"}, "data": {"noise": noise}}
    await system.create(CONFIG_MAPS, too_large)
    volumes = [{"name": "large", "configMap": {"name": "bad-large"}}]
    mounts = [{"name": "large", "mountPath": "/large"}]
    await system.create_pod("waits", containers=with_main(volumeMounts=mounts), volumes=volumes)
    told = await event(system, "waits", "TooLargeForBroker")
    assert told["type"] == "Warning" and "bad-large" in told["message"]
    await system.create_pod("other")
    await system.running("other")
    assert not is_ready(system.view.pods["waits"])
    await system.kube.patch(CONFIG_MAPS, "default", "bad-large", {"data": {"noise": "quiet"}})
    await system.running("waits")


async def test_a_pod_waits_for_what_it_names_says_so_and_starts_when_it_comes(
    system: System,
) -> None:
    reference = {"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "mode"}}}
    mounts = [{"name": "late", "mountPath": "/late"}]
    volumes = [{"name": "late", "configMap": {"name": "late"}}]
    await system.create_pod("bad-env", containers=with_main(env=[reference]))
    await system.create_pod("bad-mount", containers=with_main(volumeMounts=mounts), volumes=volumes)
    await system.view.until(
        "the status says why",
        lambda: (
            container_of(system.view.pods.get("bad-env"))
            .get("state", {})
            .get("waiting", {})
            .get("reason")
            == "CreateContainerConfigError"
        ),
    )
    assert '"late"' in (await event(system, "bad-mount", "FailedMount"))["message"]
    await system.create(CONFIG_MAPS, {"metadata": {"name": "late"}, "data": {"mode": "first"}})
    await system.running("bad-env", "bad-mount")
    assert read(system, "bad-mount", "/late/mode") == "first"
    await system.kube.patch(CONFIG_MAPS, "default", "late", {"data": {"mode": "second"}})
    async with asyncio.timeout(90):
        while read(system, "bad-mount", "/late/mode") != "second":
            await asyncio.sleep(0.3)
    assert restarts_of(system.view.pods["bad-mount"]) == 0


def read(system: System, pod: str, path: str) -> str:
    """What the container itself sees."""
    bare = container_of(system.view.pods[pod])["containerID"].removeprefix("containerd://")
    step = f"read-{uuid.uuid4().hex[:8]}"
    return system.containerd.ctr("tasks", "exec", "--exec-id", step, bare, "cat", path)


@asynccontextmanager
async def stranger(system: System) -> AsyncIterator[Connection]:
    link = PahoLink(Broker("127.0.0.1", system.broker.port))
    async with link.connect(ConnectOptions("stranger", True, 0, 60, 20)) as connection:
        yield connection


async def test_garbage_on_every_topic_is_counted_and_otherwise_nothing(system: System) -> None:
    await system.create_pod("bad-neighbour")
    await system.running("bad-neighbour")
    running = system.running_ids()
    ours = Topics().of(system.node)
    key = ObjectKey("Pod", "default", "bad-neighbour")
    topics = [ours.inventory, ours.change, ours.session, Topics().hub(), ours.desired(key)]
    topics += [ours.reported(key), f"{ours.base}/ask/token", f"{ours.base}/answer"]
    topics += [f"{ours.base}/desired/x", f"{ours.base}/reported/Pod/x", f"{ours.base}/elsewhere"]
    async with stranger(system) as connection:
        for topic in topics:
            for payload in GARBAGE:
                for retain in (False, True):
                    await connection.publish(topic, payload, retain=retain)
    await system.create_pod("after")
    await system.running("bad-neighbour", "after")
    await system.node_is("True")
    assert running <= system.running_ids()
    text = await asyncio.to_thread(metrics, system)
    counted = re.findall(r'kubetide_hub_rejected_messages_total{reason="[\w-]+"} (\d+)', text)
    assert sum(map(int, counted)) >= len(GARBAGE)
    assert "message rejected" in system.agent.log.read_text()
    await system.delete_pod("after")
    await system.gone("after")


def metrics(system: System) -> str:
    url = f"http://127.0.0.1:{system.metrics_port}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())
