"""Kill -9 of every process in turn under a steady stream of changes ends converged."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.parts.system import System
from tests.parts.view import container_of, restarts_of

Step = Callable[[], Awaitable[Any]]

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

    over = asyncio.Event()
    killer = asyncio.create_task(_kill_in_turn(system, over))
    wanted = await _change(system, random.Random(7))
    over.set()
    await killer

    await system.running(*stable, *wanted, within=120)
    await system.view.until(
        "nothing but what is wanted",
        lambda: set(system.view.pods) == {*stable, *wanted},
        within=120,
    )
    for name in stable:
        assert container_of(system.view.pods[name])["containerID"] == first[name]
    for name in {*stable, *wanted}:
        pod = system.view.pods[name]
        assert restarts_of(pod) == 0, f"{name} was restarted: {container_of(pod)['lastState']}"
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


async def _kill_in_turn(system: System, over: asyncio.Event) -> None:
    """SIGKILL, a moment of absence, start again; hub, agent, broker, containerd, and again."""
    for kills, (kill, start) in enumerate(itertools.cycle(_victims(system))):
        await asyncio.sleep(3)
        if over.is_set() and kills >= 4:
            return
        await kill()
        await asyncio.sleep(0.5)
        await start()


def _victims(system: System) -> list[tuple[Step, Step]]:
    """How each process is killed and how it is started again."""
    return [
        (system.hub.kill, system.hub.start),
        (system.agent.kill, system.agent.start),
        (_on_this_thread(system.broker.kill), _on_this_thread(system.broker.start)),
        (_on_this_thread(system.containerd.kill), _on_this_thread(system.containerd.start)),
    ]


def _on_this_thread(call: Callable[[], None]) -> Step:
    """A child is told of its parent's death when the thread that started it ends."""

    async def step() -> None:
        call()

    return step
