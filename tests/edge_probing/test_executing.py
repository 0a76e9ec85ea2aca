"""Commands of probes run some at a time, and none fails or waits for long because of others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from edgeagent.pods.probing.executing import InTurns
from edgeagent.runtime.port import ExecResult
from tests.parts.virtual_time import virtual


class Device:
    """Commands are the seconds that they take; a time-out is the runtime's."""

    def __init__(self) -> None:
        self.running = self.most = 0

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout: float
    ) -> ExecResult:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            async with asyncio.timeout(timeout):
                await asyncio.sleep(float(command[0]))
        finally:
            self.running -= 1
        return ExecResult(0, b"", b"")


@virtual
async def test_so_many_run_at_a_time_and_the_time_of_each_begins_with_it() -> None:
    device = Device()
    execs = InTurns(device)
    await asyncio.gather(*(execs.exec_sync("c", ["0.9"], 1) for _ in range(100)))
    assert device.most == 16


@virtual
async def test_those_that_hang_hold_up_the_others_for_a_moment_only() -> None:
    device = Device()
    execs = InTurns(device)
    hanging = [asyncio.create_task(execs.exec_sync("c", ["3600"], 3600)) for _ in range(16)]
    await asyncio.sleep(1)
    async with asyncio.timeout(12):
        assert (await execs.exec_sync("c", ["0.9"], 1)).exit_code == 0
    for one in hanging:
        one.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)
    device.most = 0
    await asyncio.gather(*(execs.exec_sync("c", ["0.9"], 1) for _ in range(100)))
    assert device.most == 16


@virtual
async def test_a_command_that_hangs_keeps_its_turn_from_nobody_for_long() -> None:
    device = Device()
    execs = InTurns(device)
    hanging = [asyncio.create_task(execs.exec_sync("c", ["3600"], 3600)) for _ in range(16)]
    await asyncio.sleep(11)
    for _ in range(20):
        async with asyncio.timeout(1):
            await execs.exec_sync("c", ["0.9"], 1)
    for one in hanging:
        one.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)
    device.most = 0
    await asyncio.gather(*(execs.exec_sync("c", ["0.9"], 1) for _ in range(100)))
    assert device.most == 16, "no turn was given back twice"
