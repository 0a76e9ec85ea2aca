"""emptyDirs: on the disk, in memory and of huge pages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeagent.pods.volumes import mounting
from edgeagent.pods.volumes.making import memory_size
from tests.edge_materials.making import (
    NODE,
    container,
    pod,
)
from tests.edge_materials.volume_device import MOUNTS, ROOT_ONLY, Device, a_device, mode


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    yield from a_device(tmp_path)


async def test_an_empty_dir_is_empty_and_open_to_everybody(device: Device) -> None:
    made = await device.prepare({"name": "v", "emptyDir": {}})
    assert os.listdir(made["v"]) == []
    assert mode(made["v"]) == 0o777


async def test_an_empty_dir_keeps_its_files_when_containers_restart(device: Device) -> None:
    made = await device.prepare({"name": "v", "emptyDir": {}})
    (made["v"] / "kept").write_text("x")
    made["v"].chmod(0o700)  # the pod may do that
    again = await device.prepare({"name": "v", "emptyDir": {}})
    assert (again["v"] / "kept").read_text() == "x"
    assert mode(again["v"]) == 0o700


async def test_an_empty_dir_may_have_a_mode(device: Device) -> None:
    made = await device.prepare({"name": "v", "emptyDir": {"mode": 0o1700}})
    assert mode(made["v"]) == 0o1700


@ROOT_ONLY
async def test_an_empty_dir_belongs_to_the_group_of_the_pod(device: Device) -> None:
    made = await device.prepare({"name": "v", "emptyDir": {}}, securityContext={"fsGroup": 4242})
    assert made["v"].stat().st_gid == 4242
    assert mode(made["v"]) == 0o2777


@ROOT_ONLY
async def test_an_empty_dir_in_memory_is_a_file_system_of_its_size(device: Device) -> None:
    wanted = {"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}
    made = await device.prepare(wanted, securityContext={"fsGroup": 4242})
    assert mounting.is_mounted(made["v"])
    assert os.statvfs(made["v"]).f_blocks * os.statvfs(made["v"]).f_frsize == 1024**2
    assert (mode(made["v"]), made["v"].stat().st_gid) == (0o3777, 4242)
    (made["v"] / "f").write_bytes(b"x" * 1024**2)
    with pytest.raises(OSError, match="No space left"), (made["v"] / "g").open("wb") as more:
        more.write(b"x" * 10_000)
    await device.prepare(wanted)
    assert mounting.mount_points().count(str(made["v"])) == 1
    (made["v"] / "f").unlink()


def test_the_size_in_memory_is_the_least_of_limit_pod_and_node() -> None:
    limited = container(resources={"limits": {"memory": "64Mi"}})
    assert memory_size({}, pod(), NODE) == 4 * 1024**3
    assert memory_size({}, pod(limited), NODE) == 64 * 1024**2
    assert memory_size({"sizeLimit": "1Mi"}, pod(limited), NODE) == 1024**2


HUGE_2M = {"limits": {"hugepages-2Mi": "4Mi"}}
HAS_HUGE_PAGES = pytest.mark.skipif(
    not mounting.may_mount() or not Path("/sys/kernel/mm/hugepages/hugepages-2048kB").is_dir(),
    reason="needs root and a kernel with huge pages of 2 MiB",
)


@HAS_HUGE_PAGES
@pytest.mark.parametrize("medium", ["HugePages", "HugePages-2Mi"])
@pytest.mark.parametrize("of_the_pod", [False, True])
async def test_an_empty_dir_of_huge_pages_has_those_that_the_pod_asks_for(
    device: Device, medium: str, of_the_pod: bool
) -> None:
    """Pages need not have been set aside for the folder to be there."""
    asks = {"resources": HUGE_2M}
    level = asks if of_the_pod else {}
    containers = {"containers": [container(**MOUNTS, **({} if of_the_pod else asks))]}
    wanted = {"name": "v", "emptyDir": {"medium": medium, "sizeLimit": "3Mi"}}
    made = await device.prepare(wanted, **containers, **level)
    assert mounting.is_mounted(made["v"])
    found = os.statvfs(made["v"])
    assert (found.f_bsize, found.f_blocks) == (2 << 20, 2), "the limit, in whole pages"
    assert (mode(made["v"]), made["v"].stat().st_gid) == (0o755, 0)
    await device.prepare(wanted, **containers, **level)
    assert mounting.mount_points().count(str(made["v"])) == 1


@HAS_HUGE_PAGES
async def test_an_empty_dir_of_huge_pages_belongs_to_the_group_of_the_pod(device: Device) -> None:
    made = await device.prepare(
        {"name": "v", "emptyDir": {"medium": "HugePages"}},
        containers=[container(**MOUNTS, resources=HUGE_2M)],
        securityContext={"fsGroup": 4242},
    )
    assert (mode(made["v"]), made["v"].stat().st_gid) == (0o2775, 4242)


@ROOT_ONLY
@pytest.mark.parametrize(
    ("medium", "sizes", "words"),
    [
        ("HugePages", [], "medium HugePages: hugePages storage requested, but there is no resource"
         " request for huge pages"),
        ("HugePages-1Gi", ["2Mi"], "medium HugePages-1Gi: hugePages storage requested, but there is"
         " no resource request for huge pages"),
        ("HugePages", ["2Mi", "1Gi"], "medium: HugePages can't be used if container requests"
         " multiple huge page sizes"),
        ("HugePages", ["64Mi"], "the kernel has no huge pages of 64Mi: Invalid argument"),
        ("Paper", [], "emptyDir medium Paper is not supported on this node"),
    ],
)  # fmt: skip
async def test_huge_pages_that_the_pod_does_not_ask_for_or_the_kernel_has_not_are_refused(
    device: Device, medium: str, sizes: list[str], words: str
) -> None:
    limits = {f"hugepages-{size}": "1Gi" for size in sizes}
    whole = {"containers": [container(**MOUNTS, resources={"limits": limits})]}
    message = await device.refused({"name": "v", "emptyDir": {"medium": medium}}, **whole)
    assert message == f'MountVolume.SetUp failed for volume "v" : {words}'
