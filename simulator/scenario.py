"""One seed from its first draw to its verdict.

Bad days: users act and faults strike at times drawn from the seed. Then everything is made good,
and three things must follow: within ``BOUND`` seconds all oracles are silent; they stay silent;
and then, for ``QUIET`` seconds, nothing is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from cloudhub.kube.port import LEASES
from edgeagent.pods.volumes import mounting
from simulator import logs, oracles
from simulator.broker import Store
from simulator.chance import seeded
from simulator.choosing import Fault
from simulator.faults import FAULTS
from simulator.journal import Journal
from simulator.loop import Deadlock, Livelock, VirtualLoop, unheard
from simulator.static_faults import free_names
from simulator.users import Users
from simulator.world import World

BOUND = 1500.0
START = 1000.0
LOOK_EVERY = 5.0
SETTLE = 620.0
"""Events that repeat are told again this long after they were told first, at most."""
QUIET = 400.0
WITH_ONE_AWAY = 0.25
WITHOUT_HUBS = 0.25
PUBLISHED = 60.0
"""Seconds in which hubs bring what was changed to the broker."""
AWAY = 400.0


@dataclass(frozen=True)
class Verdict:
    seed: int
    failures: tuple[str, ...]
    rules: tuple[str, ...]
    digest: str
    steps: int
    took: float
    """Virtual seconds."""


def play(seed: int, faults: Mapping[Fault, int] = FAULTS) -> tuple[Verdict, Journal]:
    """Run one seed in this process; ``faults`` are what may strike, and how often each is drawn."""
    rng = random.Random(seed)
    loop = VirtualLoop(random.Random(rng.getrandbits(64)), start=START)
    with _folder() as folder, _without_collector():
        asyncio.set_event_loop(loop)
        try:
            journal = _run(loop, rng, folder=folder, faults=faults)
        finally:
            asyncio.set_event_loop(None)
            with unheard():
                loop.close()
                gc.collect()
    verdict = Verdict(
        seed,
        tuple(journal.failures),
        tuple(journal.rules()),
        journal.digest(),
        loop.steps,
        loop.time() - START,
    )
    return verdict, journal


def _run(
    loop: VirtualLoop, rng: random.Random, *, folder: Path, faults: Mapping[Fault, int]
) -> Journal:
    world = World(loop, rng=rng, folder=folder)
    loop.set_exception_handler(lambda _, context: _unhandled(world.journal, context))
    chance = random.Random(rng.getrandbits(64))
    # A volume in memory is a folder here: a simulated disk never mounts anything on this machine.
    no_mounts = mock.patch.object(mounting, "may_mount", lambda: False)
    with logs.into(world.journal), seeded(chance), no_mounts:
        try:
            loop.run_until_complete(_story(world, faults))
        except (Deadlock, Livelock) as error:
            world.journal.fail("stuck", repr(error))
        gc.collect()  # An error that nobody looked at is told when its task is collected.
    for program in (*world.devices, *world.hubs, *world.strays):
        program.kill()
    return world.journal


def _unhandled(journal: Journal, context: dict[str, Any]) -> None:
    error = context.get("exception")
    journal.fail("unhandled", f"{context.get('message')} {error!r}")


async def _story(world: World, faults: Mapping[Fault, int]) -> None:
    background = [asyncio.create_task(world.history.run(), name="history")]
    rng = random.Random(world.rng.getrandbits(64))
    nodes = [device.name for device in world.devices]
    users = Users(
        world.server,
        random.Random(rng.getrandbits(64)),
        journal=world.journal,
        nodes=nodes,
        condemn=world.history.condemn,
    )
    await users.begin()
    world.start()
    length = rng.choice((60.0, 180.0, 600.0))
    acting = asyncio.create_task(_act(users, rng.randint(3, 25), length, rng), name="users")
    strikes = [rng.uniform(0, length * 0.97) for _ in range(rng.randint(0, 20))]
    striking = asyncio.create_task(_strike(world, strikes, rng, faults), name="faults")
    await asyncio.sleep(length)
    for task in (acting, striking):
        task.cancel()
    await _ended(world.journal, acting, striking)
    for device in world.devices:
        if device.manifests:
            device.manifests.mend()
    await free_names(world)
    await users.finish()
    for program in (*world.devices, *world.hubs):
        await program.stopped()
    world.calm()
    await _judge(world, users)
    for task in background:
        task.cancel()
    await _ended(world.journal, *background)


async def _ended(journal: Journal, *tasks: asyncio.Task[None]) -> None:
    """A part of the simulator that has failed judged, or struck, less than it seemed to."""
    for task, end in zip(tasks, await asyncio.gather(*tasks, return_exceptions=True), strict=True):
        if isinstance(end, Exception):
            journal.fail("broken", f"{task.get_name()}: {end!r}")


async def _act(users: Users, times: int, length: float, rng: random.Random) -> None:
    last = 0.0
    for moment in sorted(rng.uniform(0, length * 0.97) for _ in range(times)):
        await asyncio.sleep(moment - last)
        last = moment
        for _ in range(rng.choice((1, 1, 1, 3, 8))):
            await users.act()


async def _strike(
    world: World, moments: Iterable[float], rng: random.Random, faults: Mapping[Fault, int]
) -> None:
    async def one(moment: float) -> None:
        await asyncio.sleep(moment)
        await rng.choices(list(faults), list(faults.values()))[0](world, rng)

    async with asyncio.TaskGroup() as group:
        for moment in sorted(moments):
            group.create_task(one(moment))


# -- the verdict


async def _judge(world: World, users: Users) -> None:
    if not await _converges(world):
        return
    await asyncio.sleep(SETTLE)
    for what in await oracles.differences(world):
        world.journal.fail("unstable", what)
    await _must_be_quiet(world)
    for what in await oracles.left_at_the_broker(world):
        world.journal.fail("hoard", what)
    await _restarts_change_nothing(world)
    if world.rng.random() < WITH_ONE_AWAY:
        await _who_went_with_the_broker_is_gone(world)
    if world.rng.random() < WITHOUT_HUBS:
        await _the_broker_alone_is_enough(world, users)


async def _converges(world: World) -> bool:
    deadline = world.loop.time() + BOUND
    found = ["not looked yet"]
    while found and world.loop.time() < deadline:
        await asyncio.sleep(LOOK_EVERY)
        found = await oracles.differences(world)
    for what in found:
        rule, _, rest = what.partition(": ")
        world.journal.fail(rule, rest)
    world.journal.say("world", "all agree" if not found else "still apart")
    return not found


async def _must_be_quiet(world: World) -> None:
    """(g) A quiet system sends nothing, to the broker or to the API but Leases; it asks nothing."""
    published, subscribed = world.published, world.broker.subscribes
    requests = len(world.server.requests)
    await asyncio.sleep(QUIET)
    if world.published != published:
        world.journal.fail("noise", f"{world.published - published} messages in {QUIET:.0f} s")
    if world.broker.subscribes != subscribed:
        world.journal.fail("noise", f"{world.broker.subscribes - subscribed} subscriptions")
    said = [
        f"{verb} {resource} {name}"
        for verb, resource, name in world.server.requests[requests:]
        if resource != LEASES.plural
    ]
    if said:
        world.journal.fail("api-noise", f"{len(said)} requests, like {said[0]}")


async def _restarts_change_nothing(world: World) -> None:
    """A new hub sends no list and no object to who is in step; a new agent touches nothing."""
    starts = [len(device.runtime.runs) for device in world.devices]
    lists = world.lists_published
    for hub in world.hubs:
        hub.kill()
        hub.start()
    await asyncio.sleep(60)
    if world.lists_published != lists:
        world.journal.fail("sent-again", f"{world.lists_published - lists} after a hub's restart")
    for device in world.devices:
        device.kill()
        device.start()
    await asyncio.sleep(60)
    if starts != [len(device.runtime.runs) for device in world.devices]:
        world.journal.fail("restarted", "containers, by a restart of the agent")
    for what in await oracles.differences(world):
        world.journal.fail("unstable", f"after restarts: {what}")


async def _who_went_with_the_broker_is_gone(world: World) -> None:
    """(i) Power fails at a device and at the broker, which has forgotten the Will if it does."""
    away = world.rng.choice(world.devices)
    world.journal.say("world", "loses power with the broker", device=away.name)
    away.kill()
    world.broker.crash()
    world.broker_starts(Store.KEPT)
    if world.rng.random() < 0.5:
        for hub in world.hubs:
            hub.kill()
            hub.start()
    await asyncio.sleep(AWAY)
    ready = {device for device in world.devices if await oracles.is_ready(world, device)}
    if ready != {*world.devices} - {away}:
        world.journal.fail("readiness", f"without {away.name}: {sorted(d.name for d in ready)}")
    away.start()
    await _converges(world)


async def _the_broker_alone_is_enough(world: World, users: Users) -> None:
    """(j) What was changed while a device had no link comes to it when it has one again, and there
    is no hub any more."""
    away = world.rng.choice(world.devices)
    world.journal.say("world", "has no link, and then no hub", device=away.name)
    away.path.reachable = False
    away.path.cut()
    for _ in range(world.rng.randint(1, 5)):
        await users.act()
    await users.finish()
    await asyncio.sleep(PUBLISHED)
    for hub in world.hubs:
        hub.kill()
    world.good_link(away.path)
    await asyncio.sleep(AWAY)
    for what in await oracles.on_device(world, away):
        rule, _, rest = what.partition(": ")
        world.journal.fail(rule, f"{rest}, without a hub")
    for hub in world.hubs:
        hub.start()
    await _converges(world)


@contextmanager
def _folder() -> Iterator[Path]:
    """Of the same name for every seed: a temporary name would be another source of chance."""
    memory = Path("/dev/shm")
    parent = memory if memory.is_dir() else None
    made = Path(tempfile.mkdtemp(prefix="kubetide-sim-", dir=parent))
    try:
        with contextlib.chdir(made):
            yield Path("disks")
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def _without_collector() -> Iterator[None]:
    """When an abandoned generator is collected must not depend on what else is in memory."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
