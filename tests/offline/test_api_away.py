"""The API server is away for a while: the device goes on, and what happened is written."""

from __future__ import annotations

import asyncio
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


async def test_what_happened_meanwhile_is_written_when_it_is_back(
    system: System, api_cable: Switch
) -> None:
    for name in ("stays", "crashes", "goes"):
        await system.create_pod(name)
    await system.running("stays", "crashes", "goes")
    before = container_of(system.view.pods["stays"])["containerID"]

    api_cable.cut()
    system.kill_container(container_of(system.view.pods["crashes"])["containerID"])
    await system.delete_pod("goes")
    await system.create_pod("comes")
    await asyncio.sleep(10)
    assert "there (" in await system.edgeagent("status"), "the hub is not gone for the device"
    assert restarts_of(system.view.pods["crashes"]) == 0

    api_cable.restore()
    await system.running("comes")
    await system.gone("goes")
    await system.view.until(
        "the restart is written",
        lambda: is_ready(pod := system.view.pods["crashes"]) and restarts_of(pod) == 1,
    )
    assert container_of(system.view.pods["stays"])["containerID"] == before
