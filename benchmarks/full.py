"""Rows about a node with many pods: what 20 cost while nothing happens, and 110, its limit."""

from __future__ import annotations

import asyncio
import time

from benchmarks.counting import cpu_seconds, rss_mb
from benchmarks.floor import Floor
from benchmarks.rows import Row
from tests.parts.system import System

SOME = 20
FULL = 110
"""The pods that a Node takes unless it says otherwise."""
BARE_AT_ONCE = 4
"""On two cores the bare calls for many pods are done the soonest this way."""
SETTLED = 15.0
MINUTE = 60.0


async def rows(system: System, floor: Floor) -> list[Row]:
    bare = await floor.many_seconds(FULL, at_once=BARE_AT_ONCE)
    await _at_once(system, "some", SOME)
    idle_some = await _idle(system)
    await system.gone(*await _delete(system, "some", SOME))
    took = await _at_once(system, "full", FULL)
    idle_full = await _idle(system)
    used = rss_mb(system.agent.pid)
    return [
        Row(
            what=f"agent CPU, idle, {SOME} pods",
            ours=f"{idle_some * 100:.2f} % of one core",
            target="< 1 %",
            met=idle_some < 0.01,
            method=f"user and system time over {MINUTE:.0f} s, nothing changing",
        ),
        Row(
            what=f"{FULL} small pods on one node → all Running",
            ours=f"{took:.1f} s, {took / bare:.2f} × the bare calls",
            method="first POST to last watch event, once; bare CRI calls for as many, "
            f"{BARE_AT_ONCE} at a time, {bare:.1f} s",
        ),
        Row(
            what=f"agent memory (RSS), {FULL} pods",
            ours=f"{used:.1f} MB",
            method=f"VmRSS {SETTLED + MINUTE:.0f} s after the last is Running, python -OO as in "
            "the systemd unit",
        ),
        Row(
            what=f"agent CPU, idle, {FULL} pods",
            ours=f"{idle_full * 100:.2f} % of one core",
            method=f"as with {SOME} pods",
        ),
    ]


async def _at_once(system: System, prefix: str, count: int) -> float:
    names = [f"{prefix}-{number}" for number in range(count)]
    started = time.monotonic()
    for name in names:
        await system.create_pod(name)
    await system.running(*names, within=300)
    return time.monotonic() - started


async def _delete(system: System, prefix: str, count: int) -> list[str]:
    names = [f"{prefix}-{number}" for number in range(count)]
    for name in names:
        await system.delete_pod(name, grace=0)
    return names


async def _idle(system: System) -> float:
    """The share of one core that the agent takes, once the last change is behind it."""
    await asyncio.sleep(SETTLED)
    before, began = cpu_seconds(system.agent.pid), time.monotonic()
    await asyncio.sleep(MINUTE)
    return (cpu_seconds(system.agent.pid) - before) / (time.monotonic() - began)
