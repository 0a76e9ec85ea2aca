"""What a program in a container is given and what it leaves: only where something really runs."""

from __future__ import annotations

import asyncio
import os
import re
import time
from pathlib import Path

import pytest

from edgeagent.runtime.port import ContainerSecurity, ContainerState
from edgeagent.runtime.process import ProcessRuntime
from shared.clock import SystemClock
from shared.errors import PermanentError, TemporaryError
from tests.runtime_contract.worlds import (
    RUNS,
    Program,
    World,
    ended,
    eventually,
    log_lines,
    script,
    seen,
    text_of,
)

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d:\d\d) (stdout|stderr) [FP] .*")


async def test_env_arguments_and_working_directory(process_world: World) -> None:
    pod = await process_world.pod()
    told = await pod.output(
        Program(""),
        command=("/bin/sh", "-c", 'echo "$0 $1|$GREETING|$(pwd)"'),
        args=("zero", "one two"),
        env=(("GREETING", "good $day; `id`"),),
        working_dir="/tmp",
    )
    assert told == "zero one two|good $day; `id`|/tmp"


async def test_logs_are_in_cri_format(process_world: World) -> None:
    pod = await process_world.pod()
    speaks = script("echo to-out; echo to-err >&2; echo; printf 'no newline'")
    container = await ended(process_world, await pod.run(speaks))

    async def complete() -> bool:
        return len(log_lines(container)) == 4

    await eventually(complete)
    lines = text_of(container.log_path).splitlines()
    assert all(STAMP.fullmatch(line) for line in lines), lines
    said = log_lines(container)
    assert [text for stream, text in said if stream == "stdout"] == ["to-out", "", "no newline"]
    assert ("stderr", "to-err") in said


async def test_long_lines_come_in_parts(process_world: World) -> None:
    pod = await process_world.pod()
    long_line = script("head -c 40000 /dev/zero | tr '\\0' x; echo; echo end")
    container = await ended(process_world, await pod.run(long_line))

    async def complete() -> bool:
        return log_lines(container)[-1:] == [("stdout", "end")]

    await eventually(complete)
    lines = text_of(container.log_path).splitlines()
    parts = [line.split(" ", 3) for line in lines[:-1]]
    assert [tag for _, _, tag, _ in parts] == ["P"] * (len(parts) - 1) + ["F"]
    assert "".join(text for *_, text in parts) == "x" * 40000


async def test_a_rotated_log_goes_on_in_a_new_file(process_world: World) -> None:
    pod = await process_world.pod()
    container_id = await pod.run(script("while :; do echo tick; sleep 0.05; done"))
    container = await seen(process_world, container_id)
    moved = container.log_path + ".1"

    async def has_lines() -> bool:
        return log_lines(container) != []

    await eventually(has_lines)
    os.rename(container.log_path, moved)
    await process_world.runtime.reopen_log(container_id)
    await eventually(has_lines)
    before = text_of(moved)
    await asyncio.sleep(0.2)
    assert text_of(moved) == before


async def test_exec_gives_both_streams_and_the_code(process_world: World) -> None:
    pod = await process_world.pod()
    container_id = await pod.run(RUNS, env=(("WHO", "me"),))
    done = await process_world.runtime.exec_sync(
        container_id, ["/bin/sh", "-c", "echo $WHO; echo oh >&2; exit 3"], 5
    )
    assert (done.exit_code, done.stdout, done.stderr) == (3, b"me\n", b"oh\n")


async def test_exec_that_takes_too_long_is_cut_off(process_world: World) -> None:
    pod = await process_world.pod()
    container_id = await pod.run(RUNS)
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        await process_world.runtime.exec_sync(container_id, ["sleep", "60"], 1)
    assert time.monotonic() - started < 5
    assert (await seen(process_world, container_id)).state is ContainerState.RUNNING


async def test_exec_needs_a_running_container_and_a_real_command(process_world: World) -> None:
    pod = await process_world.pod()
    container_id = await pod.run(RUNS)
    for command in (["/no/such"], []):
        with pytest.raises(TemporaryError):
            await process_world.runtime.exec_sync(container_id, command, 1)
    await process_world.runtime.stop_container(container_id, 0)
    with pytest.raises(TemporaryError):
        await process_world.runtime.exec_sync(container_id, ["true"], 1)


async def test_a_program_can_run_as_a_user_and_groups(process_world: World) -> None:
    pod = await process_world.pod()
    security = ContainerSecurity(run_as_user=1234, run_as_group=77, supplemental_groups=(88,))
    told = await pod.output(script("id -u; id -g; id -G"), security=security, working_dir="/")
    user, group, groups = told.splitlines()
    assert (user, group) == ("1234", "77")
    assert "88" in groups.split()


async def test_stats_show_cpu_and_memory_of_what_runs(process_world: World) -> None:
    pod = await process_world.pod()
    container_id = await pod.run(script("while :; do :; done"))

    async def busy() -> bool:
        found = await process_world.runtime.stats()
        if not found:
            return False  # The runtime measures at its own pace.
        [one] = found
        assert (one.container_id, one.name, one.pod_uid) == (container_id, "main", pod.config.uid)
        return one.cpu_usage_ns > 50_000_000 and one.memory_working_set_bytes > 10_000

    await eventually(busy, within=30)


async def test_the_process_runtime_needs_a_command(tmp_path: Path) -> None:
    runtime = ProcessRuntime(tmp_path / "records", clock=SystemClock())
    world = World("process", runtime, open=lambda: runtime, logs=tmp_path)
    pod = await world.pod()
    with pytest.raises(PermanentError, match="give the container a command"):
        await pod.create(Program(""), args=("serve",))
    await world.close()
