"""Devices that are shut down by their people: announced by logind, delayed by the agent, then off.

With time enough or too little, with or without a link, called off or not, and with other troubles
while pods stop.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from simulator.choosing import Fault, any_device, lasting
from simulator.device import EdgeDevice
from simulator.device_faults import (
    container_dies,
    device_reboots,
    disk_is_full,
    runtime_crashes,
    runtime_fails,
    runtime_is_slow,
)

if TYPE_CHECKING:
    from simulator.world import World

ALLOWED = (0.5, 3.0, 5.0, 30.0, 30.0, 90.0)
"""Seconds that logind waits at most: five unless told otherwise, thirty are what the agent asks."""


async def device_shuts_down(world: World, rng: random.Random) -> None:
    device, off_for = any_device(world, rng), lasting(rng)
    offline = rng.random() < 0.3
    if offline:
        device.path.reachable = False
        device.path.cut()
    async with asyncio.TaskGroup() as group:
        group.create_task(device.shut_down(off_for=off_for, allowed=rng.choice(ALLOWED)))
        group.create_task(_troubles(world, device, rng))
    if offline:
        await asyncio.sleep(lasting(rng))
        world.good_link(device.path)


async def shutdown_is_called_off(world: World, rng: random.Random) -> None:
    """While pods stop, or when all have stopped: a job of the shutdown fails."""
    device = any_device(world, rng)
    if not device.powered or device.logind.preparing:
        return
    boots = device.boots
    device.announce_shutdown(allowed=rng.choice(ALLOWED))
    async with asyncio.TaskGroup() as group:
        group.create_task(_troubles(world, device, rng))
        await asyncio.sleep(rng.choice((0.001, 0.3, 2.0, 10.0, 60.0)) * rng.uniform(0.5, 1.5))
        if device.boots == boots and device.powered:
            device.call_off_shutdown()


async def logind_restarts(world: World, rng: random.Random) -> None:
    device = any_device(world, rng)
    if device.logind.preparing:
        return
    world.journal.say(device.name, "logind restarts")
    device.logind.close()
    await asyncio.sleep(rng.choice((0.1, 5.0, 90.0)))
    device.logind.open()


async def _troubles(world: World, device: EdgeDevice, rng: random.Random) -> None:
    """What else may happen while pods stop."""
    if rng.random() < 0.5:
        return
    await asyncio.sleep(rng.choice((0.0, 0.1, 1.0, 5.0, 20.0)) * rng.uniform(0.5, 1.5))
    if rng.random() < 0.4:
        device.kill()
        device.loop.call_later(rng.choice((0.1, 2.0)), device.restart)
        return
    others: tuple[Fault, ...] = (
        *(container_dies, device_reboots, disk_is_full),
        *(runtime_crashes, runtime_fails, runtime_is_slow),
    )
    await rng.choice(others)(world, rng)
