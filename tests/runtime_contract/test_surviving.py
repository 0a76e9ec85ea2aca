"""What an agent finds after it, or the runtime, or the machine was away."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from edgeagent.runtime.memory import MemoryRuntime
from edgeagent.runtime.memory_device import LOST_IN_REBOOT, MemoryDevice
from edgeagent.runtime.port import ContainerState, RuntimeAway, SandboxState
from edgeagent.runtime.process import ProcessRuntime
from edgeagent.runtime.process_shim import start_time
from edgeagent.runtime.process_state import LOST
from shared.clock import SystemClock
from shared.errors import TemporaryError
from tests.runtime_contract.worlds import (
    RUNS,
    STUBBORN,
    Pod,
    World,
    ended,
    eventually,
    exits,
    script,
    seen,
    trap_set,
)


async def test_an_agent_that_comes_back_finds_everything(world: World) -> None:
    pod = await world.pod()
    running = await pod.run(RUNS, name="running")
    await trap_set(world, running)
    over = await ended(world, await pod.run(exits(7), name="over"))
    before = await world.runtime.inspect_sandbox(pod.id)
    await world.runtime.close()
    world.runtime = world.open()
    assert await world.runtime.inspect_sandbox(pod.id) == before
    assert await seen(world, over.id) == over
    await world.runtime.stop_container(running, 5)
    assert (await seen(world, running)).exit_code == 143


async def test_an_exit_that_nobody_watched_has_its_true_code(world: World) -> None:
    pod = await world.pod()
    container_id = await pod.run(exits(9, after=0.3))
    await world.runtime.close()
    await asyncio.sleep(0.5)
    world.runtime = world.open()
    assert (await ended(world, container_id)).exit_code == 9


async def test_a_killed_daemon_takes_no_container_with_it(daemon_world: World) -> None:
    world = daemon_world
    pod = await world.pod()
    container_id = await pod.run(RUNS)
    before = await seen(world, container_id)
    world.crash()
    with pytest.raises(RuntimeAway):
        await world.runtime.list_sandboxes()
    with pytest.raises(RuntimeAway):
        await world.runtime.stop_container(container_id, 1)
    with pytest.raises(RuntimeAway):
        await world.runtime.pull_image("kubetide.test/other:1")
    world.come_back()
    await eventually(world.runtime.info)
    assert await seen(world, container_id) == before
    assert before.state is ContainerState.RUNNING


async def test_a_container_that_ends_while_the_daemon_is_away(isolating_world: World) -> None:
    world = isolating_world
    pod = await world.pod()
    container_id = await pod.run(exits(5, after=1.0))
    world.crash()
    await asyncio.sleep(1.2)
    world.come_back()
    await eventually(world.runtime.info)
    container = await ended(world, container_id)
    ended_as = (container.exit_code, container.reason)
    assert ended_as == ((255, "Unknown") if await _forgets_exit_codes(world) else (5, "Error"))


async def test_after_a_reboot_memory_lists_what_ran_as_exited(tmp_path: Path) -> None:
    device = MemoryDevice(SystemClock())
    device.add_image("kubetide.test/busybox:1")
    runtime = MemoryRuntime(device)
    world = World("memory", runtime, open=lambda: runtime, logs=tmp_path)
    device.behaviour = world.behaviour
    pod = await world.pod()
    container_id = await pod.run(RUNS)
    device.reboot()
    container = await seen(world, container_id)
    assert (container.state, container.exit_code) == (ContainerState.EXITED, LOST_IN_REBOOT)
    device.wipe()
    assert await runtime.list_sandboxes() == []
    assert await runtime.list_images() == []


@pytest.fixture
async def processes(tmp_path: Path) -> Any:
    def open_runtime() -> ProcessRuntime:
        return ProcessRuntime(tmp_path / "records", clock=SystemClock())

    world = World("process", open_runtime(), open=open_runtime, logs=tmp_path)
    yield world
    await world.close()


def record(world: World, pod: Pod, container_id: str, name: str) -> Path:
    return world.logs / "records" / pod.id / container_id / name


def change(path: Path, **values: object) -> dict[str, Any]:
    before: dict[str, Any] = json.loads(path.read_text())
    path.write_text(json.dumps({**before, **values}))
    return before


async def test_after_a_reboot_a_process_is_exited_whatever_has_its_pid(processes: World) -> None:
    pod = await processes.pod()
    container_id = await pod.run(RUNS)
    started = json.loads(record(processes, pod, container_id, "started.json").read_text())
    change(record(processes, pod, container_id, "container.json"), boot="an earlier boot")
    change(processes.logs / "records" / pod.id / "sandbox.json", boot="an earlier boot")
    container = await seen(processes, container_id)
    assert (container.state, container.exit_code) == (ContainerState.EXITED, LOST)
    sandbox = await processes.runtime.inspect_sandbox(pod.id)
    assert sandbox is not None and sandbox.state is SandboxState.NOT_READY
    os.kill(started["pid"], signal.SIGKILL)


async def test_a_reused_pid_is_never_killed(processes: World) -> None:
    pod = await processes.pod()
    container_id = await pod.run(STUBBORN)
    path = record(processes, pod, container_id, "started.json")
    await asyncio.sleep(0.05)  # start times are counted in hundredths of a second
    stranger = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        real = change(path, pid=stranger.pid, shim=stranger.pid)
        assert (await seen(processes, container_id)).exit_code == LOST
        await processes.runtime.stop_container(container_id, 0)
        await asyncio.sleep(0.2)
        assert stranger.returncode is None
    finally:
        stranger.kill()
        await stranger.wait()
    change(path, **real)
    assert (await seen(processes, container_id)).state is ContainerState.RUNNING


async def test_a_process_without_its_shim_runs_on_and_can_be_stopped(processes: World) -> None:
    pod = await processes.pod()
    container_id = await pod.run(STUBBORN)
    started = json.loads(record(processes, pod, container_id, "started.json").read_text())
    os.kill(started["shim"], signal.SIGKILL)
    assert (await seen(processes, container_id)).state is ContainerState.RUNNING
    await processes.runtime.stop_container(container_id, 0)
    assert (await seen(processes, container_id)).exit_code == LOST


async def test_a_command_that_no_kernel_takes_is_an_exit_with_a_reason(processes: World) -> None:
    pod = await processes.pod()
    container_id = await pod.create(script("a\0b"))
    with pytest.raises(TemporaryError, match="null byte"):
        await processes.runtime.start_container(container_id)
    assert (await seen(processes, container_id)).reason == "StartError"


async def test_what_a_process_leaves_behind_dies_with_it(processes: World) -> None:
    pod = await processes.pod()
    leaves = script("setsid sleep 4321 & echo $! >$PIDS; sleep 4321 & echo $! >>$PIDS; sleep 0.2")
    pids = processes.logs / "pids"
    await ended(processes, await pod.run(leaves, env=(("PIDS", str(pids)),)))
    left = [int(pid) for pid in pids.read_text().split()]
    assert len(left) == 2
    assert not any(start_time(pid) for pid in left)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff\xfe"])
async def test_a_torn_record_is_no_pod_and_no_error(processes: World, damage: bytes) -> None:
    pod = await processes.pod()
    (processes.logs / "records" / pod.id / "sandbox.json").write_bytes(damage)
    assert await processes.runtime.list_sandboxes() == []
    await processes.runtime.remove_sandbox(pod.id)


async def _forgets_exit_codes(world: World) -> bool:
    """containerd 2 clears away the shims of what ended meanwhile, and what they know with them."""
    return (await world.runtime.info()).version.startswith("2.")


async def test_what_a_crash_has_left_half_made_takes_no_name_and_no_room(
    processes: World,
) -> None:
    """Killed, or without room on the disk, between a folder and its record."""
    pod = await processes.pod()
    container_id = await pod.create(RUNS)
    record(processes, pod, container_id, "container.json").unlink()
    assert await pod.create(RUNS) == container_id
    (processes.logs / "records" / pod.id / "sandbox.json").unlink()
    assert await processes.runtime.start_sandbox(pod.config) == pod.id
    assert await pod.create(RUNS) == container_id
    left = processes.logs / "records" / ("0" * 32)
    left.mkdir()
    processes.open()
    assert not left.exists()
    assert (await seen(processes, container_id)).state is ContainerState.CREATED
