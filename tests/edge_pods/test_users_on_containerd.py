"""``hostUsers: false``: pods with users of their own, on a containerd that has user namespaces."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgeagent.pods.materials.userids import LENGTH
from edgeagent.runtime.abilities import Handler
from shared.objects import Json, ObjectKey
from tests.edge_materials.making import secret
from tests.edge_pods.device import OBEYS, Device, a_device, a_script
from tests.parts import images
from tests.parts.containerd import Containerd, need_user_namespaces, new_containerd

MAP = "cat /proc/self/uid_map /proc/self/gid_map"


async def need_users(device: Device) -> Device:
    """It knows its runtime, as an agent does."""
    await device.meet_runtime()
    need_user_namespaces(await device.runtime.info())
    return device


@pytest.fixture
async def device(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Device]:
    async with a_device(containerd, tmp_path) as one:
        yield await need_users(one)


@pytest.fixture(scope="module")
def mortal(image_archive: Path) -> Iterator[Containerd]:
    """A containerd of our own: it is killed here."""
    private = new_containerd(image_archive)
    yield private
    private.close()


async def first_id(device: Device, uid: str, name: str = "main") -> int:
    """The user of the device that is root in the pod; users and groups are the same ones."""
    await device.until(lambda: device.runs(uid, name))
    container_id = device.container(uid, name)["containerID"].partition("://")[2]
    done = await device.runtime.exec_sync(container_id, ["/bin/sh", "-c", MAP], 5)
    users, groups = ([int(one) for one in line.split()] for line in done.stdout.splitlines())
    assert users == groups == [0, users[1], LENGTH]
    return users[1]


async def test_root_of_a_pod_is_nobody_on_the_device_and_nobody_in_another_pod(
    device: Device,
) -> None:
    both = a_script(OBEYS), a_script(OBEYS, "other", securityContext={"runAsUser": 1000})
    uids = [device.apply(*both, hostUsers=False) for _ in range(3)]
    shares = device.apply(a_script(f"{MAP}; {OBEYS}"), hostUsers=True)
    firsts = [await first_id(device, uid) for uid in uids]
    assert [await first_id(device, uid, "other") for uid in uids] == firsts
    assert len(set(firsts)) == 3
    assert all(first >= LENGTH and first % LENGTH == 0 for first in firsts)
    await device.until(lambda: len(device.log(shares).splitlines()) == 2)
    assert [line.split()[:2] for line in device.log(shares).splitlines()] == [["0", "0"]] * 2
    owners = {os.stat(path).st_uid for path in Path("/proc").glob("[0-9]*") if _sleeps(path)}
    expected = {first + user for first in firsts for user in (0, 1000)}
    assert expected <= owners, "as the device sees the pods' processes"


def _sleeps(process: Path) -> bool:
    try:
        return b"sleep\x003600" in (process / "cmdline").read_bytes()
    except OSError:
        return False


async def test_a_capability_counts_in_the_pod_only(device: Device) -> None:
    """In its own namespaces it does what it likes; with the device's things it does not."""
    tries = (
        "mkdir /own && mount -t tmpfs none /own && echo mounts; hostname other && echo named;"
        "mknod /null c 1 3 2>/dev/null || echo no-device"
    )
    rights = {"capabilities": {"add": ["SYS_ADMIN", "MKNOD"]}}
    script = a_script(f"{tries}; {OBEYS}", securityContext=rights)
    own, devices = device.apply(script, hostUsers=False), device.apply(script)
    await device.until(lambda: "no-device" in device.log(own))
    assert device.log(own).split() == ["mounts", "named", "no-device"]
    await device.until(lambda: "named" in device.log(devices))
    assert "no-device" not in device.log(devices)


async def test_files_in_volumes_have_the_owners_that_the_pod_sees(
    device: Device, tmp_path: Path
) -> None:
    """So volumes can be shared, kept and given to a group as those of any pod."""
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "given").write_text("x")
    os.chown(shared, 1000, 1000)
    os.chown(shared / "given", 1000, 1000)
    key = secret("key", private="x")
    device.desired.objects[ObjectKey.of("Secret", key)] = key
    volumes: list[Json] = [
        {"name": "disk", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
        {"name": "host", "hostPath": {"path": str(shared)}},
        {"name": "key", "secret": {"secretName": "key", "defaultMode": 0o400}},
        {"name": "info", "downwardAPI": {"items": [
            {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
    ]  # fmt: skip
    mounts = [{"name": one["name"], "mountPath": f"/v/{one['name']}"} for one in volumes]
    mounts.append({"name": "disk", "mountPath": "/v/part", "subPath": "part"})
    script = (
        "id -u; for v in disk memory host part; do touch /v/$v/made; done;"
        "for f in disk/made memory/made host/made host/given part/made key/private info/name; do"
        " stat -Lc '%n %u %g %a' /v/$f; done; stat -c '%n %u %g' /etc/hosts;"
        f"echo last words >/dev/termination-log; {OBEYS}"
    )
    uid = device.apply(
        a_script(script, volumeMounts=mounts),
        hostUsers=False,
        volumes=volumes,
        securityContext={"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 3000},
    )
    await device.until(lambda: "/etc/hosts" in device.log(uid))
    assert device.log(uid).splitlines() == [
        "1000",
        "/v/disk/made 1000 3000 644",
        "/v/memory/made 1000 3000 644",
        "/v/host/made 1000 1000 644",
        "/v/host/given 1000 1000 644",
        "/v/part/made 1000 3000 644",
        "/v/key/private 0 3000 440",
        "/v/info/name 0 3000 644",
        "/etc/hosts 0 0",
    ]
    disk = device.paths.volume(uid, "disk")
    for file in (disk / "made", disk / "part" / "made", shared / "made"):
        assert file.stat().st_uid == 1000, "the device sees them as the pod does"
    device.delete(uid, grace=5)
    await device.until(lambda: device.finished(uid))
    assert device.ended(uid)["message"] == "last words\n"


async def test_an_image_volume_is_the_pods(device: Device) -> None:
    mounts = [{"name": "data", "mountPath": "/data"}]
    volumes = [{"name": "data", "image": {"reference": images.APP_V1}}]
    look = a_script(f"stat -c '%u %g' /data/version; {OBEYS}", volumeMounts=mounts)
    uid = device.apply(look, hostUsers=False, volumes=volumes)
    await device.until(lambda: device.log(uid) == "0 0")


async def test_proc_may_be_unmasked(device: Device) -> None:
    unmasked = {"procMount": "Unmasked"}
    script = "mount | grep -c ' /proc/'; grep -c . /proc/keys"
    masked = device.apply(a_script(f"{script}; {OBEYS}"), hostUsers=False)
    open_to = device.apply(
        a_script(f"{script}; {OBEYS}", securityContext=unmasked), hostUsers=False
    )
    await device.until(lambda: len(device.log(open_to).split()) == 2)
    await device.until(lambda: len(device.log(masked).split()) == 2)
    assert device.log(open_to).split()[0] == "0"
    assert int(device.log(masked).split()[0]) > 5


async def test_a_pod_keeps_its_users_while_agents_and_containers_come_and_go(
    device: Device,
) -> None:
    dies = a_script(f"trap 'exit 1' USR1; {MAP}; sleep 3600 & wait")
    uid, other = (device.apply(dies, hostUsers=False) for _ in range(2))
    firsts = await first_id(device, uid), await first_id(device, other)
    await device.kill_agent()
    device.start_agent()
    container_id = device.container(uid)["containerID"].partition("://")[2]
    await device.runtime.exec_sync(container_id, ["kill", "-USR1", "1"], 5)
    await device.until(lambda: device.container(uid).get("restartCount") == 1)
    assert (await first_id(device, uid), await first_id(device, other)) == firsts
    assert device.container(other)["restartCount"] == 0


async def test_an_agent_without_its_facts_gives_nobody_the_users_of_a_pod_that_runs(
    device: Device,
) -> None:
    runs = device.apply(a_script(OBEYS), hostUsers=False)
    first = await first_id(device, runs)
    await device.kill_agent()
    device.facts.records.clear()
    comes = device.apply(a_script(OBEYS), hostUsers=False)
    device.start_agent()
    assert await first_id(device, comes) != first
    assert await first_id(device, runs) == first
    assert device.container(runs)["restartCount"] == 0


async def test_users_are_given_back_with_the_pod(device: Device) -> None:
    first, second = (device.apply(a_script(OBEYS), hostUsers=False) for _ in range(2))
    ids = {await first_id(device, first), await first_id(device, second)}
    for uid in (first, second):
        device.delete(uid, grace=5)
        await device.until(lambda uid=uid: device.finished(uid))  # type: ignore[misc]
        device.drop(uid)
    await device.until(lambda: not device.facts.records)
    again = [device.apply(a_script(OBEYS), hostUsers=False) for _ in range(2)]
    assert {await first_id(device, uid) for uid in again} == ids


async def test_a_pod_keeps_its_users_over_a_reboot(mortal: Containerd, tmp_path: Path) -> None:
    async with a_device(mortal, tmp_path) as device:
        await need_users(device)
        uids = [device.apply(a_script(OBEYS), hostUsers=False) for _ in range(3)]
        before = [await first_id(device, uid) for uid in uids]
        await device.kill_agent()
        stored = [json.loads(json.dumps(one)) for one in device.facts.records.values()]
        assert {one["first_id"] for one in stored} == set(before)
        mortal.power_off()
        mortal.start()
        device.reports.by_uid.clear()
        device.start_agent()
        await device.until(lambda: all(device.runs(uid) for uid in uids))
        assert [await first_id(device, uid) for uid in uids] == before


async def test_without_user_namespaces_a_pod_waits_and_says_what_for(
    containerd: Containerd, tmp_path: Path
) -> None:
    async with a_device(containerd, tmp_path) as device:
        await device.kill_agent()
        device.node = replace(device.node, handlers=(Handler(), Handler("runc")))
        device.start_agent()
        words = "Failed to create pod sandbox: can't set `spec.hostUsers: false`, "
        for spec, who in (
            ({}, "runtime"),
            ({"runtimeClassName": "runc"}, 'RuntimeClass handler "runc"'),
        ):
            uid = device.apply(a_script(OBEYS), hostUsers=False, **spec)
            told = f"{words}{who} does not support user namespaces"
            await device.until(
                lambda uid=uid, told=told: told in device.messages(uid, "FailedCreatePodSandBox")  # type: ignore[misc]
            )
            assert device.status(uid)["phase"] == "Pending"
            assert device.waits_for(uid) == "ContainerCreating"
        assert await device.sandboxes() == []
