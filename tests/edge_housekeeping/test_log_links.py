"""Log collectors find the logs of containers by links named as a kubelet names them."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgeagent.housekeeping.linking import LogLinks
from edgeagent.pods.held import HeldPod
from edgeagent.pods.logs import leftovers, loglinks
from edgeagent.pods.model.paths import PodPaths
from edgeagent.runtime.port import Container, ContainerState, Sandbox, SandboxState
from tests.edge_housekeeping.household import Hands, Pods, a_pod, at_once
from tests.edge_pods.device import OBEYS, Device, a_device, a_script
from tests.parts.containerd import Containerd

ID = "4f" * 32


@dataclass
class Disk:
    """The log folder of a device with a pod, whose container ``ID`` has written a log."""

    folder: Path

    def __post_init__(self) -> None:
        self.paths = PodPaths(self.folder / "data", self.folder / "pods")
        self.pod = a_pod()
        self.logs = self.paths.log_directory(self.pod)
        (self.logs / "main").mkdir(parents=True)
        (self.logs / "main" / "0.log").write_text("said")
        self.link = self.paths.links / f"web_default_main-{ID}.log"
        self.container = self.in_state(ContainerState.RUNNING)

    def in_state(self, state: ContainerState) -> Container:
        return Container(ID, "s", "main", 0, state, "", "", 0)

    def make(self) -> None:
        loglinks.make(self.paths, self.pod, "main", attempt=0, container_id=ID)

    def links(self) -> list[str]:
        return sorted(os.listdir(self.paths.links))

    async def mend(self, *containers: Container) -> None:
        box = Sandbox(
            "s", "web", "default", "uid-web", 0, SandboxState.READY, 0, containers=containers
        )
        pods = Pods([HeldPod("uid-web", self.pod, (box,))])
        await LogLinks(pods=pods, clock=Hands(), paths=self.paths, offload=at_once).look()


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


@pytest.fixture
async def device(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Device]:
    async with a_device(containerd, tmp_path) as one:
        yield one


def test_links_are_beside_the_logs() -> None:
    assert PodPaths(Path("/data")).links == Path("/var/log/containers")
    assert PodPaths(Path("/data"), Path("/disk/logs")).links == Path("/disk/containers")


async def test_a_link_that_cannot_be_made_keeps_no_other_step_away(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk.make()
    shutil.rmtree(disk.logs)

    def full(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(loglinks, "make", full)
    await disk.mend(disk.container)
    assert disk.links() == []


def test_a_link_is_named_as_a_kubelet_names_it_and_leads_to_the_log(disk: Disk) -> None:
    disk.make()
    disk.make()
    assert disk.links() == [f"web_default_main-{ID}.log"]
    assert os.readlink(disk.link) == f"{disk.logs}/main/0.log"


def test_a_long_name_is_cut_to_what_a_file_may_have(disk: Disk) -> None:
    pod = a_pod("p" * 200)
    link = loglinks.link_path(disk.paths, pod, "main", ID)
    assert len(link.name) == 255
    assert link.name == "p" * 200 + "_default_main-" + ID[:37] + ".log"


def test_without_a_log_there_is_no_link(disk: Disk) -> None:
    loglinks.make(disk.paths, disk.pod, "main", attempt=1, container_id=ID)
    assert not disk.paths.links.exists()


def test_a_collector_that_is_not_root_may_read_the_folder(disk: Disk) -> None:
    before = os.umask(0o077)
    try:
        disk.make()
    finally:
        os.umask(before)
    assert disk.paths.links.stat().st_mode & 0o777 == 0o755


def test_a_container_takes_its_link_with_it_and_no_other(disk: Disk) -> None:
    disk.make()
    (disk.logs / "main" / "1.log").touch()
    loglinks.make(disk.paths, disk.pod, "main", attempt=1, container_id="5e" * 32)
    leftovers.remove_files(disk.paths, disk.pod, disk.container)
    assert disk.links() == [f"web_default_main-{'5e' * 32}.log"]


def test_a_pod_takes_all_its_links_with_it(disk: Disk) -> None:
    disk.make()
    other = a_pod("other")
    (disk.paths.log_directory(other) / "main").mkdir(parents=True)
    (disk.paths.log_directory(other) / "main" / "0.log").touch()
    loglinks.make(disk.paths, other, "main", attempt=0, container_id=ID)
    leftovers.remove_logs(disk.paths, disk.pod)
    assert disk.links() == [f"other_default_main-{ID}.log"]
    assert not disk.logs.exists()


async def test_what_is_not_ours_stays(disk: Disk, tmp_path: Path) -> None:
    disk.paths.links.mkdir()
    disk.link.write_text("a file")
    elsewhere = disk.paths.links / "x_default_main-1.log"
    elsewhere.symlink_to(tmp_path / "none" / "main" / "0.log")
    beside = disk.paths.links / "y_default_main-1.log"
    beside.symlink_to(tmp_path / "pods-of-others" / "main" / "0.log")
    await disk.mend(disk.container)
    leftovers.remove_files(disk.paths, disk.pod, disk.container)
    leftovers.remove_logs(disk.paths, disk.pod)
    await disk.mend()
    assert disk.links() == sorted([disk.link.name, elsewhere.name, beside.name])
    assert disk.link.read_text() == "a file"


@pytest.mark.parametrize("state", [ContainerState.RUNNING, ContainerState.EXITED])
async def test_a_link_that_is_missing_is_made(disk: Disk, state: ContainerState) -> None:
    """The agent was killed behind the start, or is the first one that makes links."""
    await disk.mend(disk.in_state(state))
    assert disk.link.read_text() == "said"


async def test_a_dead_link_goes_when_the_folder_of_the_logs_is_gone(disk: Disk) -> None:
    disk.make()
    gone = disk.paths.links / f"gone_default_main-{ID}.log"
    gone.symlink_to(disk.paths.logs / "default_gone_uid-gone" / "main" / "0.log")
    (disk.logs / "main" / "0.log").rename(disk.logs / "main" / "0.log.20260101-000000")
    await disk.mend()
    assert disk.links() == [disk.link.name], "a log that is being rotated is back in a moment"


async def test_links_stay_while_the_disk_of_the_logs_is_away(disk: Disk) -> None:
    disk.make()
    disk.paths.logs.rename(disk.folder / "away")
    await disk.mend()
    assert disk.links() == [disk.link.name]


async def test_a_folder_that_cannot_be_written_keeps_nothing_from_going_on(disk: Disk) -> None:
    disk.paths.links.write_text("no folder")
    await disk.mend(disk.container)
    leftovers.remove_files(disk.paths, disk.pod, disk.container)
    leftovers.remove_logs(disk.paths, disk.pod)
    assert not disk.logs.exists()


async def test_on_containerd_a_link_lives_as_long_as_its_container(device: Device) -> None:
    uid = device.apply(a_script(f"echo said; {OBEYS}"))
    await device.until(lambda: device.obeys(uid))
    pod = device.desired.wanted[uid].pod
    container_id = device.container(uid)["containerID"].partition("://")[2]
    (name,) = os.listdir(device.paths.links)
    assert name == f"{pod['metadata']['name']}_default_main-{container_id}.log"
    await device.until(lambda: (device.paths.links / name).read_text().endswith(" F said\n"))
    device.delete(uid, grace=10)
    await device.until(lambda: device.finished(uid))
    device.drop(uid)
    await device.until(lambda: uid not in device.facts.records)
    assert os.listdir(device.paths.links) == []


async def test_on_containerd_each_container_has_a_link_before_its_hook_runs(
    device: Device,
) -> None:
    hook = {"postStart": {"exec": {"command": ["/bin/sleep", "3600"]}}}
    uid = device.apply(
        a_script(OBEYS, lifecycle=hook), initContainers=[a_script("echo first", "first")]
    )
    found: list[str] = []
    for _ in range(200):
        found = sorted(os.listdir(device.paths.links)) if device.paths.links.exists() else []
        if len(found) == 2:
            break
        await asyncio.sleep(0.1)
    assert [one.split("_")[2].rpartition("-")[0] for one in found] == ["first", "main"]
    assert not device.runs(uid), "the hook holds it up"
    device.delete(uid, grace=0)
    await device.until(lambda: device.finished(uid))
