"""The time of a probe is the container's: what the agent itself is busy with does not count."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from edgeagent.pods.probing.allowance import Allowance
from edgeagent.pods.probing.checking import Outcome, check
from edgeagent.pods.probing.handlers import Target
from edgeagent.runtime.memory import MemoryRuntime
from edgeagent.runtime.memory_device import MemoryDevice
from shared.clock import SystemClock
from shared.objects import Json
from tests.edge_probing.test_http import OK, a_server
from tests.parts.virtual_time import virtual

BUSY = 5.0


class BusyLoop(asyncio.SelectorEventLoop):
    """Its time can be made to pass while nothing is looked at: the agent had other things to do."""

    busy = 0.0

    def time(self) -> float:
        return super().time() + self.busy


def on_a_busy_loop(story: Callable[[BusyLoop], Awaitable[None]]) -> Callable[[], None]:
    @functools.wraps(story)
    def run() -> None:
        with asyncio.Runner(loop_factory=BusyLoop) as runner:
            runner.run(told())

    async def told() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, BusyLoop)
        await story(loop)

    del run.__dict__["__wrapped__"]  # Else pytest looks for a fixture of its argument's name.
    return run


async def probed(port: int, **handler: Any) -> Outcome | None:
    probe: Json = {**handler, "timeoutSeconds": 1}
    target = Target({"name": "main"}, "id", ("127.0.0.1",))
    return await check(probe, target, MemoryRuntime(MemoryDevice(SystemClock())))


@on_a_busy_loop
async def test_an_agent_that_sees_an_answer_late_does_not_call_the_server_slow(
    loop: BusyLoop,
) -> None:
    async def answer() -> bytes:
        loop.busy += BUSY
        await asyncio.sleep(0.02)
        return OK

    async with a_server(lambda _: answer()) as port:
        outcome = await probed(port, httpGet={"port": port})
        assert outcome is not None
        assert outcome.good, outcome


@on_a_busy_loop
async def test_nor_one_that_sees_a_connection_late(loop: BusyLoop) -> None:
    async with a_server(lambda _: OK) as port:
        loop.call_soon(loop.call_soon, setattr, loop, "busy", BUSY)
        outcome = await probed(port, tcpSocket={"port": port})
        assert outcome is not None
        assert outcome.good, outcome


@virtual
async def test_a_time_that_nothing_delays_is_the_time_itself() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    allowance = Allowance(3.0)
    async with allowance.running():
        await asyncio.sleep(1.01)
    with pytest.raises(TimeoutError):
        async with allowance.running():
            await asyncio.sleep(60)
    assert loop.time() - began == pytest.approx(3.0, abs=0.1)


@on_a_busy_loop
async def test_an_agent_that_is_always_late_waits_for_some_times_as_long(loop: BusyLoop) -> None:
    def work() -> None:
        nonlocal working
        loop.busy += 0.2
        working = loop.call_soon(work)

    working = loop.call_soon(work)
    began = loop.time()
    with pytest.raises(TimeoutError):
        async with Allowance(1.0).running():
            await asyncio.Event().wait()
    working.cancel()
    assert 10 <= loop.time() - began < 12
