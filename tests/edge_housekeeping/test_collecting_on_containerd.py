"""Dead containers, sandboxes and what a crash left behind are collected, on a real containerd."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edgeagent.housekeeping.orphans import Orphans
from edgeagent.pods.logs.leftovers import remove_files, remove_logs
from edgeagent.pods.model import specs
from edgeagent.pods.model.paths import PodPaths
from edgeagent.runtime.port import Container, ContainerState, SandboxState
from shared.objects import ObjectKey
from tests.edge_housekeeping.household import Hands, a_pod
from tests.edge_housekeeping.test_orphans import Listed
from tests.edge_materials.making import secret
from tests.edge_pods.device import OBEYS, Device, a_device, a_script
from tests.parts import images
from tests.parts.containerd import Containerd


@pytest.fixture
async def device(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Device]:
    async with a_device(containerd, tmp_path) as one:
        yield one


async def test_of_each_container_the_newest_and_the_one_before_it_are_kept_with_their_logs(
    device: Device,
) -> None:
    uid = device.apply(a_script(f"echo said; echo so > /dev/termination-log; {OBEYS}"))
    await device.until(lambda: device.obeys(uid))
    pod = device.desired.wanted[uid].pod
    for attempt in range(1, 4):
        image = images.APP_V1 if attempt % 2 else images.BUSYBOX
        changed = {**pod["spec"]["containers"][0], "image": image}
        device.put({**pod, "spec": {**pod["spec"], "containers": [changed]}})
        await device.until(
            lambda attempt=attempt: device.container(uid)["restartCount"] == attempt  # type: ignore[misc]
        )
        await device.until(lambda: device.obeys(uid))
        _rotated(device, uid, attempt)
    await _until_attempts(device, {2, 3})
    logs = device.paths.log_directory(pod) / "main"
    assert {one.name.partition(".")[0] for one in logs.iterdir()} == {"2", "3"}
    await device.until(lambda: device.log(uid, attempt=3) == "said")
    assert device.log(uid, attempt=2) == "said"
    said = device.paths.termination_log(uid, "main", attempt=3).parent
    assert {one.name for one in said.iterdir()} == {"termination-2", "termination-3"}
    assert device.container(uid)["lastState"]["terminated"]["message"] == "so\n"


def _rotated(device: Device, uid: str, attempt: int) -> None:
    """As if the log of this attempt had been large once."""
    logs = device.paths.log_directory(device.desired.wanted[uid].pod) / "main"
    (logs / f"{attempt}.log.20260101-000000.gz").write_bytes(b"")


async def _until_attempts(device: Device, wanted: set[int]) -> None:
    for _ in range(100):
        boxes = await device.sandboxes()
        found = {one.attempt for box in boxes for one in box.containers}
        if found == wanted:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"still there: {found}")


def test_only_files_of_that_attempt_go(tmp_path: Path) -> None:
    paths, pod = PodPaths(tmp_path / "data", tmp_path / "logs"), a_pod()
    logs = paths.log_directory(pod) / "main"
    logs.mkdir(parents=True)
    for name in ("1.log", "1.log.20260101-000000", "10.log", "11.log.20260101-000000.gz", "x"):
        (logs / name).touch()
    (logs / "1.log.link").symlink_to(logs / "10.log")
    one = Container("c", "s", "main", 1, ContainerState.EXITED, "", "", 0)
    for _ in range(2):
        remove_files(paths, pod, one)
        left = {found.name for found in logs.iterdir()}
        assert left == {"10.log", "11.log.20260101-000000.gz", "x"}


@pytest.mark.parametrize("of_pod", [False, True])
def test_what_a_link_in_place_of_a_log_folder_leads_to_stays(tmp_path: Path, of_pod: bool) -> None:
    """A pod that may write into the folder of all logs can put one there."""
    paths, pod = PodPaths(tmp_path / "data", tmp_path / "logs"), a_pod()
    target, folder = tmp_path / "elsewhere", paths.log_directory(pod)
    (target / "main").mkdir(parents=True)
    for one in (target, target / "main"):
        (one / "1.log").touch()
    (paths.logs if of_pod else folder).mkdir(parents=True)
    (folder if of_pod else folder / "main").symlink_to(target)
    said = paths.termination_log(specs.uid_of(pod), "main", attempt=1)
    said.parent.mkdir(parents=True)
    said.touch()
    remove_files(paths, pod, Container("c", "s", "main", 1, ContainerState.EXITED, "", "", 0))
    assert not said.exists(), "the rest goes"
    remove_logs(paths, pod)
    assert (target / "1.log").exists()
    assert (target / "main" / "1.log").exists()
    assert os.listdir(paths.logs) == []


async def test_dead_sandboxes_of_a_running_pod_go(device: Device) -> None:
    uid = device.apply(a_script(OBEYS))
    await device.until(lambda: device.runs(uid))
    for _ in range(3):
        ready = await _the_ready_sandbox(device)
        restarts = device.container(uid)["restartCount"]
        await device.runtime.stop_sandbox(ready)
        await device.until(lambda: device.container(uid)["restartCount"] > restarts)  # noqa: B023
        await device.until(lambda: device.runs(uid))
    await _the_ready_sandbox(device)
    for _ in range(100):
        states = sorted(one.state.name for one in await device.sandboxes())
        if states == ["NOT_READY", "READY"]:
            break
        await asyncio.sleep(0.1)
    assert states == ["NOT_READY", "READY"], "the dead one has the container before, for its log"


async def _the_ready_sandbox(device: Device) -> str:
    """A container may begin once more in a sandbox that is about to end: a new one comes then."""
    for _ in range(100):
        match [one.id for one in await device.sandboxes() if one.state is SandboxState.READY]:
            case [ready]:
                return ready
        await asyncio.sleep(0.1)
    raise AssertionError("not one sandbox is ready")


async def test_a_finished_pod_keeps_its_logs_and_gives_back_everything_else(
    device: Device,
) -> None:
    mount = [{"name": "m", "mountPath": "/m"}]
    uid = device.apply(
        a_script("echo done", volumeMounts=mount),
        volumes=[{"name": "m", "emptyDir": {"medium": "Memory"}}],
        restartPolicy="Never",
    )
    await device.until(lambda: device.status(uid).get("phase") == "Succeeded")
    await device.until(lambda: not device.paths.volume(uid, "m").exists())
    (box,) = await device.sandboxes()
    assert box.state is SandboxState.NOT_READY
    assert device.log(uid) == "done"
    device.drop(uid)
    await device.until(lambda: uid not in device.facts.records)
    assert await device.sandboxes() == []
    assert not any(device.paths.logs.iterdir())


async def test_no_cgroup_of_a_pod_that_is_gone_is_left(device: Device) -> None:
    uids = [device.apply(a_script(OBEYS)) for _ in range(8)]
    for uid in uids:
        await device.until(lambda uid=uid: device.runs(uid))  # type: ignore[misc]
    assert all(_cgroups_of(uid) for uid in uids)
    for uid in uids:
        device.drop(uid)
    await device.until(lambda: not device.facts.records)
    assert [one for uid in uids for one in _cgroups_of(uid)] == []


def _cgroups_of(uid: str) -> list[Path]:
    top, path = Path("/sys/fs/cgroup"), f"kubepods/besteffort/pod{uid}"
    return [*top.glob(path), *top.glob(f"*/{path}")]


async def test_volumes_of_every_kind_that_a_crash_left_mounted_are_cleaned_up(
    device: Device,
) -> None:
    """The agent dies, its database is lost, and somebody takes the pod off the runtime."""
    login = secret("login", word="pw")
    device.desired.objects[ObjectKey.of("Secret", login)] = login
    volumes = [
        {"name": "disk", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
        {"name": "login", "secret": {"secretName": "login"}},
    ]
    mounts = [
        {"name": "disk", "mountPath": "/disk", "subPath": "part"},
        {"name": "memory", "mountPath": "/memory"},
        {"name": "login", "mountPath": "/login"},
    ]
    uid = device.apply(a_script(OBEYS, volumeMounts=mounts), volumes=volumes)
    await device.until(lambda: device.runs(uid))
    folder = device.paths.pod(uid)
    assert str(folder) in Path("/proc/self/mountinfo").read_text()
    await device.kill_agent()
    device.facts.records.clear()
    pod = device.desired.wanted.pop(uid).pod
    for box in await device.sandboxes():
        await device.runtime.stop_sandbox(box.id)
        await device.runtime.remove_sandbox(box.id)
    device.start_agent()
    await device.until(lambda: device.pods.adopted)
    orphans = Orphans(
        device.runtime,
        pods=device.pods,
        desired=Listed(),
        clock=Hands(),
        paths=device.paths,
        offload=asyncio.to_thread,
        cgroups=None,
    )
    assert await orphans.clean()
    assert not folder.exists()
    assert not device.paths.log_directory(pod).exists()
    assert str(folder) not in Path("/proc/self/mountinfo").read_text()
