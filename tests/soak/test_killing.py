"""Kill -9 at random moments for a long time while pods keep changing, and memory over time.

Twice: with every process dying, and with hub and agent left alive between a broker and a containerd
that die and a link that breaks, which is where memory that grows would show. ``SOAK_MINUTES`` and
``SOAK_SEED`` in the environment say for how long and which story.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

import pytest

from tests.parts.mayhem import Changes, Victim, memory, victims
from tests.parts.system import System
from tests.parts.view import ready_of

MINUTES = float(os.environ.get("SOAK_MINUTES", "20"))
SEED = int(os.environ.get("SOAK_SEED", "11"))
SAMPLE_SECONDS = 10.0
MOST_GROWTH = 1_500
"""KiB between the third fifth of the time and the last: noise of the heap, no more. Before that
everything happens for the first time, which costs some MiB and only once.
"""

pytestmark = [pytest.mark.soak, pytest.mark.timeout(MINUTES * 60 + 900)]


async def test_every_process_dies_at_random_moments(system: System) -> None:
    story = Story(system, victims(system))
    await story.run()
    assert all(story.deaths[name] >= MINUTES / 2 for name in victims(system)), story.deaths


async def test_memory_does_not_grow_between_a_dying_broker_and_a_dying_runtime(
    system: System,
) -> None:
    mortals = {name: victims(system)[name] for name in ("broker", "containerd")}
    mortals["link"] = Victim(_at_once(system.switch.cut), _at_once(system.switch.restore))
    pids = system.hub.pid, system.agent.pid
    story = Story(system, mortals)
    await story.run()
    assert pids == (system.hub.pid, system.agent.pid), "these two were to live"
    for name, samples in (("hub", story.hub), ("agent", story.agent)):
        fifth = len(samples) // 5
        early = statistics.median(samples[2 * fifth : 3 * fifth])
        late = statistics.median(samples[-fifth:])
        print(f"{name}: median RSS {early / 1024:.1f} MiB in the middle,")
        print(f"  {late / 1024:.1f} MiB at the end")
        assert late - early < MOST_GROWTH, samples


class Story:
    """Changes, deaths and samples of memory, each in a task of its own."""

    def __init__(self, system: System, mortals: Mapping[str, Victim]) -> None:
        self.deaths: Counter[str] = Counter()
        self.hub: list[int] = []
        self.agent: list[int] = []
        self._system = system
        self._mortals = mortals
        self._changes = Changes(system, random.Random(SEED))
        self._rng = random.Random(SEED + 1)
        self._over = 0.0

    async def run(self) -> None:
        await self._changes.begin()
        self._over = time.monotonic() + MINUTES * 60
        await asyncio.gather(self._change(), self._kill(), self._sample())
        began = time.monotonic()
        await self._changes.have_settled(within=180)
        await self._system.node_is("True", within=120)
        settled = time.monotonic() - began
        print(f"{MINUTES:g} minutes: {self._changes.count} changes, deaths {dict(self.deaths)}")
        print(f"converged {settled:.1f} s after the last change")
        await self._system.status_says("link:     connected, for", "all delivered to the broker")

    async def _change(self) -> None:
        while time.monotonic() < self._over:
            await self._changes.one()
            await asyncio.sleep(self._rng.uniform(0.5, 4))

    async def _kill(self) -> None:
        while time.monotonic() < self._over:
            await asyncio.sleep(self._rng.uniform(0.1, 12))
            name = self._rng.choice(sorted(self._mortals))
            await self._mortals[name].kill()
            self.deaths[name] += 1
            await asyncio.sleep(self._rng.uniform(0, 6))
            await self._mortals[name].start()

    async def _sample(self) -> None:
        began = time.monotonic()
        while time.monotonic() < self._over:
            await asyncio.sleep(SAMPLE_SECONDS)
            self.hub.append(memory(self._system.hub))
            self.agent.append(memory(self._system.agent))
            if len(self.hub) % 6 == 0:
                ready = ready_of(self._system.view.nodes.get(self._system.node))
                print(
                    f"{(time.monotonic() - began) / 60:5.1f} min  hub {self.hub[-1] / 1024:.1f}"
                    f"  agent {self.agent[-1] / 1024:.1f} MiB  node Ready={ready}"
                    f"  {self._changes.count} changes  {sum(self.deaths.values())} deaths",
                    flush=True,
                )


def _at_once(call: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    async def step() -> None:
        call()

    return step
