"""What happens to devices: power, clocks, disks, container runtimes."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from shared.errors import TemporaryError
from simulator.choosing import any_device, lasting

if TYPE_CHECKING:
    from simulator.world import World

SLOW_CALLS = (
    *("start_sandbox", "start_container", "pull_image", "stop_sandbox"),
    *("list_sandboxes", "inspect_sandbox", "inspect_container"),
)
FAILING_CALLS = (*SLOW_CALLS, "create_container", "remove_sandbox")


async def device_reboots(world: World, rng: random.Random) -> None:
    device = any_device(world, rng)
    if device.powered:
        await device.reboot(off_for=lasting(rng), power=rng.random() < 0.7)


async def clock_jumps(world: World, rng: random.Random) -> None:
    device = any_device(world, rng)
    device.clock.offset += rng.choice((-1e8, -3600.0, -5.0, 5.0, 3600.0, 1e8))
    world.journal.say(device.name, "wall clock jumps", now=round(device.clock.now()))


async def container_dies(world: World, rng: random.Random) -> None:
    any_device(world, rng).crash_some_container()


async def runtime_crashes(world: World, rng: random.Random) -> None:
    device, seconds = any_device(world, rng), lasting(rng)
    world.journal.say(device.name, "runtime away", seconds=round(seconds))
    device.runtime.go_away()
    await asyncio.sleep(seconds)
    device.runtime.come_back()


async def runtime_is_slow(world: World, rng: random.Random) -> None:
    device = any_device(world, rng)
    call = rng.choice(SLOW_CALLS)
    world.journal.say(device.name, "runtime slow", call=call)
    device.runtime.latency[call] = rng.choice((0.3, 5.0, 40.0))
    await asyncio.sleep(lasting(rng))
    device.runtime.latency.pop(call, None)


async def runtime_fails(world: World, rng: random.Random) -> None:
    device, call = any_device(world, rng), rng.choice(FAILING_CALLS)
    world.journal.say(device.name, "runtime call fails", call=call)
    failure = TemporaryError(f"{call}: the runtime had a problem")
    device.runtime.failures[call].extend([failure] * rng.randint(1, 3))


async def disk_is_full(world: World, rng: random.Random) -> None:
    device = any_device(world, rng)
    world.journal.say(device.name, "disk full")
    device.disk.is_full = True
    await asyncio.sleep(lasting(rng))
    device.disk.is_full = False


async def disk_is_imaged(world: World, rng: random.Random) -> None:
    any_device(world, rng).disk.keep_image()


async def disk_goes_bad(world: World, rng: random.Random) -> None:
    """While the agent is down its database is lost, damaged, or replaced by an older one."""
    device = any_device(world, rng)
    if not device.running:
        return
    device.kill()
    disk = device.disk
    rng.choice((disk.lose_database, disk.damage_database, disk.roll_back))()
    await asyncio.sleep(rng.choice((0.1, 5.0)))
    device.restart()


async def runtime_is_wiped(world: World, rng: random.Random) -> None:
    """A new disk below the runtime: containers and images are gone, the database is not."""
    device = any_device(world, rng)
    world.journal.say(device.name, "runtime wiped")
    device.runtime.wipe()
    device.forget()
