"""Sandboxes and containers from creation to removal, on all runtimes."""

from __future__ import annotations

import time

import pytest

from edgeagent.runtime.port import ContainerState, IdRange, SandboxSecurity, SandboxState
from shared.errors import TemporaryError
from tests.parts import images
from tests.parts.containerd import need_user_namespaces
from tests.runtime_contract.worlds import (
    RUNS,
    STUBBORN,
    Program,
    World,
    by_name,
    ended,
    exits,
    seen,
    trap_set,
)


async def test_a_pod_lives_and_is_gone(world: World) -> None:
    runtime = world.runtime
    pod = await world.pod()
    container_id = await pod.create(RUNS)
    assert (await seen(world, container_id)).state is ContainerState.CREATED
    await runtime.start_container(container_id)

    [listed] = await runtime.list_sandboxes()
    assert (listed.id, listed.state) == (pod.id, SandboxState.READY)
    assert [one.id for one in listed.containers] == [container_id]
    assert listed.containers[0].state is ContainerState.RUNNING

    await runtime.stop_container(container_id, 5)
    assert (await seen(world, container_id)).state is ContainerState.EXITED
    await runtime.stop_sandbox(pod.id)
    stopped = await runtime.inspect_sandbox(pod.id)
    assert stopped is not None and stopped.state is SandboxState.NOT_READY
    await runtime.remove_sandbox(pod.id)
    assert await runtime.list_sandboxes() == []
    assert await runtime.inspect_sandbox(pod.id) is None
    assert await runtime.inspect_container(container_id, pod.id) is None


async def test_names_labels_and_times_come_back_as_given(world: World) -> None:
    before = time.time_ns()
    pod = await world.pod()
    await pod.run(RUNS, name="one", attempt=3)
    sandbox = await world.runtime.inspect_sandbox(pod.id)
    assert sandbox is not None
    given = pod.config
    assert (sandbox.name, sandbox.namespace, sandbox.uid) == (given.name, "default", given.uid)
    assert (sandbox.labels, sandbox.annotations) == (given.labels, given.annotations)
    assert len(sandbox.ips) == 1
    container = by_name(sandbox.containers)["one"]
    assert (container.attempt, container.sandbox_id) == (3, pod.id)
    assert container.annotations == {"example.com/hash": "42"}
    assert container.log_path == f"{given.log_directory}/one/0.log"
    assert container.image == images.BUSYBOX and container.image_ref
    slack = 2_000_000_000
    assert before - slack < sandbox.created_at <= container.created_at <= container.started_at
    assert container.started_at < time.time_ns() + slack


@pytest.mark.parametrize("code", [0, 7])
async def test_the_exit_code_is_the_true_one(world: World, code: int) -> None:
    pod = await world.pod()
    container = await ended(world, await pod.run(exits(code, after=0.2)))
    assert container.exit_code == code
    assert container.reason == ("Error" if code else "Completed")
    assert container.finished_at >= container.started_at > 0


async def test_stop_gives_the_program_its_signal(world: World) -> None:
    pod = await world.pod()
    container_id = await pod.run(RUNS)
    await trap_set(world, container_id)
    started = time.monotonic()
    await world.runtime.stop_container(container_id, 30)
    assert time.monotonic() - started < 20, "it has not waited for the grace to pass"
    assert (await seen(world, container_id)).exit_code == 143


async def test_stop_kills_after_the_grace_and_not_before(world: World) -> None:
    pod = await world.pod()
    container_id = await pod.run(STUBBORN)
    started = time.monotonic()
    await world.runtime.stop_container(container_id, 1)
    assert 0.9 < time.monotonic() - started < 10
    assert (await seen(world, container_id)).exit_code == 137


async def test_without_grace_it_dies_at_once(world: World) -> None:
    pod = await world.pod()
    container_id = await pod.run(STUBBORN)
    started = time.monotonic()
    await world.runtime.stop_container(container_id, 0)
    assert time.monotonic() - started < 8
    assert (await seen(world, container_id)).exit_code == 137


async def test_a_pod_can_have_users_of_its_own(daemon_world: World) -> None:
    need_user_namespaces(await daemon_world.runtime.info())
    for first in (1 << 20, 1 << 21):
        pod = await daemon_world.pod(security=SandboxSecurity(ids=IdRange(first, 65536)))
        container_id = await pod.run(RUNS)
        done = await daemon_world.runtime.exec_sync(container_id, ["cat", "/proc/self/uid_map"], 5)
        # In memory nothing really runs.
        expected = f"0 {first} 65536" if daemon_world.kind == "containerd" else ""
        assert " ".join(done.stdout.decode().split()) == expected


async def test_stopping_the_sandbox_kills_what_runs_in_it(world: World) -> None:
    pod = await world.pod()
    container_id = await pod.run(STUBBORN)
    await world.runtime.stop_sandbox(pod.id)
    assert (await seen(world, container_id)).state is ContainerState.EXITED


async def test_stop_and_remove_are_idempotent(world: World) -> None:
    runtime = world.runtime
    pod = await world.pod()
    container_id = await pod.run(exits(0))
    for _ in range(2):
        await runtime.stop_container(container_id, 1)
    for _ in range(2):
        await runtime.remove_container(container_id)
        await runtime.stop_container(container_id, 1)
    for _ in range(2):
        await runtime.stop_sandbox(pod.id)
    for _ in range(2):
        await runtime.remove_sandbox(pod.id)
        await runtime.stop_sandbox(pod.id)
    await runtime.stop_container("nothing", 1)
    await runtime.remove_container("../../nothing")
    await runtime.remove_sandbox("nothing")


async def test_a_running_container_can_be_removed(world: World) -> None:
    pod = await world.pod()
    container_id = await pod.run(RUNS)
    await world.runtime.remove_container(container_id)
    sandbox = await world.runtime.inspect_sandbox(pod.id)
    assert sandbox is not None and sandbox.containers == ()


async def test_a_name_is_taken_until_it_is_removed(world: World) -> None:
    pod = await world.pod()
    first = await pod.create(RUNS)
    with pytest.raises(TemporaryError):
        await pod.create(RUNS)
    with pytest.raises(TemporaryError):
        await world.runtime.start_sandbox(pod.config)
    second = await pod.create(RUNS, attempt=1)
    await world.runtime.remove_container(first)
    sandbox = await world.runtime.inspect_sandbox(pod.id)
    assert sandbox is not None
    assert [one.id for one in sandbox.containers] == [second]
    await pod.create(RUNS)


async def test_the_newest_container_comes_first(world: World) -> None:
    pod = await world.pod()
    first = await pod.run(exits(1))
    await ended(world, first)
    second = await pod.run(RUNS, attempt=1)
    [sandbox] = await world.runtime.list_sandboxes()
    assert [one.id for one in sandbox.containers] == [second, first]


async def test_only_a_created_container_in_a_ready_sandbox_starts(world: World) -> None:
    pod = await world.pod()
    container_id = await pod.run(RUNS)
    with pytest.raises(TemporaryError):
        await world.runtime.start_container(container_id)
    await world.runtime.stop_sandbox(pod.id)
    # containerd 2.1 makes one; the agent never asks for it.
    if not (await world.runtime.info()).version.startswith("2.1."):
        with pytest.raises(TemporaryError):
            await pod.create(RUNS, name="late")
    with pytest.raises(TemporaryError):
        await world.runtime.start_container("nothing")


async def test_a_container_joins_the_processes_of_one_that_runs_only(daemon_world: World) -> None:
    """Processes of the host itself have no namespaces to join."""
    pod = await daemon_world.pod()
    target = await pod.run(exits(0))
    await ended(daemon_world, target)
    for nobody in (target, "0" * 64):
        with pytest.raises(TemporaryError, match="target container"):
            await pod.create(RUNS, name="debug", processes_of=nobody)
    target = await pod.run(RUNS, attempt=1)
    await pod.run(RUNS, name="debug", processes_of=target)


async def test_a_command_that_is_not_there_says_so(process_world: World) -> None:
    pod = await process_world.pod()
    container_id = await pod.create(Program(""), command=("/no/such/program",))
    with pytest.raises(TemporaryError, match="/no/such/program"):
        await process_world.runtime.start_container(container_id)
    container = await seen(process_world, container_id)
    assert (container.state, container.exit_code) == (ContainerState.EXITED, 128)
    assert container.reason == "StartError"


async def test_the_runtime_says_who_it_is(world: World) -> None:
    info = await world.runtime.info()
    assert info.name == world.kind and info.version
    assert "" in [one.name for one in info.handlers]
    assert info.cgroup_driver in ("cgroupfs", "systemd")
    assert await world.runtime.network_ready() == (True, "")
