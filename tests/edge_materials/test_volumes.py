"""The volumes of a pod on a real disk: made, refreshed, mounted, removed."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from edgeagent.pods.errors import ConfigError, ContentsError, MountError
from edgeagent.pods.nodefacts import NodeFacts
from edgeagent.pods.paths import PodPaths
from edgeagent.pods.volumes import mounting
from edgeagent.pods.volumes.making import Volumes, memory_size
from edgeagent.pods.volumes.mounts import mounts
from edgeagent.pods.volumes.removing import StillMounted, remove
from edgeagent.runtime.abilities import Handler
from edgeagent.runtime.port import Mount
from shared.errors import PermanentError
from shared.objects import Json
from tests.edge_materials.making import (
    NODE,
    UID,
    Objects,
    SteppedClock,
    config_map,
    container,
    pod,
    secret,
)
from tests.parts.small_disk import SmallDisk

ROOT_ONLY = pytest.mark.skipif(not mounting.may_mount(), reason="mounting needs root")


@dataclass
class Device:
    paths: PodPaths
    objects: Objects
    volumes: Volumes

    async def prepare(self, *volumes: Json, **spec: Any) -> dict[str, Path]:
        whole = pod(*spec.pop("containers", ()), volumes=list(volumes), **spec)
        made = await self.volumes.prepare(whole, self.objects, NODE)
        return {name: Path(volume.path) for name, volume in made.items()}

    async def refused(self, volume: Json, **spec: Any) -> str:
        with pytest.raises(MountError) as raised:
            await self.prepare(volume, **spec)
        assert (raised.value.reason, raised.value.event) == ("ContainerCreating", "FailedMount")
        return str(raised.value)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    paths = PodPaths(tmp_path / "data", tmp_path / "logs")
    yield Device(paths, Objects(), Volumes(paths, SteppedClock()))
    if mounting.may_mount():
        mounting.unmount_below(tmp_path)


def text_of(path: str) -> str:
    return Path(path).read_text()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# emptyDir


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
    containers = {"containers": [container(**({} if of_the_pod else asks))]}
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
        containers=[container(resources=HUGE_2M)],
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
    whole = {"containers": [container(resources={"limits": limits})]}
    message = await device.refused({"name": "v", "emptyDir": {"medium": medium}}, **whole)
    assert message == f'MountVolume.SetUp failed for volume "v" : {words}'


# hostPath


async def test_a_host_path_without_type_is_taken_as_it_is(device: Device, tmp_path: Path) -> None:
    made = await device.prepare({"name": "v", "hostPath": {"path": str(tmp_path / "absent")}})
    assert made["v"] == tmp_path / "absent"
    assert not made["v"].exists()


@pytest.mark.parametrize(
    ("kind", "there", "words"),
    [
        ("Directory", "file", "is not a directory"),
        ("Directory", "absent", "is not a directory"),
        ("DirectoryOrCreate", "file", "is not a directory"),
        ("File", "folder", "is not a file"),
        ("File", "absent", "is not a file"),
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


# Mounts


def mounted(
    device: Device, one: Json, whole: Json, *, node: NodeFacts = NODE, **environment: str
) -> list[Mount]:
    return mounts(
        whole,
        one,
        volumes=device.volumes.located(whole),
        environment=environment,
        node=node,
        paths=device.paths,
    )


VOLUMES = [{"name": "v", "emptyDir": {}}, {"name": "c", "configMap": {"name": "c"}}]


async def one_mount(device: Device, *, named: str = "v", **fields: Any) -> Mount:
    device.objects.put(config_map("c", key="1"))
    one = container(volumeMounts=[{"name": named, "mountPath": "/m", **fields}])
    whole = pod(one, volumes=VOLUMES)
    await device.volumes.prepare(whole, device.objects, NODE)
    (found,) = mounted(device, one, whole, POD="web-1", NOTHING="")
    return found


async def test_a_volume_is_mounted_where_the_container_wants_it(device: Device) -> None:
    found = await one_mount(device)
    assert found == Mount(str(device.paths.volume(UID, "v")), "/m")


async def test_mounts_can_be_read_only_and_propagated(device: Device) -> None:
    found = await one_mount(device, readOnly=True, mountPropagation="HostToContainer")
    assert (found.readonly, found.propagation) == (True, "HostToContainer")


async def test_containers_only_read_what_the_node_writes(device: Device) -> None:
    assert (await one_mount(device, named="c")).readonly


async def test_a_sub_path_of_a_config_map_is_one_file(device: Device) -> None:
    found = await one_mount(device, named="c", subPath="key")
    assert text_of(found.host_path) == "1"


async def test_a_sub_path_expression_is_expanded_from_the_environment(device: Device) -> None:
    await one_mount(device, subPathExpr="logs/$(POD)")
    assert (device.paths.volume(UID, "v") / "logs/web-1").is_dir()


async def test_a_sub_path_expression_needs_all_its_variables(device: Device) -> None:
    with pytest.raises(ConfigError, match=r"^missing value for EVER, NO$"):
        await one_mount(device, subPathExpr="$(NO)/$(POD)/$(EVER)/$(NO)")


async def test_an_empty_variable_does_not_expose_the_whole_volume(device: Device) -> None:
    with pytest.raises(ConfigError, match=r"^missing value for NOTHING$"):
        await one_mount(device, subPathExpr="$(NOTHING)")


async def test_a_sub_path_that_leaves_the_volume_is_refused_without_details(
    device: Device,
) -> None:
    await one_mount(device)
    (device.paths.volume(UID, "v") / "evil").symlink_to("/etc")
    with pytest.raises(ConfigError) as raised:
        await one_mount(device, subPath="evil/passwd")
    assert str(raised.value) == (
        'failed to prepare subPath for volumeMount "v" of container "main"'
    )
    with pytest.raises(ConfigError, match="must not contain"):
        await one_mount(device, subPathExpr="../$(POD)")


async def test_a_volume_that_is_not_declared_cannot_be_mounted(device: Device) -> None:
    words = 'cannot find volume "x" to mount into container "main"'
    with pytest.raises(ConfigError, match=words):
        await one_mount(device, named="x")


async def test_recursive_read_only_needs_the_runtime(device: Device) -> None:
    found = await one_mount(device, readOnly=True, recursiveReadOnly="IfPossible")
    assert not found.recursive_readonly
    asks = (
        'failed to resolve recursive read-only mode: volume "v" requested recursive read-only mode'
    )
    with pytest.raises(ConfigError, match=f"^{asks}, but it is not supported by the runtime$"):
        await one_mount(device, readOnly=True, recursiveReadOnly="Enabled")
    with pytest.raises(ConfigError, match=f"^{asks}, but it is not read-only$"):
        await one_mount(device, recursiveReadOnly="Enabled")
    both = {"readOnly": True, "mountPropagation": "HostToContainer"}
    with pytest.raises(ConfigError, match=f'^{asks}, but it is not compatible with propagation "H'):
        await one_mount(device, recursiveReadOnly="IfPossible", **both)


async def test_recursive_read_only_is_what_the_handler_of_the_pod_can(device: Device) -> None:
    node = replace(NODE, handlers=(Handler(), Handler("able", recursive_readonly=True)))
    for name, able in (("able", True), ("", False), ("other", False)):
        whole = pod(
            container(volumeMounts=[{"name": "v", "mountPath": "/m", "readOnly": True}]),
            volumes=VOLUMES[:1],
            runtimeClassName=name,
        )
        one = whole["spec"]["containers"][0]
        one["volumeMounts"][0]["recursiveReadOnly"] = "IfPossible"
        await device.volumes.prepare(whole, device.objects, node)
        (found,) = mounted(device, one, whole, node=node)
        assert found.recursive_readonly is able
