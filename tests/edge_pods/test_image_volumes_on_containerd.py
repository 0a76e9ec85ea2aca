"""Images as volumes, on a containerd that can mount them, and on one that cannot."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edgeagent.runtime.abilities import no_image_volume
from shared.objects import Json
from tests.edge_pods.device import OBEYS, Device, a_device, a_script
from tests.parts import images
from tests.parts.containerd import OTHER, Containerd

ABSENT = "127.0.0.1:9/no/such:1"
"""Nobody listens there."""


@pytest.fixture
async def device(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Device]:
    """It knows its runtime, as an agent does."""
    async with a_device(containerd, tmp_path) as one:
        await one.meet_runtime()
        yield one


def cannot(device: Device, *, folder: bool = False) -> str:
    node = device.node
    return no_image_volume(node.runtime_name, node.runtime_version, folder=folder)


@pytest.fixture
def able(device: Device) -> Device:
    if words := cannot(device):
        pytest.skip(f"{words}: {OTHER} can name one")
    return device


def volume(reference: str, **fields: str) -> Json:
    return {"volumes": [{"name": "data", "image": {"reference": reference, **fields}}]}


def mounting(script: str, name: str = "main", **mount: str) -> Json:
    wanted = [{"name": "data", "mountPath": "/data", **mount}]
    return a_script(f"{script}; {OBEYS}", name, volumeMounts=wanted)


async def test_an_image_is_mounted_and_only_read(able: Device) -> None:
    tries = "cat /data/version; ls -d /data/bin; touch /data/x 2>/dev/null || echo kept"
    uid = able.apply(
        mounting(tries), mounting("cat /data/version", "other"), **volume(images.APP_V1)
    )
    await able.until(lambda: "kept" in able.log(uid))
    assert able.log(uid).splitlines() == ["1", "/data/bin", "kept"]
    await able.until(lambda: able.log(uid, "other") == "1")
    pulled = [one for one in able.reports.by_uid[uid].events if images.APP_V1 in one.message]
    assert ("Pulled", "") in [(one.reason, one.field_path) for one in pulled]
    able.delete(uid, grace=5)
    await able.until(lambda: able.finished(uid))


async def test_a_sub_path_is_a_folder_of_the_image(able: Device) -> None:
    """Or is refused: a runtime that cannot do it would show the whole image instead."""
    uid = able.apply(mounting("ls /data", subPath="etc"), **volume(images.APP_V1))
    if words := cannot(able, folder=True):
        await able.until(lambda: able.status(uid).get("phase") == "Failed")
        where = "container main, subPath etc of volume data"
        assert able.status(uid)["message"] == f"Pod was rejected: {where}: {words}"
        return
    await able.until(lambda: able.log(uid).split() == ["group", "passwd"])
    absent = able.apply(mounting("ls /data", subPath="no/such"), **volume(images.APP_V1))
    await able.until(lambda: waiting(able, absent, "main") == "CreateContainerError")


async def test_a_volumes_image_is_pulled_by_its_policy_and_told_of_as_the_pods(
    able: Device,
) -> None:
    uid = able.apply(mounting("echo never", "mounts"), a_script(OBEYS, "apart"), **volume(ABSENT))
    await able.until(lambda: waiting(able, uid, "mounts") in ("ErrImagePull", "ImagePullBackOff"))
    await able.until(lambda: able.runs(uid, "apart"))
    events = [one for one in able.reports.by_uid[uid].events if ABSENT in one.message]
    assert [one.reason for one in events][:2] == ["Pulling", "Failed"]
    assert {one.field_path for one in events} == {""}
    waits = [one for one in able.reports.by_uid[uid].events if one.message.startswith("Error: ")]
    assert {one.field_path for one in waits} == {"spec.containers{mounts}"}, "who waits says so"
    never = able.apply(mounting("echo", "mounts"), **volume(ABSENT, pullPolicy="Never"))
    await able.until(lambda: waiting(able, never, "mounts") == "ErrImageNeverPull")


def waiting(device: Device, uid: str, name: str) -> str:
    return str(device.container(uid, name).get("state", {}).get("waiting", {}).get("reason", ""))


async def test_where_the_runtime_is_too_old_the_pod_is_refused_with_the_way_out(
    device: Device,
) -> None:
    version = device.node.runtime_version
    if not cannot(device):
        pytest.skip(f"containerd {version} mounts them")
    uid = device.apply(mounting("echo never"), **volume(images.APP_V1))
    await device.until(lambda: device.status(uid).get("phase") == "Failed")
    assert device.status(uid)["reason"] == "UnsupportedPodField"
    assert device.status(uid)["message"] == (
        f"Pod was rejected: volume data: containerd {version} cannot mount an image as a volume;"
        " containerd 2.1 and cri-o 1.31 and newer can"
    )
    assert await device.sandboxes() == []
