"""The device loses its power while there is no cloud: every pod comes back from what it stored."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.parts.system import System
from tests.parts.view import container_of, is_ready, restarts_of


@pytest.mark.parametrize("pods", [1, 10, pytest.param(50, marks=pytest.mark.soak)])
@pytest.mark.timeout(600)
async def test_every_pod_comes_back_without_the_cloud(system: System, pods: int) -> None:
    names = [f"web-{number}" for number in range(pods)]
    for name in names:
        await system.create_pod(name)
    await system.running(*names, within=180)
    first = {name: container_of(system.view.pods[name])["containerID"] for name in names}

    system.switch.cut()
    await system.agent.kill()
    await asyncio.to_thread(system.containerd.power_off)
    assert not system.view.pods["web-0"]["metadata"].get("deletionTimestamp")
    system.containerd.start()
    began = time.monotonic()
    await system.agent.start()
    async with asyncio.timeout(60 + 2 * pods):
        while len(system.running_ids()) < 2 * pods:
            await asyncio.sleep(0.05)
    print(f"agent start → {pods} pods running: {time.monotonic() - began:.2f} s")
    await system.status_says("not connected: ", f"{pods} wanted: {pods} Running")
    assert all(restarts_of(system.view.pods[name]) == 0 for name in names), "nobody could tell"

    system.switch.restore()
    await system.view.until(
        "the API knows of the reboot",
        lambda: all(is_ready(pod := system.view.pods[n]) and restarts_of(pod) == 1 for n in names),
        within=120,
    )
    for name in names:
        ended = container_of(system.view.pods[name])["lastState"]["terminated"]
        assert ended["containerID"] == first[name]
