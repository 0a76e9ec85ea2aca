"""What a folder takes, whatever a pod puts into it."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from edgeagent.housekeeping import measuring
from edgeagent.housekeeping.measuring import Measuring, Size, count_processes, measure
from edgeagent.pods.held import HeldPod
from edgeagent.pods.model.paths import PodPaths
from edgeagent.pods.volumes import mounting
from edgeagent.runtime.memory import MemoryRuntime
from edgeagent.runtime.memory_device import MemoryDevice
from shared.clock import SystemClock
from tests.edge_housekeeping.household import a_pod, at_once

KIB = 1024


def taken(folder: Path) -> Size:
    return measure(folder, device=folder.stat().st_dev)


def test_files_count_by_what_they_take_on_the_disk(tmp_path: Path) -> None:
    empty = taken(tmp_path)
    (tmp_path / "deep/deeper").mkdir(parents=True)
    (tmp_path / "deep/deeper/file").write_bytes(b"x" * 64 * KIB)
    with (tmp_path / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 30)
    found = taken(tmp_path)
    assert 64 * KIB <= found.bytes - empty.bytes < 128 * KIB
    assert found.inodes - empty.inodes == 4


def test_a_file_with_two_names_counts_once_and_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/big").write_bytes(b"x" * 1024 * KIB)
    (tmp_path / "in/one").write_bytes(b"x" * 64 * KIB)
    os.link(tmp_path / "in/one", tmp_path / "in/two")
    (tmp_path / "in/away").symlink_to(tmp_path / "out")
    (tmp_path / "in/round").symlink_to(tmp_path / "in")
    found = taken(tmp_path / "in")
    assert found.bytes < 100 * KIB
    assert found.inodes == 4


def test_what_is_not_there_takes_nothing(tmp_path: Path) -> None:
    assert measure(tmp_path / "gone", device=1) == Size()


@pytest.mark.skipif(not mounting.may_mount(), reason="needs root to mount a tmpfs")
def test_other_file_systems_are_not_entered(tmp_path: Path) -> None:
    before = taken(tmp_path)
    (tmp_path / "memory").mkdir()
    mounting.tmpfs(tmp_path / "memory", mode=0o777)
    try:
        (tmp_path / "memory/file").write_bytes(b"x" * 64 * KIB)
        assert taken(tmp_path) == before
    finally:
        mounting.unmount_below(tmp_path)


def test_what_is_mounted_in_a_folder_is_not_even_asked_about(tmp_path: Path) -> None:
    """A file system whose server is away would not answer."""
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    before = taken(tmp_path)
    (mounted / "file").write_bytes(b"x" * 64 * KIB)
    found = measure(tmp_path, device=tmp_path.stat().st_dev, mounts={str(mounted)})
    assert found.inodes == before.inodes - 1
    assert found.bytes <= before.bytes
    assert measure(mounted, device=tmp_path.stat().st_dev, mounts={str(mounted)}) == Size()


def test_many_files_take_no_memory(tmp_path: Path) -> None:
    for number in range(20_000):
        os.mknod(tmp_path / f"a-file-with-a-long-name-{number:060}")
    tracemalloc.start()
    try:
        found = taken(tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.inodes == 20_001
    assert peak < 1024 * KIB, "their names alone have more than two megabytes"


async def test_a_pod_uses_its_emptydirs_and_its_logs(tmp_path: Path) -> None:
    paths = PodPaths(tmp_path / "data", tmp_path / "logs")
    pod = a_pod()
    pod["spec"]["volumes"] = [
        {"name": "x", "emptyDir": {}},
        {"name": "host", "hostPath": {"path": "/usr"}},
    ]
    folder = paths.volume("uid-web", "x")
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(b"x" * 64 * KIB)
    measured = Measuring(MemoryRuntime(MemoryDevice(SystemClock())), paths, at_once)
    (use,) = await measured.disk([HeldPod("uid-web", pod)])
    assert set(use.volumes) == {"x"}
    assert 64 * KIB <= use.of("ephemeral-storage") < 128 * KIB
    assert use.of("inodes") == 2


def test_processes_are_counted_by_their_cgroups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "PROC", tmp_path)
    groups = {
        "1": "0::/init.scope",
        "20": "4:pids:/kubepods/besteffort/podaa-1/c1",
        "21": "0::/kubepods.slice/kubepods-podaa_1.slice/cri-c2.scope",
        "30": "0::/kubepods/podbb-2/c3",
    }
    for number, text in groups.items():
        (tmp_path / number).mkdir()
        (tmp_path / number / "cgroup").write_text(text)
    assert count_processes(["aa-1", "bb-2", "cc-3"]) == {"aa-1": 2, "bb-2": 1, "cc-3": 0}


async def test_processes_are_counted_when_no_thread_can_be_made_any_more(tmp_path: Path) -> None:
    async def no_thread(_: object) -> None:
        raise RuntimeError("can't start new thread")

    paths = PodPaths(tmp_path / "data", tmp_path / "logs")
    measured = Measuring(MemoryRuntime(MemoryDevice(SystemClock())), paths, no_thread)
    (use,) = await measured.processes([HeldPod("uid-web", a_pod())])
    assert (use.uid, use.pids) == ("uid-web", 0)
