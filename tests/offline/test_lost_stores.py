"""Somebody's memory is lost: the broker's or the device's. Nothing that runs notices."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeagent.store import FILE
from tests.parts.system import System
from tests.parts.view import container_of, is_ready, restarts_of

NAMES = ("web-1", "web-2")


async def running(system: System) -> dict[str, str]:
    """Two pods; answers their containers."""
    for name in NAMES:
        await system.create_pod(name)
    await system.running(*NAMES)
    return containers(system)


def containers(system: System) -> dict[str, str]:
    return {name: container_of(system.view.pods[name])["containerID"] for name in NAMES}


async def goes_on(system: System) -> None:
    """Both directions work: a new pod comes, an old one goes, a restart is seen."""
    await system.create_pod("new")
    await system.running("new")
    system.kill_container(container_of(system.view.pods["web-1"])["containerID"])
    await system.view.until(
        "the restart is reported",
        lambda: is_ready(pod := system.view.pods["web-1"]) and restarts_of(pod) == 1,
    )
    await system.delete_pod("web-2")
    await system.gone("web-2")


async def test_a_broker_that_restarts_with_its_store(system: System) -> None:
    before = await running(system)
    await asyncio.sleep(1)
    system.broker.restart()
    await system.node_is("True")
    assert containers(system) == before
    await goes_on(system)


async def test_a_broker_that_comes_back_empty_is_filled_again(system: System) -> None:
    before = await running(system)
    system.broker.kill()
    system.broker.wipe()
    ended = before["web-2"]
    system.kill_container(ended)
    await asyncio.sleep(1)
    system.broker.start()
    await system.view.until(
        "what happened meanwhile is reported",
        lambda: is_ready(pod := system.view.pods["web-2"]) and restarts_of(pod) == 1,
    )
    await system.node_is("True")
    assert containers(system)["web-1"] == before["web-1"]
    assert restarts_of(system.view.pods["web-1"]) == 0
    await goes_on(system)


def deleted(database: Path) -> None:
    for path in database.parent.glob(f"{FILE}*"):
        path.unlink()


def _without_its_log(database: Path) -> None:
    """All that was written into the file itself: the log would hide what is done to that."""
    with contextlib.closing(sqlite3.connect(database)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def truncated(database: Path) -> None:
    _without_its_log(database)
    with database.open("r+b") as file:
        file.truncate(database.stat().st_size // 2)


def flipped(database: Path) -> None:
    """Some bytes of every page."""
    _without_its_log(database)
    rng, content = random.Random(1), bytearray(database.read_bytes())
    for page in range(0, len(content), 4096):
        for _ in range(64):
            content[page + rng.randrange(min(4096, len(content) - page))] ^= 0xFF
    database.write_bytes(content)


@pytest.mark.parametrize("harm", [deleted, truncated, flipped])
async def test_a_device_without_its_database_adopts_what_runs(
    system: System, harm: Callable[[Path], None]
) -> None:
    before = await running(system)
    await system.agent.kill()
    harm(system.data / FILE)
    await system.agent.start()
    await system.status_says("link:     connected, for", "2 wanted: 2 Running")
    await system.node_is("True")
    assert bool([*system.data.glob("*.damaged-?")]) is (harm is not deleted), "set aside"
    assert containers(system) == before
    assert all(restarts_of(system.view.pods[name]) == 0 for name in NAMES)
    await goes_on(system)
    assert container_of(system.view.pods["new"])["restartCount"] == 0


@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(range(2), id="twice"),
        pytest.param(range(100, 130), id="thirty times", marks=pytest.mark.soak),
    ],
)
@pytest.mark.timeout(1200)
async def test_bits_that_flip_anywhere_cost_no_container(system: System, seeds: range) -> None:
    """One to twenty of them, in the file or its log, while the agent is dead; the device is offline
    at every other start. The same pods live through all of it. A log whose beginning is damaged
    is an older database: offline, a pod deleted since may run again until the link is back.
    """
    before = await running(system)
    aside = 0
    for seed in seeds:
        await system.agent.kill()
        _flip_bits(system.data, random.Random(seed))
        if seed % 2:
            system.switch.cut()
        tasks = system.running_ids()
        await system.agent.start()
        if seed % 2:
            await system.status_says("agent:    running", "link:     not connected")
            await asyncio.sleep(2)
            assert tasks <= system.running_ids(), f"seed {seed}: nothing is stopped offline"
            system.switch.restore()
        await system.status_says("link:     connected, for")
        await system.create_pod(f"new-{seed}")
        await system.running(f"new-{seed}")
        await system.delete_pod(f"new-{seed}", grace=seed % 3)
        await system.gone(f"new-{seed}")
        await system.in_step()
        assert containers(system) == before, f"seed {seed}"
        assert all(restarts_of(system.view.pods[name]) == 0 for name in NAMES), f"seed {seed}"
        aside = max([aside, *(int(one.name[-1]) for one in system.data.glob("*.damaged-?"))])
    print(f"{len(seeds)} times bits flipped, set aside {aside} times")
    await goes_on(system)


def _flip_bits(folder: Path, rng: random.Random) -> None:
    files = [folder / FILE, folder / f"{FILE}-wal"]
    place = rng.choice([one for one in files if one.exists() and one.stat().st_size])
    content = bytearray(place.read_bytes())
    for _ in range(rng.randint(1, 20)):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    place.write_bytes(content)
