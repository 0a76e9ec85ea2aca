"""Containers find the Services of their namespace in their environment, also without the cloud."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest

from cloudhub.kube.port import SERVICES
from shared.objects import Json
from tests.parts.system import System
from tests.parts.view import container_of, restarts_of


@pytest.fixture
async def service(system: System) -> AsyncIterator[Json]:
    """Of a name of its own: tests share the API server."""
    name = f"db-{uuid.uuid4().hex[:6]}"
    spec = {"ports": [{"name": "sql", "port": 5432}]}
    made = await system.create(SERVICES, {"metadata": {"name": name}, "spec": spec})
    yield made
    uid = made["metadata"]["uid"]
    await system.kube.delete(SERVICES, "default", name, uid=uid, grace=0)


def variables(system: System, name: str) -> dict[str, str]:
    """What the container's first process was started with."""
    bare = container_of(system.view.pods[name])["containerID"].removeprefix("containerd://")
    return in_container(system, bare)


def in_container(system: System, bare: str) -> dict[str, str]:
    step = f"env-{uuid.uuid4().hex[:8]}"
    text = system.containerd.ctr(
        *("tasks", "exec", "--exec-id", step, bare, "cat", "/proc/1/environ")
    )
    return dict(one.split("=", 1) for one in text.split("\0") if "=" in one)


async def started_anew(system: System, name: str) -> str:
    """Kill the container; the id of the one that the device starts in its place."""
    old = container_of(system.view.pods[name])["containerID"].removeprefix("containerd://")
    before = system.running_ids()
    system.kill_container(old)
    async with asyncio.timeout(40):
        while not (new := system.running_ids() - before):
            await asyncio.sleep(0.1)
    return new.pop()


async def test_a_container_has_the_variables_of_services_that_exist_when_it_starts(
    system: System, service: Json
) -> None:
    prefix = service["metadata"]["name"].replace("-", "_").upper()
    address = service["spec"]["clusterIP"]
    await system.create_pod("web")
    await system.create_pod("alone", enableServiceLinks=False)
    await system.running("web", "alone")
    found = variables(system, "web")
    assert found[f"{prefix}_SERVICE_HOST"] == address
    assert found[f"{prefix}_SERVICE_PORT_SQL"] == "5432"
    assert found[f"{prefix}_PORT"] == f"tcp://{address}:5432"
    api = await system.kube.get(SERVICES, "default", "kubernetes")
    assert api is not None
    assert found["KUBERNETES_SERVICE_HOST"] == api["spec"]["clusterIP"]
    alone = variables(system, "alone")
    assert alone["KUBERNETES_SERVICE_HOST"] == api["spec"]["clusterIP"]
    assert not [name for name in alone if name.startswith(prefix)]


async def test_a_changed_service_restarts_nothing_and_serves_the_next_start_offline(
    system: System, service: Json
) -> None:
    name = service["metadata"]["name"]
    prefix = name.replace("-", "_").upper()
    await system.create_pod("web")
    await system.running("web")
    before = system.running_ids()
    ports = {"spec": {"ports": [{"name": "sql", "port": 5433, "protocol": "TCP"}]}}
    await system.kube.patch(SERVICES, "default", name, ports)
    await system.stores(f"Service/default/{name}", "5433")
    assert system.running_ids() == before
    assert variables(system, "web")[f"{prefix}_SERVICE_PORT"] == "5432"

    system.switch.cut()
    await system.node_is("Unknown")
    await system.agent.kill()
    await system.agent.start()
    new = await started_anew(system, "web")
    assert in_container(system, new)[f"{prefix}_SERVICE_PORT"] == "5433"
    system.switch.restore()
    await system.view.until(
        "the restart is known", lambda: restarts_of(system.view.pods["web"]) == 1
    )
