"""Kill -9 of every process in turn under a steady stream of changes ends converged."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest

from tests.parts.mayhem import Changes, victims
from tests.parts.system import System

CHANGES = 100


@pytest.mark.timeout(420)
async def test_killing_each_process_in_turn_during_a_hundred_changes(system: System) -> None:
    changes = Changes(system, random.Random(7))
    await changes.begin()
    over = asyncio.Event()
    killer = asyncio.create_task(_kill_in_turn(system, over))
    while changes.count < CHANGES:
        await changes.one()
        await asyncio.sleep(0.5)
    over.set()
    await killer
    await changes.have_settled()


async def _kill_in_turn(system: System, over: asyncio.Event) -> None:
    """SIGKILL, a moment of absence, start again; hub, agent, broker, containerd, and again."""
    for kills, victim in enumerate(itertools.cycle(victims(system).values())):
        await asyncio.sleep(3)
        if over.is_set() and kills >= 4:
            return
        await victim.kill()
        await asyncio.sleep(0.5)
        await victim.start()
