"""Rows about bytes on the device's link."""

from __future__ import annotations

import asyncio

from benchmarks.counting import LinkBytes
from benchmarks.rows import Row
from tests.parts.system import System

LIVES = 20
IDLE_SECONDS = 180
FULL = 109
"""A node takes 110 pods, so that the one that lives beside these is its last."""


async def rows(system: System, *, tls: bool) -> list[Row]:
    """The agent of ``system`` uses the broker's device port."""
    label = "TLS" if tls else "no TLS"
    with LinkBytes(system.broker.device_port).counting() as link:
        life = await _per_life(system, link)
        idle = await _idle(link)
        crowd = [f"crowd-{number}" for number in range(FULL)]
        if not tls:
            await _fill(system, crowd)
            full = await _per_life(system, link)
    method = f"kernel's count of IP bytes on the agent's port, both ways, {label}"
    made = [
        Row(
            what=f"bytes on the link for one pod's whole life ({label})",
            ours=f"{life / 1000:.2f} KB",
            peer="44.5 KB" if not tls else "",
            target="≤ 2.2 KB" if not tls else "",
            met=life <= 2200 if not tls else None,
            method=f"{method}; mean of {LIVES} lives one after the other: create, run, delete",
        ),
        Row(
            what=f"bytes on the link, idle node, per minute ({label})",
            ours=f"{idle / 1000:.2f} KB",
            peer="17.5 KB" if not tls else "",
            target="≤ 0.35 KB" if not tls else "",
            met=idle <= 350 if not tls else None,
            method=f"{method}; {IDLE_SECONDS} s with no pods changing",
        ),
    ]
    if not tls:
        row = Row(
            what=f"the same on a node that already has {FULL} pods (its limit is 110)",
            ours=f"{full / 1000:.2f} KB",
            peer="not measured",
            target="≤ 3 KB",
            met=full <= 3000,
            method=method,
        )
        made.insert(1, row)
    return made


async def _per_life(system: System, link: LinkBytes) -> float:
    await asyncio.sleep(35)
    before = link.total()
    for number in range(LIVES):
        await _life(system, f"life-{number}")
    # What is sent lazily about these lives belongs to them.
    await asyncio.sleep(35)
    return (link.total() - before) / LIVES


async def _life(system: System, name: str) -> None:
    await system.create_pod(name)
    await system.running(name)
    await system.delete_pod(name)
    await system.gone(name)


async def _idle(link: LinkBytes) -> float:
    await asyncio.sleep(40)
    before = link.total()
    await asyncio.sleep(IDLE_SECONDS)
    return (link.total() - before) * 60 / IDLE_SECONDS


async def _fill(system: System, names: list[str]) -> None:
    for name in names:
        await system.create_pod(name, command=["sleep", "7200"])
    await system.running(*names, within=600)
