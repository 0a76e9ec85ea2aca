"""On cgroup version 2 a container is killed whole when its memory is out, as a kubelet has it.

Needs version 2: elsewhere skipped, and shown by ``make machine``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.edge_materials.device import NODE, Device, a_device, a_pod, printed
from tests.parts.containerd import Containerd
from tests.parts.missing import refuse

V2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
CHILD_RUNS_OUT = "echo begins; tail /dev/zero; echo went on"


@pytest.fixture
async def device(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Device]:
    if not V2:
        refuse("cgroup version 2", "this kernel has version 1")
    async with a_device(containerd, tmp_path) as one:
        one.materials.node_changed(replace(NODE, cgroup_version=2))
        yield one


async def test_the_whole_container_is_killed_when_one_of_its_processes_has_no_memory(
    device: Device,
) -> None:
    limits = {"limits": {"memory": "16Mi"}}
    ended = await device.ended(a_pod(CHILD_RUNS_OUT, resources=limits))
    assert (ended.exit_code, ended.reason) == (137, "OOMKilled")
    assert printed(ended) == ["begins"]
