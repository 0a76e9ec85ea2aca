"""Turns: how many starts at a time, and whose is the next."""

from __future__ import annotations

import asyncio

from edgeagent.pods.acting.turns import Start, Turns
from tests.edge_pods.world import World, a_pod
from tests.parts.virtual_time import virtual


class Queue:
    """Takers of one ``Turns``; ``order`` is in which they had their turn."""

    def __init__(self, at_once: int) -> None:
        self.turns = Turns(at_once)
        self.order: list[str] = []
        self.now = self.most = 0

    async def take(self, name: str, start: Start) -> None:
        async with self.turns.take(start):
            self.now += 1
            self.most = max(self.most, self.now)
            self.order.append(name)
            await asyncio.sleep(1)
            self.now -= 1

    async def waiting(self, name: str, start: Start) -> asyncio.Task[None]:
        task = asyncio.create_task(self.take(name, start))
        await asyncio.sleep(0)
        return task


@virtual
async def test_no_more_than_so_many_have_a_turn_at_once() -> None:
    queue = Queue(2)
    await asyncio.gather(*(queue.take(str(n), Start.SANDBOX) for n in range(7)))
    assert queue.most == 2
    assert queue.order == [str(n) for n in range(7)]


@virtual
async def test_a_container_goes_before_sandboxes_that_have_waited_longer() -> None:
    queue = Queue(1)
    tasks = [
        await queue.waiting("first", Start.SANDBOX),
        await queue.waiting("second", Start.SANDBOX),
        await queue.waiting("container", Start.CONTAINER),
    ]
    await asyncio.gather(*tasks)
    assert queue.order == ["first", "container", "second"]


@virtual
async def test_the_turn_of_who_gave_up_goes_to_the_next() -> None:
    queue = Queue(1)
    await queue.waiting("first", Start.SANDBOX)
    gives_up = await queue.waiting("gives up", Start.SANDBOX)
    last = await queue.waiting("last", Start.SANDBOX)
    gives_up.cancel()
    await last
    assert queue.order == ["first", "last"]


@virtual
async def test_who_gives_up_with_the_turn_in_hand_hands_it_on() -> None:
    queue = Queue(1)
    async with queue.turns.take(Start.SANDBOX):
        gives_up = await queue.waiting("gives up", Start.SANDBOX)
        last = await queue.waiting("last", Start.SANDBOX)
    gives_up.cancel()
    await last
    assert queue.order == ["last"]


@virtual
async def test_the_first_of_twenty_pods_runs_long_before_the_last_one_begins() -> None:
    async with World() as world:
        for call in ("start_sandbox", "create_container", "start_container"):
            world.device.latency[call] = 1.0
        uids = [world.apply(a_pod(f"web-{n}")) for n in range(20)]
        await world.passes(5.5)
        assert sum(world.running(uid) == ["main"] for uid in uids) >= 4
        await world.passes(11)
        assert all(world.running(uid) == ["main"] for uid in uids)
