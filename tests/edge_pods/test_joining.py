"""A question that many ask is put once for all who asked before it was put."""

from __future__ import annotations

import asyncio

import pytest

from shared.joining import Joint
from tests.parts.virtual_time import virtual


class Counted:
    """Answers, after a second, how often it was asked by then."""

    def __init__(self) -> None:
        self.times = 0
        self.error: Exception | None = None

    async def put(self) -> int:
        self.times += 1
        answer = self.times
        await asyncio.sleep(1)
        if self.error:
            raise self.error
        return answer


@virtual
async def test_who_asks_at_the_same_moment_shares_an_answer() -> None:
    counted = Counted()
    joint = Joint(counted.put, name="count")
    assert await asyncio.gather(*(joint.ask() for _ in range(20))) == [1] * 20
    assert joint.is_idle


@virtual
async def test_who_asks_while_it_is_being_put_waits_for_the_next_answer() -> None:
    counted = Counted()
    joint = Joint(counted.put, name="count")
    first = asyncio.create_task(joint.ask())
    await asyncio.sleep(0.5)
    assert await asyncio.gather(joint.ask(), joint.ask()) == [2, 2]
    assert (await first, counted.times) == (1, 2)


@virtual
async def test_an_error_reaches_all_who_asked_and_nobody_after() -> None:
    counted = Counted()
    joint = Joint(counted.put, name="count")
    counted.error = OSError("no answer")
    for outcome in await asyncio.gather(joint.ask(), joint.ask(), return_exceptions=True):
        assert isinstance(outcome, OSError)
    counted.error = None
    assert await joint.ask() == 2


@virtual
async def test_who_gives_up_takes_the_answer_from_nobody() -> None:
    counted = Counted()
    joint = Joint(counted.put, name="count")
    impatient, patient = asyncio.create_task(joint.ask()), asyncio.create_task(joint.ask())
    await asyncio.sleep(0.5)
    impatient.cancel()
    assert await patient == 1
    with pytest.raises(asyncio.CancelledError):
        await impatient


@virtual
async def test_nothing_goes_on_after_its_close() -> None:
    joint = Joint(Counted().put, name="count")
    asked = [asyncio.create_task(joint.ask())]
    await asyncio.sleep(0.5)
    asked.append(asyncio.create_task(joint.ask()))
    await asyncio.sleep(0.1)
    await joint.close()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in outcomes)
    assert asyncio.all_tasks() == {asyncio.current_task()}
