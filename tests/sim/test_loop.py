"""The virtual-time loop: jumps, order, and deaths that leave nothing running."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from contextvars import copy_context
from typing import Any

import pytest

from simulator.loop import LIFE, Deadlock, Life, Livelock, VirtualLoop, unheard


def play(coroutine: Coroutine[Any, Any, Any]) -> Any:
    loop = VirtualLoop(random.Random(1))
    try:
        return loop.run_until_complete(coroutine)
    finally:
        with unheard():
            loop.close()


def test_an_hour_passes_in_no_time() -> None:
    async def sleeps() -> float:
        before = asyncio.get_running_loop().time()
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time() - before

    assert play(sleeps()) == pytest.approx(3600, abs=1e-3)


def test_blocking_work_runs_on_the_spot_and_its_errors_arrive() -> None:
    async def offloads() -> int:
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        return await asyncio.to_thread(lambda: 42)

    assert play(offloads()) == 42


def test_waiting_for_nothing_is_a_deadlock() -> None:
    async def waits() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock):
        play(waits())


def test_a_moment_without_end_is_a_livelock() -> None:
    async def spins() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(Livelock):
        play(spins())


def test_the_dead_do_nothing_any_more_not_even_finally() -> None:
    done: list[str] = []

    async def lives() -> None:
        try:
            while True:
                await asyncio.sleep(1)
                done.append("work")
        finally:
            done.append("finally")

    async def story() -> list[str]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        life, context = Life("agent"), copy_context()
        context.run(LIFE.set, life)
        agent = loop.create_task(lives(), context=context)
        await asyncio.sleep(2.5)
        life.end(loop)
        await asyncio.sleep(10)
        assert not agent.done()
        return list(done)

    assert play(story()) == ["work", "work"]
