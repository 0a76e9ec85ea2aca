"""Huge pages that a device has set aside, as processes of pods on a real containerd get them.

Skipped where the device has none, or its kernel no controller for them: ``make machine`` has both.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from edgeagent.pods.resources import cgroups
from shared.objects import Json
from tests.edge_pods.device import OBEYS, V2, Device, a_device, a_script
from tests.parts.containerd import Containerd

TOP = Path("/sys/fs/cgroup")
SET_ASIDE = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
PAGE = 2 << 20
MOUNT = [{"name": "huge", "mountPath": "/huge"}]
VOLUMES = [{"name": "huge", "emptyDir": {"medium": "HugePages-2Mi"}}]
TAKES = (
    "for n in 1 2 3 4; do fallocate -l 2M /huge/$1-$n 2>/dev/null && echo has $n; done; echo end"
)
"""Pages, one after the other, as many as it gets."""


def _has_controller() -> bool:
    if V2:
        return "hugetlb" in (TOP / "cgroup.controllers").read_text().split()
    return (TOP / "hugetlb").is_dir()


pytestmark = pytest.mark.skipif(
    not _has_controller() or not SET_ASIDE.exists() or int(SET_ASIDE.read_text()) < 8,
    reason="needs 8 huge pages of 2 MiB and the hugetlb controller",
)


@pytest.fixture
async def device(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Device]:
    async with a_device(containerd, tmp_path) as one:
        await one.kill_agent()
        room = {**one.node.allocatable, "hugepages-2Mi": Fraction(8 * PAGE)}
        one.node = replace(one.node, allocatable=room)
        one.start_agent()
        yield one


def taker(name: str, resources: Json) -> Json:
    text = f"set -- {name}; {TAKES}; {OBEYS}"
    return a_script(text, name, resources=resources, volumeMounts=MOUNT)


def pages(device: Device, uid: str) -> int:
    """That the pod may have as a whole."""
    path = Path(cgroups.parent(device.desired.wanted[uid].pod, "cgroupfs").lstrip("/"))
    file = path / "hugetlb.2MB.max" if V2 else Path("hugetlb") / path / "hugetlb.2MB.limit_in_bytes"
    return int((TOP / file).read_text()) // PAGE


def got(device: Device, uid: str, name: str = "main") -> int:
    """Pages that a container could take."""
    return sum(line.startswith("has ") for line in device.log(uid, name).splitlines())


async def test_a_pod_has_the_huge_pages_that_it_asks_for_and_no_more(device: Device) -> None:
    amounts = {"memory": "64Mi", "hugepages-2Mi": "4Mi"}
    one = taker("main", {"limits": amounts, "requests": amounts})
    uid = device.apply(one, volumes=VOLUMES)
    await device.until(lambda: device.log(uid).endswith("end"))
    assert (pages(device, uid), got(device, uid)) == (2, 2)


async def test_containers_share_the_huge_pages_that_their_pod_asks_for_as_a_whole(
    device: Device,
) -> None:
    level = {"limits": {"memory": "64Mi", "hugepages-2Mi": "6Mi"}}
    both = [taker("main", {}), taker("second", {})]
    uid = device.apply(*both, volumes=VOLUMES, resources=level)
    for name in ("main", "second"):
        await device.until(lambda name=name: device.log(uid, name).endswith("end"))  # type: ignore[misc]
    assert pages(device, uid) == 3
    assert got(device, uid) + got(device, uid, "second") == 3


async def test_a_pod_that_asks_for_none_gets_none(device: Device) -> None:
    amounts = {"memory": "64Mi", "hugepages-2Mi": "2Mi"}
    first = device.apply(taker("main", {"limits": amounts, "requests": amounts}), volumes=VOLUMES)
    await device.until(lambda: device.log(first).endswith("end"))
    uid = device.apply(a_script(OBEYS))
    await device.until(lambda: device.runs(uid))
    assert (pages(device, first), pages(device, uid)) == (1, 0)
