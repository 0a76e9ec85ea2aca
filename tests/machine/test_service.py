"""The unit of ``deploy/systemd`` under a real systemd, from its first start to the device's end.

Each looks at pods of its own, on one device.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machine.device import (
    NODE,
    Cloud,
    eventually_running,
    last_words,
    process_of,
    running_of,
    set_up,
)
from tests.parts.guest import Guest
from tests.parts.mosquitto import Mosquitto
from tests.parts.view import container_of, ready_of

pytestmark = pytest.mark.machine

LINGERS = "trap 'sleep 2; date +%s >>/kept/ended; sync; exit 3' TERM; sleep 3600 & wait"

LOADED = "systemctl list-units --all --no-legend --plain 'kubepods*'"


@pytest.fixture(scope="module")
def device(guest: Guest, broker: Mosquitto, image_archive: Path) -> Iterator[Guest]:
    set_up(guest, broker, image_archive)
    yield guest
    print(last_words(guest))


def keeps(name: str) -> dict[str, object]:
    """Options of a pod that writes into a folder of the device when it is asked to stop."""
    volume = {"name": "kept", "hostPath": {"path": f"/machine/{name}", "type": "DirectoryOrCreate"}}
    return {"volumes": [volume]}


async def create_lingering(cloud: Cloud, name: str, **options: object) -> None:
    whole = {"command": ["/bin/sh", "-c", LINGERS], "grace": 20, **keeps(name), **options}
    await cloud.create_pod(name, mounts=[{"name": "kept", "mountPath": "/kept"}], **whole)


def slice_of(cloud: Cloud, name: str) -> str:
    uid = cloud.view.pods[name]["metadata"]["uid"].replace("-", "_")
    return f"kubepods-besteffort-pod{uid}.slice"


async def slices(device: Guest) -> set[str]:
    """The units of pods that systemd has loaded."""
    return {line.split()[0] for line in (await asyncio.to_thread(device.sh, LOADED)).splitlines()}


async def test_a_restart_of_the_service_leaves_containers_untouched(
    device: Guest, cloud: Cloud
) -> None:
    await cloud.node_is("True")
    await cloud.create_pod("calm")
    await cloud.ready("calm")
    before = cloud.status_of("calm")
    process = await asyncio.to_thread(process_of, device, before["containerID"])

    await asyncio.to_thread(device.sh, "systemctl restart edgeagent", within=300)
    await asyncio.to_thread(device.sh, "systemctl kill --signal=KILL edgeagent", within=300)
    state = "echo $(systemctl is-active edgeagent) $(systemctl show edgeagent -P NRestarts)"
    await asyncio.to_thread(device.until, state, "active 1", within=300)
    await cloud.node_is("True")
    after = cloud.status_of("calm")
    assert (after["containerID"], after["restartCount"]) == (before["containerID"], 0)
    assert await asyncio.to_thread(process_of, device, after["containerID"]) == process


async def test_pods_are_in_slices_of_their_class_outside_of_the_service(
    device: Guest, cloud: Cloud
) -> None:
    await cloud.create_pod("sliced")
    await cloud.ready("sliced")
    process = await asyncio.to_thread(process_of, device, cloud.status_of("sliced")["containerID"])
    cgroup = await asyncio.to_thread(device.sh, f"cat /proc/{process}/cgroup")
    assert cgroup.startswith("0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod")
    assert cgroup.endswith(".scope")


async def test_the_slice_of_a_pod_has_its_limits_before_any_container_and_keeps_them(
    device: Guest, cloud: Cloud
) -> None:
    """Whatever makes systemd write again what it knows."""
    whole = {"limits": {"cpu": "100m", "memory": "64Mi"}}
    await cloud.node_is("True")
    await cloud.create_pod("bare", image="kubetide.test/none:1", resources=whole)
    await cloud.view.until(
        "it has a sandbox",
        lambda: cloud.view.pods.get("bare", {}).get("status", {}).get("podIP"),
        within=300,
    )
    unit = slice_of(cloud, "bare").replace("-besteffort", "")
    shown = f"cd /sys/fs/cgroup/kubepods.slice/{unit}; echo $(cat memory.max cpu.max)"
    limited = f"{64 << 20} 10000 100000"
    assert await asyncio.to_thread(device.sh, shown) == limited
    await asyncio.to_thread(device.sh, "systemctl daemon-reload")
    assert await asyncio.to_thread(device.sh, shown) == limited
    await cloud.delete_pod("bare")
    await asyncio.to_thread(device.until, f"{LOADED} | grep -c '{unit}'", "0", within=300)


async def test_the_slice_of_a_pod_goes_with_it_and_no_other(device: Guest, cloud: Cloud) -> None:
    """Also that of a pod which has finished and is not deleted, as a Job's."""
    await cloud.create_pod("beside")
    await cloud.create_pod("leaves")
    await cloud.create_pod("finishes", command=["/bin/sleep", "60"], restartPolicy="Never")
    await cloud.ready("beside", "leaves", "finishes")
    beside, *gone = [slice_of(cloud, name) for name in ("beside", "leaves", "finishes")]
    assert {beside, *gone} <= await slices(device)
    await cloud.delete_pod("leaves")
    pattern = "|".join(gone)
    await asyncio.to_thread(device.until, f"{LOADED} | grep -cE '{pattern}'", "0", within=300)
    assert {"kubepods.slice", "kubepods-besteffort.slice", beside} <= await slices(device)
    assert "finishes" in cloud.view.pods
    assert cloud.status_of("beside")["restartCount"] == 0


async def test_a_reboot_stops_pods_gracefully_and_they_run_again_without_the_cloud(
    device: Guest, cloud: Cloud, broker: Mosquitto
) -> None:
    await create_lingering(cloud, "lingers")
    await cloud.create_pod("once", restartPolicy="Never")
    await cloud.ready("lingers", "once")
    locks = await asyncio.to_thread(device.sh, "systemd-inhibit --list --no-legend")
    assert "shutdown" in locks and "delay" in locks

    await asyncio.to_thread(device.run, "systemctl", "reboot")
    await cloud.view.until(
        "the cloud knows that once was stopped",
        lambda: cloud.view.pods["once"]["status"].get("reason") == "Terminated",
        within=120,
    )
    await asyncio.to_thread(device.wait_for_boot)
    broker.stop()
    await asyncio.to_thread(eventually_running, device, "lingers")
    assert await asyncio.to_thread(device.sh, "wc -l </machine/lingers/ended") == "1"
    assert await asyncio.to_thread(running_of, device, "once") == 0

    broker.start()
    await cloud.node_is("True")
    await cloud.ready("lingers")
    status = container_of(cloud.view.pods["lingers"])
    assert status["restartCount"] == 1
    assert status["lastState"]["terminated"]["exitCode"] == 3


async def test_after_a_poweroff_the_pods_run_again(device: Guest, cloud: Cloud) -> None:
    await create_lingering(cloud, "stays")
    await cloud.ready("stays")
    await asyncio.to_thread(device.run, "systemctl", "poweroff")
    await asyncio.to_thread(device.wait_for_off)
    await cloud.view.until("it is gone", lambda: ready_of(cloud.view.nodes[NODE]) != "True")
    await asyncio.to_thread(device.start)
    await cloud.node_is("True")
    await cloud.view.until(
        "it was restarted once",
        lambda: (
            container_of(cloud.view.pods["stays"])["restartCount"] == 1
            and cloud.status_of("stays")["ready"]
        ),
        within=300,
    )
    status = cloud.status_of("stays")
    assert status["lastState"]["terminated"]["exitCode"] == 3
