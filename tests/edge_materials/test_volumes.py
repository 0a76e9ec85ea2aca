"""Volumes on a real disk: made of what the pod names, kept in step with it, and removed."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeagent.pods.model.errors import ContentsError, MountError
from edgeagent.pods.model.paths import PodPaths
from edgeagent.pods.volumes import mounting
from edgeagent.pods.volumes.making import Volumes
from edgeagent.pods.volumes.removing import StillMounted, remove
from shared.errors import PermanentError
from tests.edge_materials.making import (
    NODE,
    UID,
    SteppedClock,
    config_map,
    container,
    pod,
    secret,
)
from tests.edge_materials.volume_device import (
    MOUNTS,
    ROOT_ONLY,
    Device,
    a_device,
    mode,
    mounted,
    text_of,
)
from tests.parts.small_disk import SmallDisk


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    yield from a_device(tmp_path)


# hostPath


@pytest.mark.parametrize(
    ("kind", "place", "words"),
    [
        ("FileOrCreate", "no/file", "open {}/no/file: no such file or directory"),
        ("DirectoryOrCreate", "file/no", "mkdir {}/file/no: not a directory"),
    ],
)
async def test_what_is_not_to_be_created_says_which_and_why(
    device: Device, tmp_path: Path, kind: str, place: str, words: str
) -> None:
    (tmp_path / "file").touch()
    path = f"{tmp_path}/{place}"
    message = await device.refused({"name": "v", "hostPath": {"path": path, "type": kind}})
    assert message == f'MountVolume.SetUp failed for volume "v" : {words.format(tmp_path)}'


async def test_a_host_path_without_type_is_taken_as_it_is(device: Device, tmp_path: Path) -> None:
    made = await device.prepare({"name": "v", "hostPath": {"path": str(tmp_path / "absent")}})
    assert made["v"] == tmp_path / "absent"
    assert not made["v"].exists()


@pytest.mark.parametrize(
    ("kind", "there", "words"),
    [
        ("Directory", "file", "is not a directory"),
        ("Directory", "absent", "is not a directory"),
        ("Directory", "file/below", "is not a directory"),
        ("DirectoryOrCreate", "file", "is not a directory"),
        ("File", "folder", "is not a file"),
        ("File", "absent", "is not a file"),
        ("File", "file/below", "is not a file"),
        ("FileOrCreate", "folder", "is not a file"),
        ("Socket", "file", "is not a socket file"),
        ("CharDevice", "file", "is not a character device"),
        ("BlockDevice", "file", "is not a block device"),
    ],
)
async def test_a_host_path_must_be_of_its_type(
    device: Device, tmp_path: Path, kind: str, there: str, words: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    path = tmp_path / there
    message = await device.refused({"name": "v", "hostPath": {"path": str(path), "type": kind}})
    assert message == (
        f'MountVolume.SetUp failed for volume "v" : hostPath type check failed: {path} {words}'
    )


async def test_a_host_path_of_the_right_type_is_taken(device: Device, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        await device.prepare({"name": "v", "hostPath": {"path": str(path), "type": "Socket"}})
    await device.prepare({"name": "v", "hostPath": {"path": "/dev/null", "type": "CharDevice"}})


async def test_a_host_path_is_made_when_that_was_asked_for(device: Device, tmp_path: Path) -> None:
    """With the folders above it, whatever the umask of the agent; what is there stays as it is."""
    there, file = _made(tmp_path / "there"), tmp_path / "c"
    there.chmod(0o710)
    before = os.umask(0o077)
    try:
        await device.prepare(
            {"name": "d", "hostPath": {"path": f"{there}/a/b", "type": "DirectoryOrCreate"}},
            {"name": "f", "hostPath": {"path": str(file), "type": "FileOrCreate"}},
        )
    finally:
        os.umask(before)
    assert [mode(there / name) for name in (".", "a", "a/b")] == [0o710, 0o755, 0o755]
    assert (file.is_file(), mode(file)) == (True, 0o644)


@pytest.mark.parametrize("path", ["relative", "/a/../b", "/a\0b", ""])
async def test_a_host_path_that_is_none_is_refused(device: Device, path: str) -> None:
    assert "invalid hostPath" in await device.refused({"name": "v", "hostPath": {"path": path}})


# configMap, secret


async def test_a_config_map_becomes_files_and_follows_its_object(device: Device) -> None:
    device.objects.put(config_map("c", a="1"))
    wanted = {"name": "v", "configMap": {"name": "c"}}
    made = await device.prepare(wanted)
    assert (made["v"] / "a").read_text() == "1"
    assert await device.volumes.refresh(pod(volumes=[wanted]), device.objects, NODE) == ()
    device.objects.put(config_map("c", a="2", b="3"))
    assert await device.volumes.refresh(pod(volumes=[wanted]), device.objects, NODE) == ("v",)
    assert ((made["v"] / "a").read_text(), (made["v"] / "b").read_text()) == ("2", "3")


async def test_a_missing_object_fails_the_mount_in_a_kubelets_words(device: Device) -> None:
    message = await device.refused({"name": "v", "configMap": {"name": "y"}})
    assert message == 'MountVolume.SetUp failed for volume "v" : configmap "y" not found'
    message = await device.refused({"name": "v", "secret": {"secretName": "y"}})
    assert message == 'MountVolume.SetUp failed for volume "v" : secret "y" not found'


async def test_a_pod_that_has_its_files_keeps_them_when_the_object_goes(device: Device) -> None:
    kept = config_map("c", a="1")
    device.objects.put(kept)
    wanted = {"name": "v", "configMap": {"name": "c"}}
    await device.prepare(wanted)
    device.objects.drop(kept)
    made = await device.prepare(wanted)
    assert (made["v"] / "a").read_text() == "1"


GOES = {"name": "goes", "configMap": {"name": "c"}}
STAYS = {"name": "stays", "configMap": {"name": "d"}}


async def test_an_object_that_is_gone_stops_no_other_update(device: Device) -> None:
    gone = config_map("c", a="1")
    device.objects.put(gone, config_map("d", a="1"))
    made = await device.prepare(GOES, STAYS)
    device.objects.drop(gone)
    device.objects.put(config_map("d", a="2"))
    with pytest.raises(ContentsError, match='"goes" : configmap "c" not found'):
        await device.volumes.refresh(pod(volumes=[GOES, STAYS]), device.objects, NODE)
    assert [(made[name] / "a").read_text() for name in ("goes", "stays")] == ["1", "2"]


async def test_every_volume_that_cannot_be_made_is_told_of(device: Device) -> None:
    told: list[str] = []
    whole = pod(volumes=[GOES, STAYS])
    with pytest.raises(MountError, match='"goes" : configmap "c" not found'):
        await device.volumes.prepare(
            whole, device.objects, NODE, record=lambda event: told.append(event.message)
        )
    assert told == ['MountVolume.SetUp failed for volume "stays" : configmap "d" not found']


async def test_of_a_volume_that_no_container_uses_nothing_is_made_and_nothing_must_be_there(
    device: Device, tmp_path: Path
) -> None:
    host = {"name": "h", "hostPath": {"path": str(tmp_path / "h"), "type": "DirectoryOrCreate"}}
    used = {"name": "v", "emptyDir": {}}
    made = await device.prepare(GOES, host, used, containers=[container(**MOUNTS)])
    assert set(made) == {"v"}
    assert not (tmp_path / "h").exists()


async def test_a_volume_is_used_by_mounts_and_devices_of_containers_of_every_kind(
    device: Device,
) -> None:
    """Not by variables: who takes them from a file of a volume that is not there says so."""
    file = {"volumeName": "f", "path": "p", "key": "k"}
    whole = pod(
        container(env=[{"name": "X", "valueFrom": {"fileKeyRef": file}}]),
        container(volumeDevices=[{"name": "d", "devicePath": "/dev/x"}]),
        initContainers=[container(volumeMounts=[{"name": "i", "mountPath": "/i"}])],
        ephemeralContainers=[container(volumeMounts=[{"name": "e", "mountPath": "/e"}])],
        volumes=[{"name": name, "emptyDir": {}} for name in "fdiex"],
    )
    assert set(await device.volumes.prepare(whole, device.objects, NODE)) == set("die")


async def test_a_volume_that_cannot_be_made_stops_no_other(device: Device) -> None:
    device.objects.put(config_map("d", a="1"))
    with pytest.raises(MountError, match='"goes" : configmap "c" not found'):
        await device.prepare(GOES, STAYS)
    assert text_of(f"{device.paths.volume(UID, 'stays')}/a") == "1"


async def test_what_the_disk_did_not_take_is_told_before_what_objects_lack(
    device: Device, small_disk: SmallDisk
) -> None:
    """Of the two only the first is mended by another try."""
    gone = config_map("c", a="1")
    device.objects.put(gone, config_map("d", a="1"))
    device.paths = PodPaths(small_disk.folder, small_disk.folder)
    device.volumes = Volumes(device.paths, SteppedClock())
    await device.prepare(GOES, STAYS)
    device.objects.drop(gone)
    device.objects.put(config_map("d", a="2" * 10_000))
    small_disk.fill()
    whole = pod(volumes=[GOES, STAYS])
    with pytest.raises(MountError) as raised:
        await device.volumes.refresh(whole, device.objects, NODE)
    words = 'MountVolume.SetUp failed for volume "stays" : No space left on device'
    assert (type(raised.value), str(raised.value)) == (MountError, words)


async def test_a_pod_begins_with_older_files_where_the_disk_takes_no_new_ones(
    device: Device, small_disk: SmallDisk
) -> None:
    """After a restart of the agent; which is told, so that they follow when there is room."""
    device.objects.put(config_map("d", a="1"))
    whole = pod(volumes=[STAYS])
    device.volumes = Volumes(PodPaths(small_disk.folder, small_disk.folder), SteppedClock())
    made = await device.volumes.prepare(whole, device.objects, NODE)
    assert not made["stays"].is_behind
    device.objects.put(config_map("d", a="2" * 10_000))
    small_disk.fill()
    made = await device.volumes.prepare(whole, device.objects, NODE)
    assert (text_of(f"{made['stays'].path}/a"), made["stays"].is_behind) == ("1", True)
    small_disk.free()
    made = await device.volumes.prepare(whole, device.objects, NODE)
    assert not made["stays"].is_behind


@ROOT_ONLY
async def test_a_secret_never_touches_the_disk(device: Device) -> None:
    device.objects.put(secret("s", key="hidden"))
    made = await device.prepare({"name": "v", "secret": {"secretName": "s", "defaultMode": 0o400}})
    assert mounting.is_mounted(made["v"])
    assert (made["v"] / "key").read_text() == "hidden"
    assert mode(made["v"] / "key") == 0o400


async def test_other_users_of_the_device_cannot_look_into_volumes(device: Device) -> None:
    await device.prepare({"name": "v", "emptyDir": {}})
    for folder in (device.paths.pods, device.paths.pod(UID), device.paths.volumes(UID)):
        assert mode(folder) == 0o700


@pytest.mark.parametrize("kind", ["nfs", "csi"])
async def test_other_kinds_of_volumes_are_refused(device: Device, kind: str) -> None:
    message = await device.refused({"name": "v", kind: {}})
    assert f"volumes of kind {kind} are not supported" in message


@pytest.mark.parametrize("name", ["..", "a/b", "", ".x", "a\0"])
async def test_a_volume_cannot_be_named_out_of_its_folder(device: Device, name: str) -> None:
    assert "cannot be part of a path" in await device.refused({"name": name, "emptyDir": {}})


@pytest.mark.parametrize("uid", ["..", "../x", "", "a/b"])
async def test_a_pod_cannot_be_named_out_of_its_folder(device: Device, uid: str) -> None:
    hostile = pod(metadata={"uid": uid})
    with pytest.raises(PermanentError):
        await device.volumes.prepare(hostile, device.objects, NODE)
    with pytest.raises(PermanentError):
        await device.volumes.remove(uid)


# Removal


@ROOT_ONLY
async def test_removing_a_pod_unmounts_and_deletes_all_that_was_its_own(
    device: Device, tmp_path: Path
) -> None:
    host = tmp_path / "host"
    (host / "sub").mkdir(parents=True)
    (host / "sub/precious").write_text("x")
    device.objects.put(secret("s", key="hidden"))
    wanted = [
        {"name": "disk", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
        {"name": "secret", "secret": {"secretName": "s"}},
        {"name": "host", "hostPath": {"path": str(host)}},
    ]
    made = await device.prepare(*wanted)
    (made["disk"] / "link").symlink_to(host)
    mount = {"name": "host", "mountPath": "/m", "subPath": "sub"}
    one = container(volumeMounts=[mount])
    mounted(device, one, pod(one, volumes=wanted))
    mounting.bind(str(host), _made(made["disk"] / "bound"))
    await device.volumes.remove(UID)
    assert not device.paths.pod(UID).exists()
    assert (host / "sub/precious").read_text() == "x"
    assert not [point for point in mounting.mount_points() if str(tmp_path) in point]
    await device.volumes.remove(UID)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@ROOT_ONLY
async def test_nothing_is_deleted_while_something_is_still_mounted(
    device: Device, tmp_path: Path
) -> None:
    host = _made(tmp_path / "host")
    (host / "precious").write_text("x")
    made = await device.prepare({"name": "disk", "emptyDir": {}})
    mounting.bind(str(host), _made(made["disk"] / "bound"))
    with pytest.raises(StillMounted):
        remove(device.paths.pod(UID), unmount=lambda folder: None)
    assert (host / "precious").exists()


async def test_a_link_in_place_of_a_pod_is_not_followed(device: Device, tmp_path: Path) -> None:
    precious = _made(tmp_path / "precious")
    device.paths.pods.mkdir(parents=True)
    device.paths.pod(UID).symlink_to(precious)
    await device.volumes.remove(UID)
    assert precious.is_dir()


async def test_folders_of_pods_that_nobody_knows_are_found(device: Device) -> None:
    assert await device.volumes.orphans([]) == ()
    await device.prepare({"name": "v", "emptyDir": {}})
    assert await device.volumes.orphans(["other"]) == (UID,)
    assert await device.volumes.orphans([UID]) == ()


def test_folders_may_be_deeper_than_any_path(tmp_path: Path) -> None:
    """A program that went wild: ``while :; do mkdir a; cd a; done``."""
    folder = tmp_path / "pod"
    folder.mkdir()
    here = os.open(folder, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("deep", dir_fd=here)
        deeper = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(os.open("file", os.O_CREAT, dir_fd=here))
    os.close(here)
    (folder / "link").symlink_to(tmp_path)
    remove(folder)
    assert os.listdir(tmp_path) == []


async def test_a_volume_of_no_form_keeps_no_other_from_its_update(device: Device) -> None:
    odd = {"name": "odd", "configMap": {"name": "odd"}}
    fine = {"name": "fine", "configMap": {"name": "fine"}}
    device.objects.put(config_map("odd", a="1"))
    device.objects.put(config_map("fine", a="1"))
    made = await device.prepare(odd, fine)
    broken = config_map("odd")
    broken["data"] = ["a list"]
    device.objects.put(broken)
    device.objects.put(config_map("fine", a="2"))
    with pytest.raises(MountError, match="odd"):
        await device.volumes.refresh(pod(volumes=[odd, fine]), device.objects, NODE)
    assert (made["fine"] / "a").read_text() == "2"
    assert (made["odd"] / "a").read_text() == "1"


def test_what_cannot_be_moved_is_removed_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A subvolume of btrfs, or an empty folder that its owner may not write to."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "another subvolume")

    (tmp_path / "pod/a/b/c").mkdir(parents=True)
    (tmp_path / "pod/a/b/file").touch()
    monkeypatch.setattr(os, "rename", refuse)
    remove(tmp_path / "pod")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_somebody_still_writes_to_is_tried_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOTEMPTY, "written meanwhile")

    (tmp_path / "pod/a").mkdir(parents=True)
    monkeypatch.setattr(os, "rmdir", refuse)
    with pytest.raises(StillMounted, match="cannot be removed"):
        remove(tmp_path / "pod")
