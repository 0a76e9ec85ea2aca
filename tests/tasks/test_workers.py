"""Workers by key: whoever is woken gets a turn, whatever was stopped before."""

from __future__ import annotations

import asyncio

from edgeagent.pods.model.actions import RemoveVolumes
from edgeagent.pods.operations import Operations
from shared.clock import SystemClock
from shared.tasks import KeyedWorkers


async def test_a_worker_stopped_before_its_first_step_can_be_woken_again() -> None:
    worked: list[str] = []

    async def work(key: str) -> None:
        worked.append(key)

    workers = KeyedWorkers(work, clock=SystemClock(), name="pod")
    workers.wake("web")
    await workers.stop()
    assert (worked, workers.keys()) == ([], [])
    workers.wake("web")
    await asyncio.sleep(0.01)
    assert worked == ["web"]


async def test_who_is_woken_while_others_are_stopped_works_alone() -> None:
    working: list[str] = []
    twice: list[str] = []

    async def work(key: str) -> None:
        twice.extend(one for one in working if one == key)
        working.append(key)
        try:
            await asyncio.sleep(0.05)
        finally:
            await asyncio.sleep(0)
            working.remove(key)

    workers = KeyedWorkers(work, clock=SystemClock(), name="pod")
    workers.wake("web")
    await asyncio.sleep(0)
    stopping = asyncio.create_task(workers.stop())
    await asyncio.sleep(0)
    workers.wake("late")
    await stopping
    assert workers.keys() == ["late"]
    workers.wake("late")
    async with asyncio.timeout(20):
        while workers.keys():
            await asyncio.sleep(0.01)
    assert (working, twice) == ([], [])


async def test_an_operation_stopped_before_its_first_step_is_not_under_way_for_ever() -> None:
    operations = Operations(lambda: None)

    async def work() -> None:
        await asyncio.sleep(0)

    operations.begin(RemoveVolumes(), work)
    await operations.close()
    assert operations.under_way() == ()
