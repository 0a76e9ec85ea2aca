"""The device's disk goes read-only and back; the agent goes on, and writes again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machine.device import Cloud, last_words, process_of, running_of, set_up
from tests.parts.guest import Guest
from tests.parts.mosquitto import Mosquitto

pytestmark = pytest.mark.machine


@pytest.fixture(scope="module")
def device(guest: Guest, broker: Mosquitto, image_archive: Path) -> Iterator[Guest]:
    """The agent's data is on a file system that can be read-only by itself."""
    guest.sh("truncate -s 256M /machine/data.ext4; mkfs.ext4 -q /machine/data.ext4")
    guest.sh("mkdir -p /var/lib/kubetide; mount -o loop /machine/data.ext4 /var/lib/kubetide")
    set_up(guest, broker, image_archive)
    yield guest
    print(last_words(guest))


async def test_while_it_is_read_only_pods_run_on_and_afterwards_changes_are_kept(
    device: Guest, cloud: Cloud
) -> None:
    await cloud.node_is("True")
    await cloud.create_pod("calm")
    await cloud.ready("calm")
    process = await asyncio.to_thread(process_of, device, cloud.status_of("calm")["containerID"])
    agent = await asyncio.to_thread(device.sh, "systemctl show edgeagent -P MainPID")

    # An emergency remount, as of sysrq: files that are open for writing do not stand in its way.
    await asyncio.to_thread(device.sh, "echo u >/proc/sysrq-trigger; sleep 3")
    await asyncio.to_thread(device.until, "touch /var/lib/kubetide/x 2>&1 | grep -c Read-only", "1")
    await cloud.create_pod("late")
    await asyncio.sleep(30)
    assert await asyncio.to_thread(running_of, device, "calm") == 1
    assert await asyncio.to_thread(device.sh, "systemctl show edgeagent -P MainPID") == agent

    for place in ("/machine", "/var/lib/kubetide", "/"):
        await asyncio.to_thread(device.run, "mount", "-o", "remount,rw", place)
    await asyncio.to_thread(device.sh, "touch /var/lib/kubetide/x /machine/x")
    await cloud.ready("late")
    assert process == await asyncio.to_thread(
        process_of, device, cloud.status_of("calm")["containerID"]
    )
    await asyncio.to_thread(device.sh, "systemctl restart edgeagent", within=300)
    await cloud.node_is("True")
    await cloud.ready("calm", "late")
    assert cloud.status_of("late")["restartCount"] == 0
