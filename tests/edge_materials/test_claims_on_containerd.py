"""Claims, as processes in real containers see the volumes behind them."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from edgeagent.pods.model.errors import ClaimError
from shared.objects import Json
from tests.edge_materials.device import Device, a_device, a_new_one_of, a_pod, printed
from tests.edge_materials.making import claim, persistent_volume
from tests.parts.containerd import Containerd

MOUNT = [{"name": "data", "mountPath": "/data"}]


@pytest.fixture
async def device(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Device]:
    async with a_device(containerd, tmp_path) as device:
        yield device


@pytest.fixture
def disk(device: Device, tmp_path: Path) -> Path:
    """A folder of the device behind a claim with the name ``data``."""
    folder = tmp_path / "disk"
    folder.mkdir()
    device.objects.put(claim(), persistent_volume(local={"path": str(folder)}))
    return folder


def with_data(**source: Any) -> Json:
    return {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data", **source}}]}


async def test_what_a_pod_writes_is_there_for_the_next_one(device: Device, disk: Path) -> None:
    whole = a_pod("echo kept > /data/file", volumeMounts=MOUNT, spec=with_data())
    await device.ended(whole)
    await device.materials.remove(whole)
    assert (disk / "file").read_text() == "kept\n"
    found = await device.output("cat /data/file", volumeMounts=MOUNT, spec=with_data())
    assert found == ["kept"]


async def test_an_ephemeral_volume_is_mounted_as_the_claim_that_was_made_for_its_pod(
    device: Device, disk: Path
) -> None:
    own = {"name": "data", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}
    whole = a_pod("echo kept > /data/file", volumeMounts=MOUNT, spec={"volumes": [own]})
    name, uid = f"{whole['metadata']['name']}-data", whole["metadata"]["uid"]
    made = claim(name)
    made["metadata"]["ownerReferences"] = [{"controller": True, "uid": uid}]
    device.objects.put(made, persistent_volume(of=name, local={"path": str(disk)}))
    await device.ended(whole)
    await device.materials.remove(whole)
    assert (disk / "file").read_text() == "kept\n", "what becomes of it is the cluster's to say"


async def test_a_host_path_volume_is_made_and_mounted(device: Device, disk: Path) -> None:
    path = {"path": str(disk / "made"), "type": "DirectoryOrCreate"}
    device.objects.put(persistent_volume(hostPath=path))
    await device.output("touch /data/file", volumeMounts=MOUNT, spec=with_data())
    assert (disk / "made/file").exists()


@pytest.mark.parametrize(
    ("source", "mount"),
    [({"readOnly": True}, {}), ({}, {"readOnly": True})],
    ids=["of-the-source", "of-the-mount"],
)
async def test_read_only_is_of_the_source_or_of_the_mount(
    device: Device, disk: Path, source: Json, mount: Json
) -> None:
    script = "touch /data/file 2>/dev/null || echo closed"
    found = await device.output(
        script, volumeMounts=[{**MOUNT[0], **mount}], spec=with_data(**source)
    )
    assert found == ["closed"]
    assert list(disk.iterdir()) == []


async def test_a_sub_path_of_a_claim(device: Device, disk: Path) -> None:
    mounts = [{**MOUNT[0], "subPath": "of/web"}]
    whole = a_pod("touch /data/file", volumeMounts=mounts, spec=with_data())
    await device.ended(whole)
    await device.materials.remove(whole)
    assert (disk / "of/web/file").exists()


async def test_a_user_of_the_fs_group_writes_what_was_root_s(device: Device, disk: Path) -> None:
    (disk / "old").write_text("before\n")
    (disk / "old").chmod(0o600)
    disk.chmod(0o700)
    context = {"runAsUser": 1000, "fsGroup": 3000}
    script = "echo after >> /data/old; cat /data/old; touch /data/new; stat -c %g /data/new"
    found = await device.output(
        script, volumeMounts=MOUNT, spec={**with_data(), "securityContext": context}
    )
    assert found == ["before", "after", "3000"]


async def test_processes_of_a_pod_have_the_group_that_its_volume_names(
    device: Device, disk: Path
) -> None:
    """pv.beta.kubernetes.io/gid, beside the groups of the pod itself."""
    os.chown(disk, 0, 4321)
    disk.chmod(0o2770)
    volume = persistent_volume(local={"path": str(disk)})
    volume["metadata"]["annotations"] = {"pv.beta.kubernetes.io/gid": "4321"}
    device.objects.put(volume)
    context = {"runAsUser": 1000, "supplementalGroups": [3000]}
    found = await device.output(
        "id -G; touch /data/file && echo written",
        volumeMounts=MOUNT,
        spec={**with_data(), "securityContext": context},
    )
    assert (set(found[0].split()) >= {"3000", "4321"}, found[1:]) == (True, ["written"])
    assert (disk / "file").exists()


async def test_two_pods_share_a_claim(device: Device, disk: Path) -> None:
    first = a_pod("until test -e /data/b; do sleep 0.05; done; touch /data/a", volumeMounts=MOUNT)
    first["spec"] |= with_data()
    await device.start(first)
    second = a_pod("touch /data/b; until test -e /data/a; do sleep 0.05; done; echo met")
    second["spec"] |= with_data()
    second["spec"]["containers"][0]["volumeMounts"] = MOUNT
    assert printed(await device.ended(second)) == ["met"]


async def test_a_pod_begins_when_its_claim_is_there(device: Device, disk: Path) -> None:
    device.objects.drop(claim())
    whole = a_pod("echo begun", volumeMounts=MOUNT, spec=with_data())
    with pytest.raises(ClaimError, match='persistentvolumeclaims "data" not found'):
        await device.start(whole)
    device.objects.put(claim())
    assert printed(await device.ended(a_new_one_of(whole))) == ["begun"]


async def test_a_block_volume_is_a_device_in_the_container(device: Device, disk: Path) -> None:
    node = disk / "node"
    try:
        os.mknod(node, 0o660 | stat.S_IFBLK, os.makedev(7, 200))
    except PermissionError:
        pytest.skip("this machine lets nobody make device nodes")
    device.objects.put(persistent_volume(local={"path": str(node)}, volumeMode="Block"))
    raw = [{"name": "data", "devicePath": "/dev/data"}]
    script = "stat -c '%F %t %T' /dev/data"
    found = await device.output(script, volumeDevices=raw, spec=with_data())
    assert found == ["block special file 7 c8"]
