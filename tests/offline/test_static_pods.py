"""Static pods on a device that loses its power without the cloud, whatever became of the files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from devcluster.containerd import Containerd
from tests.parts.kubernetes import Cluster
from tests.parts.mosquitto import Mosquitto
from tests.parts.system import System, pod, running_system
from tests.parts.view import is_ready, restarts_of


@pytest.fixture
async def system(
    cloud: Cluster, mosquitto: Mosquitto, mortal: Containerd, tmp_path: Path
) -> AsyncIterator[System]:
    async with running_system(
        kubeconfig=str(cloud.kubeconfig_path),
        broker=mosquitto,
        containerd=mortal,
        agent_options=("--static-pods", str(tmp_path)),
    ) as running:
        await running.node_is("True")
        yield running


async def test_it_comes_back_from_a_broken_file_and_stays_what_it_was(
    system: System, tmp_path: Path
) -> None:
    for name in ("broken", "goes"):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(pod(name)))
    broken, goes = (f"{name}-{system.node}" for name in ("broken", "goes"))
    await system.running(broken, goes)
    first = system.view.pods[broken]["metadata"]["uid"]

    system.switch.cut()
    await system.agent.kill()
    await asyncio.to_thread(system.containerd.power_off)
    (tmp_path / "broken.yaml").write_text("spec: [")
    (tmp_path / "goes.yaml").unlink()
    system.containerd.start()
    await system.agent.start()
    await system.status_says("not connected", "1 wanted: 1 Running", "broken.yaml: not YAML")
    async with asyncio.timeout(60):
        while len(system.running_ids()) != 2:
            await asyncio.sleep(0.1)

    system.switch.restore()
    await system.gone(goes)
    await system.view.until(
        "the API knows of the reboot",
        lambda: is_ready(one := system.view.pods[broken]) and restarts_of(one) == 1,
    )
    assert system.view.pods[broken]["metadata"]["uid"] == first, "the mirror was right all the time"


async def test_an_agent_that_is_killed_leaves_it_running(system: System, tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text(yaml.safe_dump(pod("web")))
    await system.running(f"web-{system.node}")
    before = system.running_ids()
    await system.agent.kill()
    await system.agent.start()
    await asyncio.sleep(6)
    assert system.running_ids() == before
    assert restarts_of(system.view.pods[f"web-{system.node}"]) == 0
