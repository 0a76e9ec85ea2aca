"""How faults draw from the seed whom they strike and for how long."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from simulator.device import EdgeDevice
from simulator.programs import Program

if TYPE_CHECKING:
    from simulator.world import World

Fault = Callable[["World", random.Random], Awaitable[None]]


def lasting(rng: random.Random) -> float:
    """Mostly short, sometimes minutes."""
    return rng.choice((0.1, 1.0, 3.0, 10.0, 30.0, 90.0, 240.0)) * rng.uniform(0.5, 1.5)


def any_program(world: World, rng: random.Random) -> Program:
    return rng.choice([*world.devices, *world.devices, *world.hubs])


def any_device(world: World, rng: random.Random) -> EdgeDevice:
    return rng.choice(world.devices)
