"""The cgroup of a pod as its worker makes it and gives it back, on a real containerd.

What is written into it is in ``tests/edge_materials/test_resources_on_containerd.py``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edgeagent.pods.resources import cgroups
from tests.edge_pods.device import OBEYS, V2, Device, a_device, a_script
from tests.parts.containerd import Containerd

TOP = Path("/sys/fs/cgroup")
TOO_LITTLE = {"limits": {"cpu": "100m", "memory": "1Mi"}}
"""For the process that sets up a sandbox, or a container."""


@pytest.fixture
async def device(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Device]:
    async with a_device(containerd, tmp_path) as one:
        yield one


def folders(device: Device, uid: str) -> list[Path]:
    """The pod's cgroup, in every hierarchy that has it."""
    path = cgroups.parent(device.desired.wanted[uid].pod, "cgroupfs").lstrip("/")
    return list(TOP.glob(path if V2 else f"*/{path}"))


async def test_a_pod_without_memory_for_its_sandbox_gets_none(device: Device) -> None:
    """The limit is that of the pod, before anything of it runs."""
    uid = device.apply(a_script(OBEYS, resources=TOO_LITTLE))
    await device.until(lambda: "FailedCreatePodSandBox" in device.reasons(uid))
    (words, *_) = device.messages(uid, "FailedCreatePodSandBox")
    assert words.startswith("Failed to create pod sandbox: ")
    assert "memory" in words
    assert device.status(uid)["phase"] == "Pending"
    assert device.waits_for(uid) == "ContainerCreating"


@pytest.mark.parametrize("agent", ["the same agent", "the next agent"])
async def test_a_pod_whose_sandbox_never_started_leaves_no_cgroup(
    device: Device, agent: str
) -> None:
    uid = device.apply(a_script(OBEYS, resources=TOO_LITTLE))
    await device.until(lambda: "FailedCreatePodSandBox" in device.reasons(uid))
    made = folders(device, uid)
    assert made
    if agent == "the next agent":
        await device.kill_agent()
    device.delete(uid, grace=0)
    if agent == "the next agent":
        device.start_agent()
    await device.until(lambda: device.finished(uid))
    device.drop(uid)
    await device.until(lambda: uid not in device.facts.records)
    assert not [one for one in made if one.exists()]
