"""What must survive on a real device: the runtime's daemon dies, and the whole device reboots."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeagent.runtime.port import RuntimeAway, SandboxState
from tests.edge_pods.device import OBEYS, Device, a_device, a_script
from tests.parts.containerd import Containerd, new_containerd


@pytest.fixture(scope="module")
def mortal(image_archive: Path) -> Iterator[Containerd]:
    """A containerd of our own: it is killed here."""
    private = new_containerd(image_archive)
    yield private
    private.close()


async def answers(device: Device) -> None:
    while True:
        try:
            await device.runtime.list_sandboxes()
        except RuntimeAway:
            await asyncio.sleep(0.1)
        else:
            return


async def test_a_runtime_that_dies_restarts_no_container(
    mortal: Containerd, tmp_path: Path
) -> None:
    async with a_device(mortal, tmp_path) as device:
        stays, goes = device.apply(a_script(OBEYS)), device.apply(a_script(OBEYS))
        await device.until(lambda: device.runs(stays) and device.obeys(goes))
        before = device.container(stays)["containerID"]
        mortal.kill()
        comes = device.apply(a_script(OBEYS))
        device.delete(goes, grace=5)
        await asyncio.sleep(1.5)
        assert device.status(stays)["phase"] == "Running"
        mortal.start()
        await device.until(lambda: device.runs(comes) and device.finished(goes))
        assert device.ended(goes)["exitCode"] == 7
        assert device.container(stays)["containerID"] == before
        assert device.container(stays)["restartCount"] == 0


async def test_after_a_reboot_every_pod_runs_again(mortal: Containerd, tmp_path: Path) -> None:
    async with a_device(mortal, tmp_path) as device:
        uids = [device.apply(a_script(OBEYS)) for _ in range(3)]
        once = device.apply(a_script(OBEYS), restartPolicy="Never")
        await device.until(lambda: all(device.runs(uid) for uid in (*uids, once)))
        await device.kill_agent()
        mortal.power_off()
        mortal.start()
        await asyncio.wait_for(answers(device), 20)
        assert all(one.state is SandboxState.NOT_READY for one in await device.sandboxes())
        device.reports.by_uid.clear()
        device.start_agent()
        await device.until(lambda: all(device.runs(uid) for uid in uids))
        for uid in uids:
            assert device.container(uid)["restartCount"] == 1
            assert device.container(uid)["lastState"]["terminated"]["exitCode"] == 255
        await device.until(lambda: device.status(once).get("phase") == "Failed")
        assert device.ended(once)["reason"] == "Unknown"
