"""Kill -9 of every process in turn under a steady stream of changes ends converged."""

from __future__ import annotations

import asyncio
import random

import pytest

from shared.tasks import stop
from tests.parts.system import System
from tests.parts.view import container_of, restarts_of

CHANGES = 100
STABLE = 3
MOST_ALIVE = 12


@pytest.mark.timeout(420)
async def test_killing_each_process_in_turn_during_a_hundred_changes(system: System) -> None:
    stable = [f"stable-{number}" for number in range(STABLE)]
    for name in stable:
        await system.create_pod(name)
    await system.running(*stable)
    first = {name: container_of(system.view.pods[name])["containerID"] for name in stable}

    killer = asyncio.create_task(_kill_in_turn(system))
    wanted = await _change(system, random.Random(7))
    await stop(killer)
    await _all_up(system)

    await system.running(*stable, *wanted, within=120)
    await system.view.until(
        "nothing but what is wanted",
        lambda: set(system.view.pods) == {*stable, *wanted},
        within=120,
    )
    for name in stable:
        assert container_of(system.view.pods[name])["containerID"] == first[name]
    for name in {*stable, *wanted}:
        assert restarts_of(system.view.pods[name]) == 0, f"{name} was restarted without need"
    async with asyncio.timeout(60):
        while len(system.running_ids()) != 2 * (len(wanted) + STABLE):
            await asyncio.sleep(0.2)


async def _change(system: System, rng: random.Random) -> set[str]:
    """A hundred creations and deletions; returns the names that should be there at the end."""
    alive: set[str] = set()
    for number in range(CHANGES):
        if alive and (len(alive) >= MOST_ALIVE or rng.random() < 0.45):
            name = rng.choice(sorted(alive))
            alive.discard(name)
            await system.delete_pod(name, grace=rng.choice([0, 2, 5]))
        else:
            name = f"pod-{number}"
            alive.add(name)
            await system.create_pod(name)
        await asyncio.sleep(0.5)
    return alive


async def _kill_in_turn(system: System) -> None:
    """SIGKILL, a moment of absence, start again; hub, agent, broker, containerd, and again."""
    while True:
        for victim in (system.hub, system.agent):
            await asyncio.sleep(3)
            await victim.kill()
            await asyncio.sleep(0.5)
            await victim.start()
        await asyncio.sleep(3)
        await asyncio.to_thread(system.broker.kill)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(system.broker.start)
        await asyncio.sleep(3)
        await asyncio.to_thread(system.containerd.restart)


async def _all_up(system: System) -> None:
    """The killer may have been stopped between a kill and its start."""
    for program in (system.hub, system.agent):
        await program.kill()
        await program.start()
    await asyncio.to_thread(system.broker.restart)
    await asyncio.to_thread(system.containerd.restart)
