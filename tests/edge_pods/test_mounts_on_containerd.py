"""How volumes are mounted into containers of a real containerd: propagation and read-only trees.

Every mount of the test itself is a small tmpfs below pytest's folder, and gone after it.
"""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgeagent.node.device import read_device, read_now
from edgeagent.node.reporter import node_status
from edgeagent.runtime.abilities import Handler
from shared.objects import Json
from tests.edge_pods.device import OBEYS, Device, a_device, a_script
from tests.parts.containerd import Containerd


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    """A folder of the device whose mounts may propagate."""
    folder = tmp_path / "shared"
    folder.mkdir()
    tmpfs(folder)
    subprocess.run(["mount", "--make-shared", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["mount", "--make-rprivate", folder], check=True)
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
async def device(shared: Path, containerd: Containerd, tmp_path: Path) -> AsyncIterator[Device]:
    async with a_device(containerd, tmp_path / "device") as one:
        yield one


def tmpfs(folder: Path) -> None:
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    subprocess.run(command, check=True)


def mounts(shared: Path, name: str, *, container: Json | None = None, **mount: object) -> Json:
    wanted = [{"name": "host", "mountPath": "/v", **mount}]
    return a_script(OBEYS, name, volumeMounts=wanted, **(container or {}))


def volumes(shared: Path) -> Json:
    return {"volumes": [{"name": "host", "hostPath": {"path": str(shared)}}]}


async def said(device: Device, uid: str, script: str, name: str) -> str:
    container_id = device.container(uid, name)["containerID"].split("//")[1]
    done = await device.runtime.exec_sync(container_id, ["/bin/sh", "-c", script], 10)
    return (done.stdout + done.stderr).decode().strip()


async def running(device: Device, uid: str, *names: str) -> None:
    for name in names:
        await device.until(lambda name=name: device.runs(uid, name))  # type: ignore[misc]


async def test_mounts_come_to_a_container_and_go_from_it_as_its_propagation_says(
    device: Device, shared: Path
) -> None:
    privileged = {"securityContext": {"privileged": True}}
    ways = ("None", "HostToContainer", "Bidirectional")
    uid = device.apply(
        *(mounts(shared, way.lower(), container=privileged, mountPropagation=way) for way in ways),
        **volumes(shared),
    )
    names = [way.lower() for way in ways]
    await running(device, uid, *names)
    (shared / "late").mkdir()
    tmpfs(shared / "late")
    (shared / "late" / "file").write_text("x")
    seen = [await said(device, uid, "ls /v/late", name) for name in names]
    assert seen == ["", "file", "file"]
    for name in names:
        inside = f"mkdir /v/{name} && mount -t tmpfs tmpfs /v/{name} && touch /v/{name}/made"
        assert await said(device, uid, inside, name) == ""
    assert [(shared / name / "made").exists() for name in names] == [False, False, True]
    assert await said(device, uid, "ls /v/bidirectional", "hosttocontainer") == "made"
    assert await said(device, uid, "ls /v/bidirectional", "none") == ""


async def test_what_is_mounted_below_a_sub_path_is_seen_and_outlives_restart_and_pod(
    device: Device, shared: Path
) -> None:
    """A stick that is plugged in below a folder that a container has by subPath."""
    stick = shared / "used/stick"
    stick.mkdir(parents=True)
    uid = device.apply(
        mounts(shared, "main", subPath="used", mountPropagation="HostToContainer"),
        **volumes(shared),
    )
    await running(device, uid, "main")
    tmpfs(stick)
    (stick / "file").write_text("x")
    assert await said(device, uid, "ls /v/stick", "main") == "file"
    first = device.container(uid, "main")["containerID"]
    await device.runtime.stop_container(first.split("//")[1], 0)
    await device.until(lambda: device.container(uid, "main").get("containerID") != first)
    await running(device, uid, "main")
    assert (stick / "file").exists()
    device.drop(uid)
    await device.until(lambda: not device.paths.pod(uid).exists())
    assert (stick / "file").exists()


TRIES = "touch /v/x 2>/dev/null && echo here; touch /v/below/x 2>/dev/null && echo below"


async def test_read_only_is_the_mount_and_not_what_is_mounted_below_it(
    device: Device, shared: Path
) -> None:
    (shared / "below").mkdir()
    tmpfs(shared / "below")
    uid = device.apply(
        mounts(shared, "writes"),
        mounts(shared, "reads", readOnly=True),
        mounts(shared, "disabled", readOnly=True, recursiveReadOnly="Disabled"),
        **volumes(shared),
    )
    await running(device, uid, "writes", "reads", "disabled")
    assert await said(device, uid, TRIES, "writes") == "here\nbelow"
    assert await said(device, uid, TRIES, "reads") == "below"
    assert await said(device, uid, TRIES, "disabled") == "below"


async def test_recursively_read_only_is_everything_below_where_the_runtime_can(
    device: Device, shared: Path
) -> None:
    (shared / "below").mkdir()
    tmpfs(shared / "below")
    handlers = (await device.runtime.info()).handlers
    able = any(one.recursive_readonly for one in handlers)
    await device.kill_agent()
    device.node = replace(device.node, handlers=handlers)
    device.start_agent()
    uid = device.apply(
        mounts(shared, "possible", readOnly=True, recursiveReadOnly="IfPossible"),
        mounts(shared, "enabled", readOnly=True, recursiveReadOnly="Enabled"),
        **volumes(shared),
    )
    await running(device, uid, "possible")
    (mount,) = device.container(uid, "possible")["volumeMounts"]
    assert mount == {"mountPath": "/v", "recursiveReadOnly": "Enabled" if able else "Disabled"}
    if able:
        await running(device, uid, "enabled")
        assert await said(device, uid, TRIES, "possible") == ""
        assert await said(device, uid, TRIES, "enabled") == ""
        return
    assert await said(device, uid, TRIES, "possible") == "below"
    await device.until(lambda: "waiting" in device.container(uid, "enabled").get("state", {}))
    (mount,) = device.container(uid, "enabled")["volumeMounts"]
    assert mount["recursiveReadOnly"] == "Disabled"
    waiting = device.container(uid, "enabled")["state"]["waiting"]
    assert waiting["reason"] == "CreateContainerConfigError"
    assert waiting["message"] == (
        'failed to resolve recursive read-only mode: volume "host" requested recursive read-only'
        " mode, but it is not supported by the runtime"
    )


async def test_the_node_says_what_its_runtime_can(device: Device, tmp_path: Path) -> None:
    info = await device.runtime.info()
    machine, now = read_device(tmp_path), read_now(tmp_path)
    status = node_status(machine, now, {}, node="edge-1", runtime=info)
    assert status["nodeInfo"]["containerRuntimeVersion"] == f"containerd://{info.version}"
    if int(info.version.split(".")[0]) < 2:
        assert not {"features", "runtimeHandlers"} & status.keys()
        assert info.handlers == (Handler(), Handler("runc"))
        return
    assert status["features"] == {"supplementalGroupsPolicy": True}
    assert [one["name"] for one in status["runtimeHandlers"]] == ["", "runc"]
    assert status["runtimeHandlers"][0]["features"]["recursiveReadOnlyMounts"] is True
