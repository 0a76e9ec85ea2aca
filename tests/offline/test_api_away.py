"""The API server is away for a while: the device goes on, and what happened is written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from devcluster.containerd import Containerd
from devcluster.switch import Switch
from tests.parts.kubernetes import Cluster
from tests.parts.mosquitto import Mosquitto
from tests.parts.system import System, running_system
from tests.parts.view import container_of, is_ready, restarts_of


@pytest.fixture
async def api_cable(cloud: Cluster) -> AsyncIterator[Switch]:
    switch = Switch("127.0.0.1", int(cloud.url.rpartition(":")[2]))
    await switch.start()
    yield switch
    await switch.close()


@pytest.fixture
async def system(
    cloud: Cluster, api_cable: Switch, mosquitto: Mosquitto, mortal: Containerd, tmp_path: Path
) -> AsyncIterator[System]:
    """Only the hub's way to the API server goes over the cable; the test itself sees all."""
    own = cloud.kubeconfig_path.read_text()
    through = tmp_path / "kubeconfig"
    through.write_text(own.replace(cloud.url, f"https://127.0.0.1:{api_cable.port}"))
    async with running_system(
        kubeconfig=str(cloud.kubeconfig_path),
        broker=mosquitto,
        containerd=mortal,
        hub_options=["--kubeconfig", str(through)],
    ) as running:
        await running.node_is("True")
        yield running


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(10, id="some seconds"),
        pytest.param(300, id="five minutes", marks=pytest.mark.soak),
    ],
)
@pytest.mark.timeout(600)
async def test_what_happened_meanwhile_is_written_when_it_is_back(
    system: System, api_cable: Switch, seconds: float
) -> None:
    hub, agent = system.hub.pid, system.agent.pid
    for name in ("stays", "crashes", "goes"):
        await system.create_pod(name)
    await system.running("stays", "crashes", "goes")
    before = container_of(system.view.pods["stays"])["containerID"]

    api_cable.cut()
    system.kill_container(container_of(system.view.pods["crashes"])["containerID"])
    await system.delete_pod("goes")
    await system.create_pod("comes")
    over = time.monotonic() + seconds
    changes = 0
    while time.monotonic() < over:
        changes += 1
        await _comes_and_may_go(system, changes)
        await asyncio.sleep(seconds / 10)
    assert "there (" in await system.edgeagent("status"), "the hub is not gone for the device"
    assert restarts_of(system.view.pods["crashes"]) == 0

    assert "comes" not in await system.edgeagent("pods"), "the device cannot know of it"

    api_cable.restore()
    began = time.monotonic()
    await system.running("comes", within=90)
    await system.gone("goes")
    await system.in_step()
    print(f"API server away for {seconds} s: in step {time.monotonic() - began:.1f} s after it")
    await system.view.until(
        "the restart is written",
        lambda: is_ready(pod := system.view.pods["crashes"]) and restarts_of(pod) == 1,
    )
    assert container_of(system.view.pods["stays"])["containerID"] == before
    assert (hub, agent) == (system.hub.pid, system.agent.pid), "neither was to die"
    system.hub.check()
    system.agent.check()
    await system.node_is("True")


async def _comes_and_may_go(system: System, number: int) -> None:
    """Every third pod stays."""
    await system.create_pod(f"extra-{number}")
    if number % 3:
        await system.delete_pod(f"extra-{number}", grace=0)
