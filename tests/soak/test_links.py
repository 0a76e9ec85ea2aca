"""Bad links that take their time: one that swallows everything, and one that comes and goes."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from tests.parts.system import System
from tests.parts.view import container_of, is_ready, restarts_of

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]

NAMES = ("web-1", "web-2")


async def running(system: System) -> set[str]:
    for name in NAMES:
        await system.create_pod(name)
    await system.running(*NAMES)
    return system.running_ids()


async def test_a_half_open_link_is_noticed_on_both_sides(system: System) -> None:
    """Keep-alive is 60 s: the agent misses an answer, the broker gives up after 1.5 of it."""
    before = await running(system)
    system.switch.freeze()
    began = time.monotonic()
    await system.node_is("Unknown", within=150)
    cloud = time.monotonic() - began
    async with asyncio.timeout(150):
        while "link:     not connected" not in await system.edgeagent("status"):
            await asyncio.sleep(1)
    print(f"half-open: the cloud knows after {cloud:.0f} s, the device within")
    print(f"{time.monotonic() - began:.0f} s")
    await system.delete_pod("web-2")
    system.kill_container(container_of(system.view.pods["web-1"])["containerID"])
    await asyncio.sleep(5)
    system.switch.restore()
    began = time.monotonic()
    await system.gone("web-2", within=120)
    await system.view.until(
        "the restart is reported",
        lambda: is_ready(pod := system.view.pods["web-1"]) and restarts_of(pod) == 1,
        within=120,
    )
    print(f"restored: all told after {time.monotonic() - began:.0f} s")
    assert before - system.running_ids()


async def test_flapping_for_minutes_restarts_nothing_and_ends_in_step(system: System) -> None:
    before, rng = await running(system), random.Random(3)
    over = time.monotonic() + 180
    flaps = 0
    while time.monotonic() < over:
        await asyncio.sleep(rng.uniform(0.5, 5))
        system.switch.cut()
        await asyncio.sleep(rng.uniform(0.1, 3))
        system.switch.restore()
        flaps += 1
        await system.create_pod(f"flap-{flaps}")
        if flaps > 3:
            await system.delete_pod(f"flap-{flaps - 3}")
    last = [f"flap-{number}" for number in range(flaps - 2, flaps + 1)]
    await system.running(*NAMES, *last, within=120)
    await system.view.until(
        "nothing but what is wanted", lambda: set(system.view.pods) == {*NAMES, *last}, within=120
    )
    print(f"{flaps} flaps")
    assert before <= system.running_ids()
    assert all(restarts_of(pod) == 0 for pod in system.view.pods.values())
