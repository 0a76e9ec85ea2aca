"""The volume of a claim on a real disk: checked, given to the pod's group, kept, never removed."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from edgeagent.pods.model.errors import MountError, PodTrouble
from edgeagent.pods.model.paths import PodPaths
from edgeagent.pods.model.podevents import PodEvent, warning
from edgeagent.pods.volumes import mounting, ownership
from edgeagent.pods.volumes.making import Volume, Volumes
from edgeagent.pods.volumes.mounts import mounts
from shared.objects import Json
from tests.edge_materials.claiming import DATA, MOUNTED, NODE_1, dying
from tests.edge_materials.making import (
    UID,
    Objects,
    SteppedClock,
    claim,
    container,
    persistent_volume,
    pod,
)

ROOT_ONLY = pytest.mark.skipif(not mounting.may_mount(), reason="changing owners needs root")


class Disk:
    """One device with volumes of claims on it."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "disk"
        self.data.mkdir()
        self.paths = PodPaths(folder / "data", folder / "logs")
        self.events: list[PodEvent] = []
        self.objects = Objects(
            claim(), persistent_volume(local={"path": str(self.data)}, nodeAffinity=None)
        )
        self.restart()

    def restart(self) -> None:
        """A new agent: it remembers nothing but what is on the disk."""
        self.volumes = Volumes(self.paths, SteppedClock())

    async def take(self, *, uid: str = UID, readonly: bool = False, **spec: Any) -> Volume:
        self.whole = pod(MOUNTED, metadata={"uid": uid}, volumes=[_data(readonly)], **spec)
        record = self.events.append
        await self.volumes.prepare(self.whole, self.objects, NODE_1, record=record)
        return self.volumes.located(self.whole)["v"]

    async def refused(self, **options: Any) -> str:
        with pytest.raises(PodTrouble) as raised:
            await self.take(**options)
        assert raised.value.event == "FailedMount"
        return str(raised.value)


def _data(readonly: bool) -> Json:
    return {**DATA, "persistentVolumeClaim": {"claimName": "data", "readOnly": readonly}}


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_a_local_volume_is_its_folder_itself(disk: Disk) -> None:
    assert await disk.take() == Volume("v", "local", str(disk.data))


async def test_a_local_path_must_exist(disk: Disk) -> None:
    disk.data.rmdir()
    assert await disk.refused() == (
        'MountVolume.NewMounter initialization failed for volume "pv-1" : path'
        f' "{disk.data}" does not exist'
    )
    disk.data.mkdir()
    assert (await disk.take()).path == str(disk.data)


async def test_a_local_path_must_be_a_folder(disk: Disk) -> None:
    disk.data.rmdir()
    disk.data.touch()
    assert "only directories are mounted on edge nodes" in await disk.refused()


@pytest.mark.parametrize("path", ["relative", "/a/../b", "/a\0"])
async def test_a_path_with_steps_back_is_refused(disk: Disk, path: str) -> None:
    for source in ("local", "hostPath"):
        disk.objects.put(persistent_volume(**{source: {"path": path}}))
        assert "invalid hostPath" in await disk.refused()


async def test_a_host_path_is_checked_and_made_by_its_type(disk: Disk) -> None:
    path = {"path": str(disk.data / "deeper"), "type": "Directory"}
    disk.objects.put(persistent_volume(hostPath=path))
    assert await disk.refused() == (
        f'MountVolume.SetUp failed for volume "pv-1" : hostPath type check failed: {path["path"]}'
        " is not a directory"
    )
    disk.objects.put(persistent_volume(hostPath={**path, "type": "DirectoryOrCreate"}))
    assert await disk.take() == Volume("v", "hostPath", path["path"])
    assert (disk.data / "deeper").is_dir()


async def test_nothing_of_a_claim_is_removed_with_its_pod(disk: Disk) -> None:
    (disk.data / "precious").write_text("x")
    await disk.take()
    await disk.volumes.remove(UID)
    assert not disk.paths.pod(UID).exists()
    assert (disk.data / "precious").read_text() == "x"
    assert disk.volumes.located(disk.whole) == {}


async def test_a_pod_keeps_its_volume_when_the_claim_is_gone(disk: Disk) -> None:
    """Another agent process, perhaps after a reboot; a pod that comes only now gets nothing."""
    await disk.take()
    disk.objects.drop(claim())
    disk.restart()
    assert (await disk.take()).path == str(disk.data)
    disk.objects.put(dying())
    assert (await disk.take()).path == str(disk.data)
    assert "PVC is being deleted" in await disk.refused(uid="new-pod")


async def test_a_volume_for_one_pod_is_for_one_at_a_time(disk: Disk) -> None:
    only = {"accessModes": ["ReadWriteOncePod"], "local": {"path": str(disk.data)}}
    disk.objects.put(persistent_volume(**only))
    await disk.take(uid="first")
    assert await disk.refused(uid="second") == (
        'MountVolume.SetUp failed for volume "pv-1" : volume uses the ReadWriteOncePod access mode'
        " and is already in use by another pod"
    )
    disk.restart()
    await disk.take(uid="first")
    await disk.volumes.remove("first")
    await disk.take(uid="second")


async def test_other_volumes_are_shared(disk: Disk) -> None:
    assert (await disk.take(uid="first")).path == (await disk.take(uid="second")).path


async def test_a_read_only_claim_is_mounted_read_only(disk: Disk) -> None:
    await disk.take(readonly=True)
    (found,) = mounts(
        disk.whole,
        MOUNTED,
        volumes=disk.volumes.located(disk.whole),
        environment={},
        node=NODE_1,
        paths=disk.paths,
    )
    assert (found.host_path, found.readonly) == (str(disk.data), True)


def tree(disk: Disk) -> list[Path]:
    (disk.data / "sub").mkdir(mode=0o700)
    (disk.data / "sub/file").write_text("x")
    (disk.data / "sub/file").chmod(0o600)
    return [disk.data, disk.data / "sub", disk.data / "sub/file"]


@ROOT_ONLY
async def test_a_local_volume_is_given_to_the_group_of_the_pod(disk: Disk) -> None:
    files = tree(disk)
    await disk.take(securityContext={"fsGroup": 4242})
    assert [one.stat().st_gid for one in files] == [4242] * 3
    assert [f"{mode(one):o}" for one in files] == ["2775", "2770", "660"]


@ROOT_ONLY
@pytest.mark.parametrize("policy", ["Always", None])
async def test_always_changes_all_of_it_for_every_pod(disk: Disk, policy: str | None) -> None:
    _, _, file = tree(disk)
    context = {"fsGroup": 4242, "fsGroupChangePolicy": policy}
    await disk.take(securityContext=context)
    os.chown(file, -1, 0)
    await disk.volumes.remove(UID)
    await disk.take(uid="next-pod", securityContext=context)
    assert file.stat().st_gid == 4242


@ROOT_ONLY
async def test_a_local_volume_that_another_pod_has_keeps_its_group(disk: Disk) -> None:
    """Whatever the policy: the first pod is at work on it. Another group is told of."""
    files = tree(disk)
    await disk.take(securityContext={"fsGroup": 4242})
    os.chown(files[2], -1, 7)
    await disk.take(uid="second", securityContext={"fsGroup": 4242})
    assert disk.events == []
    await disk.take(uid="third", securityContext={"fsGroup": 5000})
    assert [one.stat().st_gid for one in files] == [4242, 4242, 7]
    words = (
        "The requested fsGroup is 5000, but the volume pv-1 has GID 4242. The volume may not be"
        " shareable."
    )
    assert disk.events == [warning("AlreadyMountedVolume", words)]


@ROOT_ONLY
async def test_what_is_told_of_a_volume_is_told_though_another_one_fails(disk: Disk) -> None:
    await disk.take()
    other = container("other", volumeMounts=[{"name": "w", "mountPath": "/w"}])
    volumes = [DATA, {"name": "w", "nfs": {}}]
    whole = pod(MOUNTED, other, metadata={"uid": "second"}, volumes=volumes)
    whole["spec"]["securityContext"] = {"fsGroup": 5000}
    with pytest.raises(MountError):
        record = disk.events.append
        await disk.volumes.prepare(whole, disk.objects, NODE_1, record=record)
    assert [one.reason for one in disk.events] == ["AlreadyMountedVolume"]


@ROOT_ONLY
async def test_on_root_mismatch_looks_at_the_folder_itself_only(disk: Disk) -> None:
    _, _, file = tree(disk)
    context = {"fsGroup": 4242, "fsGroupChangePolicy": "OnRootMismatch"}
    await disk.take(securityContext=context)
    assert file.stat().st_gid == 4242
    os.chown(file, -1, 0)
    await disk.volumes.remove(UID)
    await disk.take(uid="next-pod", securityContext=context)
    assert file.stat().st_gid == 0
    await disk.volumes.remove("next-pod")
    disk.data.chmod(0o700)
    await disk.take(uid="third-pod", securityContext=context)
    assert file.stat().st_gid == 4242


@ROOT_ONLY
async def test_a_pod_that_has_its_volume_finds_it_as_it_left_it(disk: Disk) -> None:
    """An agent that restarts does not walk a disk that containers are at work on."""
    _, _, file = tree(disk)
    await disk.take(securityContext={"fsGroup": 4242})
    os.chown(file, -1, 7)
    disk.restart()
    await disk.take(securityContext={"fsGroup": 4242})
    assert file.stat().st_gid == 7


@ROOT_ONLY
async def test_what_is_mounted_read_only_and_what_is_the_hosts_keeps_its_owners(disk: Disk) -> None:
    files = tree(disk)
    await disk.take(readonly=True, securityContext={"fsGroup": 4242})
    await disk.volumes.remove(UID)
    disk.objects.put(persistent_volume(hostPath={"path": str(disk.data)}))
    await disk.take(uid="other", securityContext={"fsGroup": 4242})
    assert [one.stat().st_gid for one in files] == [0] * 3


@ROOT_ONLY
async def test_a_file_system_that_refuses_the_group_keeps_no_pod_from_its_volume(
    disk: Disk,
) -> None:
    """As FAT has none, NFS may refuse it, and a read-only one changes nothing."""
    mounting.tmpfs(disk.data, mode=0o755)
    try:
        (disk.data / "deep").mkdir()
        (disk.data / "deep/file").touch()
        remount = ["mount", "-o", "remount,ro", str(disk.data)]
        await asyncio.to_thread(subprocess.run, remount, check=True)
        disk.objects.put(persistent_volume(local={"path": str(disk.data)}))
        volume = await disk.take(securityContext={"fsGroup": 4242})
        assert volume.path == str(disk.data)
        assert (disk.data / "deep/file").stat().st_gid == 0
    finally:
        mounting.unmount_below(disk.data)


@ROOT_ONLY
def test_what_links_point_to_is_not_given_away(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    (outside / "shadow").touch(mode=0o600)
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "file").symlink_to(outside / "shadow")
    (inside / "folder").symlink_to(outside)
    (inside / "nowhere").symlink_to("gone")
    ownership.give(inside, 4242)
    assert [one.stat().st_gid for one in (outside, outside / "shadow")] == [0, 0]
    assert [mode(one) for one in (outside, outside / "shadow")] == [0o700, 0o600]
    assert (inside / "folder").lstat().st_gid == 4242


async def test_a_pod_keeps_the_group_of_its_volume_while_the_claim_is_being_deleted(
    disk: Disk,
) -> None:
    volume = persistent_volume(local={"path": str(disk.data)})
    volume["metadata"]["annotations"] = {"pv.beta.kubernetes.io/gid": "1234"}
    disk.objects.put(volume)
    assert (await disk.take()).group == 1234
    disk.restart()
    disk.objects.put(dying())
    assert (await disk.take()).group == 1234


@ROOT_ONLY
async def test_a_block_volume_must_be_a_block_device(disk: Disk, tmp_path: Path) -> None:
    raw = container(volumeDevices=[{"name": "v", "devicePath": "/dev/data"}])
    whole = pod(raw, volumes=[DATA])
    disk.objects.put(persistent_volume(local={"path": str(disk.data)}, volumeMode="Block"))
    with pytest.raises(MountError, match="is not a block device"):
        await disk.volumes.prepare(whole, disk.objects, NODE_1)
    try:
        os.mknod(tmp_path / "loop", 0o660 | stat.S_IFBLK, os.makedev(7, 0))
    except PermissionError:
        pytest.skip("this machine lets nobody make device nodes")
    (tmp_path / "link").symlink_to("loop")
    disk.objects.put(persistent_volume(local={"path": str(tmp_path / "link")}, volumeMode="Block"))
    await disk.volumes.prepare(whole, disk.objects, NODE_1)
    found = disk.volumes.located(whole)["v"]
    assert found == Volume("v", "local", str(tmp_path / "loop"), is_block=True)
