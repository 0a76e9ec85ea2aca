"""Requests and limits as the kernel has them for pods on a real containerd.

Read from the device's own cgroup tree, because a container sees only its own. Values of both
versions are written down; a machine shows those of the version that it has.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from edgeagent.pods import cgroups, specs
from shared.objects import Json
from tests.edge_materials.device import NODE, Device, a_device, a_pod, printed, seen_by
from tests.parts.containerd import Containerd
from tests.runtime_contract.worlds import eventually

TOP = Path("/sys/fs/cgroup")
V2 = (TOP / "cgroup.controllers").exists()
MIB = 1024**2
HERE = replace(NODE, cgroup_version=2 if V2 else 1, allocatable={"cpu": Fraction(2)})
RUNS = "echo score=$(cat /proc/self/oom_score_adj); exec sleep 3600"

QUARTER = {"cpu": "250m", "memory": "32Mi"}
GUARANTEED: Json = {"requests": QUARTER, "limits": QUARTER}
BURSTABLE: Json = {
    "requests": {"cpu": "100m", "memory": "1Gi"},
    "limits": {"cpu": "500m", "memory": "2Gi"},
}


@pytest.fixture
async def device(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Device]:
    async with a_device(containerd, tmp_path) as one:
        one.materials.node_changed(HERE)
        yield one


def shown(path: str) -> dict[str, str]:
    """Shares (weight), quota and memory limit of a cgroup; a value that limits nothing is empty."""
    if V2:
        folder = TOP / path.lstrip("/")
        return {
            "cpu": _text(folder / "cpu.weight"),
            "quota": _text(folder / "cpu.max").removesuffix(" 100000").removeprefix("max"),
            "memory": _text(folder / "memory.max").removeprefix("max"),
        }
    cpu, memory = TOP / "cpu" / path.lstrip("/"), TOP / "memory" / path.lstrip("/")
    limit = _text(memory / "memory.limit_in_bytes")
    return {
        "cpu": _text(cpu / "cpu.shares"),
        "quota": _text(cpu / "cpu.cfs_quota_us").removeprefix("-1"),
        "memory": "" if int(limit) > 1 << 60 else limit,
    }


def _text(path: Path) -> str:
    return path.read_text().strip()


def as_shares(shares: int) -> str:
    return str(cgroups.weight(shares)) if V2 else str(shares)


async def running(device: Device, whole: Json) -> str:
    """Starts it and returns the path of its container's cgroup below that of the pod."""
    container_id = await device.start(whole)
    await eventually(lambda: _has_printed(device, container_id))
    return f"{cgroups.parent(whole, HERE.cgroup_driver)}/{container_id}"


async def _has_printed(device: Device, container_id: str) -> list[str]:
    return printed(await seen_by(device.runtime, container_id))


async def test_a_pod_without_requests_is_best_effort_and_has_the_least_of_the_cpu(
    device: Device,
) -> None:
    path = await running(device, a_pod(RUNS))
    assert path.startswith("/kubepods/besteffort/pod")
    for level in (path, path.rpartition("/")[0], "/kubepods/besteffort"):
        assert shown(level) == {"cpu": as_shares(2), "quota": "", "memory": ""}


async def test_requests_and_limits_of_a_burstable_pod_bind_its_containers_and_the_pod(
    device: Device,
) -> None:
    """The pod is limited because all of its containers are; its class has the sum of requests."""
    whole = a_pod(RUNS, resources=BURSTABLE)
    path = await running(device, whole)
    assert path.startswith("/kubepods/burstable/pod")
    expected = {"cpu": as_shares(102), "quota": "50000", "memory": str(2048 * MIB)}
    assert shown(path) == shown(path.rpartition("/")[0]) == expected
    assert shown("/kubepods/burstable") == {"cpu": as_shares(102), "quota": "", "memory": ""}
    open_ended = a_pod(RUNS, resources=BURSTABLE)
    open_ended["spec"]["containers"].append({"name": "free", "image": "none"})
    device.active.append(whole)
    path = await running(device, open_ended)
    assert shown(path.rpartition("/")[0]) == {"cpu": as_shares(102), "quota": "", "memory": ""}
    assert shown("/kubepods/burstable")["cpu"] == as_shares(204), "both pods together"


async def test_a_guaranteed_pod_stands_beside_the_classes_with_what_it_asked_for(
    device: Device,
) -> None:
    path = await running(device, a_pod(RUNS, resources=GUARANTEED))
    assert path.startswith("/kubepods/pod")
    expected = {"cpu": as_shares(256), "quota": "25000", "memory": str(32 * MIB)}
    assert shown(path) == shown(path.rpartition("/")[0]) == expected
    assert shown("/kubepods")["cpu"] == as_shares(2048), "all that pods can have of the device"


async def test_the_oom_score_goes_by_the_qos_class(device: Device) -> None:
    """This machine may not go below its own score; the formula itself is tested in memory."""
    floor = int(Path("/proc/self/oom_score_adj").read_text())
    for resources, score in (({}, 1000), (BURSTABLE, 750), (GUARANTEED, -997)):
        whole = a_pod(RUNS.partition(";")[0], resources=resources)
        assert printed(await device.ended(whole)) == [f"score={max(score, floor)}"]


async def test_the_cgroup_of_a_pod_goes_with_it(device: Device) -> None:
    whole = a_pod(RUNS, resources=GUARANTEED)
    path = (await running(device, whole)).rpartition("/")[0].lstrip("/")
    folders = [TOP / path] if V2 else list(TOP.glob(f"*/{path}"))
    assert folders and all(one.is_dir() for one in folders)
    for sandbox in await device.runtime.list_sandboxes():
        if sandbox.uid == specs.uid_of(whole):
            await device.runtime.remove_sandbox(sandbox.id)
    await device.materials.remove(whole)
    assert not [one for one in folders if one.exists()]
