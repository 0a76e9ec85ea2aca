"""What a crash left behind goes; what may be somebody's stays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from edgeagent.desired import Body, Desired, DesiredSet
from edgeagent.housekeeping.orphans import Orphans
from edgeagent.pods.model.paths import PodPaths
from edgeagent.runtime.memory import MemoryRuntime
from edgeagent.runtime.memory_device import MemoryDevice
from edgeagent.runtime.port import SandboxConfig
from shared import codec
from shared.clock import SystemClock
from shared.messages import Entry, Inventory
from shared.objects import ObjectKey
from tests.edge_housekeeping.household import Hands, Pods, at_once


@dataclass
class Listed:
    complete: bool = True


class Disk:
    def __init__(self, folder: Path) -> None:
        self.paths = PodPaths(folder / "data", folder / "logs")
        self.pods = Pods()
        self.listed = Listed()
        self.device = MemoryDevice(SystemClock())
        self.orphans = Orphans(
            MemoryRuntime(self.device),
            pods=self.pods,
            desired=self.listed,
            clock=Hands(),
            paths=self.paths,
            offload=at_once,
            cgroups=None,
        )

    def leave(self, uid: str) -> tuple[Path, Path]:
        """A pod's folder with a file in it, and its log folder."""
        volume = self.paths.volume(uid, "data")
        volume.mkdir(parents=True)
        (volume / "file").write_text("x")
        logs = self.paths.logs / f"default_web_{uid}" / "main"
        logs.mkdir(parents=True)
        (logs / "0.log").write_text("x")
        return self.paths.pod(uid), logs.parent


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


async def test_folders_and_logs_of_a_pod_that_nobody_knows_go(disk: Disk) -> None:
    folder, logs = disk.leave("lost")
    assert await disk.orphans.clean()
    assert not folder.exists()
    assert not logs.exists()


async def test_a_link_in_place_of_a_pods_logs_goes_alone(disk: Disk, tmp_path: Path) -> None:
    folder, logs = disk.leave("lost")
    logs.rename(tmp_path / "elsewhere")
    logs.symlink_to(tmp_path / "elsewhere")
    assert await disk.orphans.clean()
    assert not folder.exists()
    assert not logs.is_symlink()
    assert (tmp_path / "elsewhere" / "main" / "0.log").exists()


async def test_what_is_known_to_anybody_stays(disk: Disk) -> None:
    remembered, listed = disk.leave("remembered"), disk.leave("listed")
    disk.pods.remembered = {"remembered"}
    config = SandboxConfig("web", "default", "listed", 0, "web", "/logs")
    await MemoryRuntime(disk.device).start_sandbox(config)
    assert await disk.orphans.clean()
    for path in (*remembered, *listed):
        assert path.exists()


@pytest.mark.parametrize("missing", ["list", "memory", "runtime"])
async def test_without_all_the_evidence_nothing_goes(disk: Disk, missing: str) -> None:
    folder, logs = disk.leave("lost")
    if missing == "list":
        disk.listed.complete = False
    elif missing == "memory":
        disk.pods.adopted = False
    else:
        disk.device.go_away()
    assert not await disk.orphans.clean()
    assert folder.exists()
    assert logs.exists()


async def test_logs_of_somebody_elses_pods_are_left_alone(disk: Disk) -> None:
    foreign = disk.paths.logs / "kube-system_proxy_foreign"
    foreign.mkdir(parents=True)
    disk.leave("lost")
    assert await disk.orphans.clean()
    assert foreign.exists()


@pytest.mark.parametrize("name", ["..odd", "lost+found"])
async def test_a_name_that_is_no_uid_is_not_touched_and_not_looked_for_again(
    disk: Disk, name: str
) -> None:
    odd = disk.paths.pods / name
    odd.mkdir(parents=True)
    assert await disk.orphans.clean()
    assert odd.exists()


def test_a_list_is_complete_when_every_pod_in_it_is_here() -> None:
    key = ObjectKey("Pod", "default", "web")
    body = Body.of(
        codec.pack(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "web", "namespace": "default", "uid": "u1"},
                "spec": {"containers": [{"name": "main", "image": "app:1"}]},
            }
        )
    )
    desired = DesiredSet()
    assert not desired.complete, "no list is known"
    desired.replace(Desired(Inventory(1, {})))
    assert not desired.complete, "the folder of static pods was not read"
    desired.replace_static({}, known=True)
    assert desired.complete
    desired.replace(Desired(Inventory(2, {key: Entry(body.digest)})))
    assert not desired.complete, "its uid is not known"
    desired.replace(Desired(Inventory(2, {key: Entry(body.digest)}), {key: body}))
    assert desired.complete
    assert set(desired.pods()) == {"u1"}
    desired.replace(Desired(Inventory(3, {key: Entry(b"another" * 2)}), {key: body}))
    assert not desired.complete, "only an older body is here"
