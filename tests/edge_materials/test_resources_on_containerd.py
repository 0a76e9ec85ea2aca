"""Requests and limits as the kernel has them for pods on a real containerd.

Read from the device's own cgroup tree, because a container sees only its own. Values of both
versions are written down; a machine shows those of the version that it has.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from edgeagent.node.device import read_device
from edgeagent.pods.model import specs
from edgeagent.pods.resources import cgroups
from shared.objects import Json
from tests.edge_materials.device import NODE, Device, a_device, a_pod, printed, seen_by
from tests.parts.containerd import Containerd
from tests.parts.missing import refuse
from tests.runtime_contract.worlds import eventually

TOP = Path("/sys/fs/cgroup")
V2 = (TOP / "cgroup.controllers").exists()
MIB = 1024**2
HERE = replace(
    NODE,
    cgroup_version=2 if V2 else 1,
    swap_limits=read_device(TOP).swap_limits,
    allocatable={"cpu": Fraction(2)},
)
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


async def running(device: Device, whole: Json, *, name: str = "main") -> str:
    """Starts it and returns the path of its container's cgroup below that of the pod."""
    container_id = await device.start(whole, name=name)
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


async def test_a_pod_is_limited_before_its_sandbox_is_there(device: Device) -> None:
    whole = a_pod(RUNS, resources=BURSTABLE)
    path = cgroups.parent(whole, HERE.cgroup_driver)
    expected = {"cpu": as_shares(102), "quota": "50000", "memory": str(2048 * MIB)}
    await device.materials.before_sandbox(whole, device.events.append)
    assert not await device.runtime.list_sandboxes()
    assert shown(path) == expected
    assert shown("/kubepods/burstable")["cpu"] == as_shares(102)
    sandbox = device.materials.sandbox(
        whole, attempt=0, seen=0.0, first_id=0, record=device.events.append
    )
    await device.runtime.start_sandbox(sandbox)
    assert shown(path) == expected
    for folder in TOP.glob(path.lstrip("/") if V2 else f"*{path}"):
        assert [one for one in folder.iterdir() if one.is_dir()], f"{folder}: not the sandbox's"
    await device.materials.remove(whole)


async def test_the_runtime_learns_how_large_a_virtual_machine_has_to_be(
    device: Device, containerd: Containerd
) -> None:
    """containerd hands it on to runtimes such as Kata by annotations of the sandbox."""
    container_id = await device.start(a_pod(RUNS, resources=BURSTABLE))
    seen = await seen_by(device.runtime, container_id)
    info = json.loads(containerd.ctr("containers", "info", seen.sandbox_id))
    begins = "io.kubernetes.cri.sandbox-"
    told = {name.removeprefix(begins): one for name, one in info["Spec"]["annotations"].items()}
    assert told["memory"] == str(2048 * MIB)
    assert (told["cpu-shares"], told["cpu-quota"]) == ("102", "50000")


async def test_a_container_does_not_swap(device: Device) -> None:
    """Without a limit on memory only cgroup version 2 can see to that."""
    if not HERE.swap_limits:
        refuse("swap accounting", "this kernel does not count what is swapped")
    asking: list[Json] = [GUARANTEED, {}] if V2 else [GUARANTEED]
    for resources in asking:
        whole = a_pod(RUNS, resources=resources)
        path = (await running(device, whole)).lstrip("/")
        if V2:
            assert _text(TOP / path / "memory.swap.max") == "0"
        else:
            limit = _text(TOP / "memory" / path / "memory.memsw.limit_in_bytes")
            assert limit == str(32 * MIB)


async def test_a_guaranteed_pod_stands_beside_the_classes_with_what_it_asked_for(
    device: Device,
) -> None:
    path = await running(device, a_pod(RUNS, resources=GUARANTEED))
    assert path.startswith("/kubepods/pod")
    expected = {"cpu": as_shares(256), "quota": "25000", "memory": str(32 * MIB)}
    assert shown(path) == shown(path.rpartition("/")[0]) == expected
    assert shown("/kubepods")["cpu"] == as_shares(2048), "all that pods can have of the device"


TENTH = {"cpu": "100m", "memory": "32Mi"}
FREE: Json = {}


@pytest.mark.parametrize(
    ("level", "one", "other", "folder", "of_pod", "of_containers"),
    [
        pytest.param(
            {"requests": TENTH, "limits": TENTH}, FREE, FREE,
            "/kubepods/pod", (102, "10000", 32), [(102, "10000", 32)] * 2,
            id="a Guaranteed pod without limits of its containers",
        ),
        pytest.param(
            {"requests": TENTH, "limits": TENTH},
            {"requests": {"cpu": "50m"}, "limits": {"cpu": "60m", "memory": "16Mi"}}, FREE,
            "/kubepods/pod", (102, "10000", 32), [(51, "6000", 16), (102, "10000", 32)],
            id="a container keeps to its own limits",
        ),
        pytest.param(
            {"requests": {"cpu": "50m"}, "limits": TENTH}, {"requests": {"cpu": "20m"}}, FREE,
            "/kubepods/burstable/pod", (51, "10000", 32), [(20, "10000", 32), (102, "10000", 32)],
            id="a Burstable pod with limits",
        ),
        pytest.param(
            {"requests": TENTH}, {"limits": {"cpu": "50m", "memory": "16Mi"}}, FREE,
            "/kubepods/burstable/pod", (102, "", 0), [(51, "5000", 16), (2, "", 0)],
            id="requests alone limit nothing",
        ),
        pytest.param(
            {"requests": {"cpu": "300m"}}, {"limits": TENTH}, {"limits": TENTH},
            "/kubepods/burstable/pod", (307, "20000", 64), [(102, "10000", 32)] * 2,
            id="limits of all containers together where the pod names none",
        ),
    ],
)  # fmt: skip
async def test_what_a_pod_asks_for_as_a_whole_binds_all_its_containers_together(
    device: Device,
    level: Json,
    one: Json,
    other: Json,
    folder: str,
    of_pod: tuple[int, str, int],
    of_containers: list[tuple[int, str, int]],
) -> None:
    """Shares, quota and MiB of memory; what a container has none of is lent to it by its pod."""

    def as_shown(shares: int, quota: str, memory: int) -> dict[str, str]:
        bytes_of_memory = str(memory * MIB) if memory else ""
        return {"cpu": as_shares(shares), "quota": quota, "memory": bytes_of_memory}

    for name, of_container in zip(("main", "second"), of_containers, strict=True):
        whole = a_pod(RUNS, resources=one)
        first = whole["spec"]["containers"][0]
        whole["spec"]["containers"].append({**first, "name": "second", "resources": other})
        whole["spec"]["resources"] = level
        path = await running(device, whole, name=name)
        assert path.startswith(folder)
        assert shown(path.rpartition("/")[0]) == as_shown(*of_pod)
        assert shown(path) == as_shown(*of_container)


async def test_a_container_reads_the_limit_that_its_pod_lends_it(device: Device) -> None:
    """Downward API: its own limit, else the pod's, else what the node has."""
    names = ("limits.cpu", "limits.memory", "requests.cpu", "limits.ephemeral-storage")
    variables = [
        {"name": f"V{at}", "valueFrom": {"resourceFieldRef": {"resource": name, "divisor": "1"}}}
        for at, name in enumerate(names)
    ]
    device.materials.node_changed(
        replace(HERE, allocatable={"cpu": Fraction(2), "ephemeral-storage": Fraction(10**9)})
    )
    whole = a_pod("echo $V0 $V1 $V2 $V3", env=variables)
    whole["spec"]["resources"] = {"requests": {"cpu": "1"}, "limits": {"memory": "40Mi"}}
    assert printed(await device.ended(whole)) == [f"2 {40 * MIB} 0 1000000000"]


async def test_the_oom_score_goes_by_the_qos_class(device: Device) -> None:
    """This machine may not go below its own score; the formula itself is tested in memory."""
    floor = int(Path("/proc/self/oom_score_adj").read_text())
    for resources, score in (({}, 1000), (BURSTABLE, 750), (GUARANTEED, -997)):
        whole = a_pod(RUNS.partition(";")[0], resources=resources)
        assert printed(await device.ended(whole)) == [f"score={max(score, floor)}"]
    whole = a_pod(RUNS.partition(";")[0], resources={"requests": {"memory": "512Mi"}})
    whole["spec"]["containers"].append({"name": "free", "image": "none"})
    whole["spec"]["resources"] = {"requests": {"memory": "1536Mi"}}
    assert printed(await device.ended(whole)) == [f"score={max(750, floor)}"], (
        "half of what is left"
    )


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
