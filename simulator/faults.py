"""The bad days: each fault is a coroutine that makes one thing bad and, in time, good again.

Here are those of links, broker, API server and processes, and the table of all. ``World.calm`` ends
whatever is still bad when the schedule is over.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from shared.messages import Report
from shared.objects import ObjectKey
from shared.topics import Topics
from simulator.broker import Store
from simulator.broker_session import Publication
from simulator.choosing import Fault, any_device, any_program, lasting
from simulator.device import EdgeDevice
from simulator.device_faults import (
    clock_jumps,
    container_dies,
    device_reboots,
    disk_goes_bad,
    disk_is_full,
    disk_is_imaged,
    runtime_crashes,
    runtime_fails,
    runtime_is_slow,
    runtime_is_wiped,
)
from simulator.label_faults import node_is_labelled
from simulator.network import Path
from simulator.own import STRANGER
from simulator.programs import Program
from simulator.shutdown_faults import device_shuts_down, logind_restarts, shutdown_is_called_off
from simulator.static_faults import manifests_change, mirror_is_deleted, mirror_name_is_taken
from simulator.taint_faults import node_is_tainted

if TYPE_CHECKING:
    from simulator.world import World

# -- links


async def link_is_cut(world: World, rng: random.Random) -> None:
    program = any_program(world, rng)
    world.journal.say(program.name, "link cut")
    program.path.cut()


async def link_is_half_open(world: World, rng: random.Random) -> None:
    program = any_program(world, rng)
    world.journal.say(program.name, "link half-open")
    program.path.sever()


async def link_is_away(world: World, rng: random.Random) -> None:
    program, seconds = any_program(world, rng), lasting(rng)
    world.journal.say(program.name, "link away", seconds=round(seconds))
    program.path.reachable = False
    rng.choice((program.path.cut, program.path.sever))()
    await asyncio.sleep(seconds)
    program.path.reachable = True


async def link_flaps(world: World, rng: random.Random) -> None:
    program = any_program(world, rng)
    world.journal.say(program.name, "link flaps")
    for _ in range(rng.randint(2, 8)):
        program.path.cut()
        await asyncio.sleep(rng.uniform(0.05, 4.0))


async def link_stalls(world: World, rng: random.Random) -> None:
    program, seconds = any_program(world, rng), rng.uniform(1, 60)
    world.journal.say(program.name, "link stalls", seconds=round(seconds))
    program.path.stalled_until = world.loop.time() + seconds


async def link_is_slow(world: World, rng: random.Random) -> None:
    program, seconds = any_program(world, rng), lasting(rng)
    path: Path = program.path
    path.bandwidth, path.latency = rng.choice((500.0, 5000.0)), (0.2, 2.0)
    world.journal.say(program.name, "link slow", rate=path.bandwidth, seconds=round(seconds))
    await asyncio.sleep(seconds)
    world.good_link(path)


# -- the broker


async def broker_crashes(world: World, rng: random.Random) -> None:
    if not world.broker.up:
        return
    store, seconds = rng.choice(list(Store)), rng.choice((0.2, 2.0, 20.0))
    world.journal.say("broker", "crashes", store=store.value, seconds=seconds)
    world.broker.crash()
    await asyncio.sleep(seconds)
    world.broker_starts(store)


async def hub_and_broker_lose_power(world: World, rng: random.Random) -> None:
    """The broker had saved its store a while ago, and no hub remembers what came since."""
    if not world.broker.up:
        return
    world.broker.take_snapshot()
    any_device(world, rng).crash_some_container()
    await asyncio.sleep(rng.uniform(3.0, 40.0))
    world.journal.say("world", "broker and hubs lose power")
    world.broker.crash()
    for hub in world.hubs:
        hub.kill()
    await asyncio.sleep(2.0)
    world.broker_starts(Store.ROLLED_BACK)
    for hub in world.hubs:
        hub.restart()


async def broker_saves(world: World, rng: random.Random) -> None:
    world.broker.take_snapshot()


# -- the API server


async def api_is_away(world: World, rng: random.Random) -> None:
    seconds = lasting(rng)
    world.journal.say("api", "away", seconds=round(seconds))
    world.weather.go_down()
    await asyncio.sleep(seconds)
    world.weather.up = True


async def api_is_moody(world: World, rng: random.Random) -> None:
    weather, seconds = world.weather, lasting(rng)
    world.journal.say("api", "moody", seconds=round(seconds))
    weather.fails, weather.loses_answers = rng.uniform(0, 0.5), rng.uniform(0, 0.3)
    weather.conflicts, weather.delay = rng.uniform(0, 0.3), rng.choice((0.01, 2.0))
    await asyncio.sleep(seconds)
    weather.calm_requests()


async def watches_break(world: World, rng: random.Random) -> None:
    world.journal.say("api", "watches break")
    world.weather.break_watches()


async def watches_lag(world: World, rng: random.Random) -> None:
    world.journal.say("api", "watches lag")
    world.weather.watch_delay = rng.uniform(1, 8)
    await asyncio.sleep(lasting(rng))
    world.weather.watch_delay = 0.02


async def api_is_restored(world: World, rng: random.Random) -> None:
    """From a backup: what users did since then was never done, and versions go back."""
    backup = world.server.saved()
    world.server.pass_by(1000)  # The rest of the cluster works too: no backup is younger than that.
    await asyncio.sleep(rng.choice((rng.uniform(1, 20), lasting(rng))))
    world.weather.go_down()
    await asyncio.sleep(rng.uniform(0.5, 30.0))
    world.journal.say("api", "restored", to=backup.version)
    world.server.restore(backup)
    world.weather.break_watches()
    world.weather.up = True


# -- processes


async def hub_dies(world: World, rng: random.Random) -> None:
    await _ends(rng.choice(world.hubs), rng)


async def agent_dies(world: World, rng: random.Random) -> None:
    await _ends(any_device(world, rng), rng)


async def agent_dies_at_work(world: World, rng: random.Random) -> None:
    """Killed a few callbacks after a message passed: between a transaction and its PUBACK."""
    device, steps = any_device(world, rng), rng.randint(0, 300)

    def at_work() -> None:
        world.after_steps(steps, lambda: _kill_and_restart(device, rng))

    world.at_next_message(device.name, at_work)


def _kill_and_restart(program: Program, rng: random.Random) -> None:
    if isinstance(program, EdgeDevice) and not program.powered:
        return
    program.kill()
    program.loop.call_later(rng.choice((0.1, 2.0)), program.restart)


async def second_hub(world: World, rng: random.Random) -> None:
    """A replica joins for a while: two owners at once, and slots that move."""
    hub = world.add_hub()
    hub.start()
    await asyncio.sleep(lasting(rng) + 20)
    end = rng.random()
    world.journal.say(hub.name, "is cut off for good" if end > 0.8 else "goes")
    await world.remove_hub(hub, politely=end < 0.4, cut_off=end > 0.8)


async def _ends(program: Program, rng: random.Random) -> None:
    if not program.running:
        return
    if rng.random() < 0.3:
        await program.stop()
    else:
        program.kill()
    await asyncio.sleep(rng.choice((0.1, 2.0, 2.0, 15.0, 60.0)))
    program.restart()


async def hub_is_swamped(world: World, rng: random.Random) -> None:
    """A crowd of other nodes reports at once, more than a broker may queue for a hub that hangs."""
    hub, seconds, crowd = rng.choice(world.hubs), rng.uniform(1.0, 40.0), rng.choice((150, 400))
    if not world.broker.up:
        return
    world.journal.say(hub.name, "swamped", messages=crowd, seconds=round(seconds))
    hub.path.stalled_until = world.loop.time() + seconds
    key = ObjectKey("Pod", "default", "of-the-crowd")
    payload = Report(key, "00000000-0000-4000-8000-00000000c0de", 1, 0, {}).encode()
    for number in range(crowd):
        topic = Topics().of(f"crowd-{number}").reported(key)
        world.broker.publish(Publication(topic, payload, "crowd"), retain=False)


async def strangers_publish(world: World, rng: random.Random) -> None:
    """What is no message of ours, on every topic of a device and in both directions."""
    if not world.broker.up:
        return
    topics = Topics().of(rng.choice(world.devices).name)
    key = ObjectKey("Pod", "default", "of-strangers")
    always = {topics.session, topics.inventory, topics.change, topics.reported(key)}
    held = {topic: one.payload for topic, one in world.broker.retained.items()}
    own = {topic for topic in held if topic.startswith(f"{topics.base}/")}
    for topic in sorted(always | own):
        whole = held.get(topic, b"")
        cut = whole[: rng.randrange(len(whole))] if whole else b""
        payload = cut or rng.randbytes(rng.choice((3, 30, 3000)))
        world.broker.publish(Publication(topic, payload, STRANGER), retain=False)


async def hub_hangs(world: World, rng: random.Random) -> None:
    """The network of a replica stands still, first towards the broker: what it sent comes late."""
    hub, seconds = rng.choice(world.hubs), rng.uniform(15.0, 60.0)
    world.journal.say(hub.name, "hangs", seconds=round(seconds))
    hub.path.stalled_until = world.loop.time() + seconds
    await asyncio.sleep(rng.uniform(0.0, 10.0))
    hub.api_stalled_until = hub.path.stalled_until


FAULTS: dict[Fault, int] = {
    link_is_cut: 8,
    link_is_half_open: 4,
    link_is_away: 8,
    link_flaps: 3,
    link_stalls: 3,
    link_is_slow: 3,
    broker_crashes: 4,
    broker_saves: 4,
    hub_and_broker_lose_power: 2,
    api_is_away: 3,
    api_is_moody: 4,
    watches_break: 3,
    watches_lag: 2,
    api_is_restored: 2,
    hub_dies: 5,
    second_hub: 2,
    hub_is_swamped: 3,
    strangers_publish: 2,
    hub_hangs: 2,
    agent_dies: 5,
    agent_dies_at_work: 8,
    device_reboots: 5,
    clock_jumps: 2,
    container_dies: 5,
    runtime_crashes: 2,
    runtime_is_slow: 2,
    runtime_fails: 3,
    disk_is_full: 2,
    disk_is_imaged: 3,
    disk_goes_bad: 2,
    runtime_is_wiped: 1,
    device_shuts_down: 5,
    shutdown_is_called_off: 3,
    logind_restarts: 1,
    manifests_change: 6,
    mirror_is_deleted: 2,
    mirror_name_is_taken: 1,
    node_is_tainted: 4,
    node_is_labelled: 4,
}
"""Every fault and how often it is drawn."""
