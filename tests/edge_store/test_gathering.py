"""Writes that come while the disk is busy go to it together, and none pays for another."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import sqlite_utils

from edgeagent.store.database import Database
from edgeagent.store.records import facts
from tests.edge_store.conftest import opened, ruin


class BusyDisk:
    """A database whose thread is held up, so that what is written meanwhile waits."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.commits = 0
        self._go_on = threading.Event()

    async def hold_up(self) -> asyncio.Task[None]:
        begun = threading.Event()

        def wait(db: sqlite_utils.Database) -> None:
            begun.set()
            assert self._go_on.wait(20)

        held = asyncio.create_task(self.database.write(wait))
        await asyncio.to_thread(begun.wait, 20)
        return held

    async def go_on(self) -> None:
        await asyncio.sleep(0.05)  # Until what was begun before waits too.
        self._go_on.set()

    def note(self, statement: str) -> None:
        self.commits += statement.startswith("COMMIT")


@asynccontextmanager
async def busy(folder: Path) -> AsyncIterator[BusyDisk]:
    async with opened(folder, thread=True) as database:
        disk = BusyDisk(database)
        await database.read(lambda db: db.conn.set_trace_callback(disk.note))
        disk.commits = 0
        yield disk


def put(name: str) -> Callable[[sqlite_utils.Database], str]:
    def work(db: sqlite_utils.Database) -> str:
        db.execute("INSERT INTO meta (name, value) VALUES (?, 1)", [name])
        return f"{name} is there"

    return work


async def names(database: Database) -> set[str]:
    rows = await database.read(
        lambda db: db.execute("SELECT name FROM meta WHERE value = 1").fetchall()
    )
    return {name for (name,) in rows}


async def test_what_waits_for_the_disk_shares_one_transaction(tmp_path: Path) -> None:
    async with busy(tmp_path) as disk:
        held = await disk.hold_up()
        writes = [asyncio.create_task(disk.database.write(put(f"n{i}"))) for i in range(20)]
        await disk.go_on()
        assert await asyncio.gather(*writes) == [f"n{i} is there" for i in range(20)]
        await held
        assert disk.commits == 2
        assert await names(disk.database) == {f"n{i}" for i in range(20)}


async def test_a_write_that_fails_takes_no_other_with_it(tmp_path: Path) -> None:
    async with busy(tmp_path) as disk:
        held = await disk.hold_up()
        works = [put("first"), put("first"), put("second")]
        writes = [asyncio.create_task(disk.database.write(work)) for work in works]
        await disk.go_on()
        first, again, second = await asyncio.gather(*writes, return_exceptions=True)
        await held
        assert (first, second) == ("first is there", "second is there")
        assert isinstance(again, sqlite3.IntegrityError)
        assert await names(disk.database) == {"first", "second"}


async def test_a_write_that_is_given_up_before_its_turn_is_not_done(tmp_path: Path) -> None:
    async with busy(tmp_path) as disk:
        held = await disk.hold_up()
        given_up = asyncio.create_task(disk.database.write(put("given up")))
        other = asyncio.create_task(disk.database.write(put("other")))
        await asyncio.sleep(0)
        given_up.cancel()
        await disk.go_on()
        await other
        await held
        with pytest.raises(asyncio.CancelledError):
            await given_up
        assert await names(disk.database) == {"other"}


async def test_damage_that_meets_several_writes_loses_none(tmp_path: Path) -> None:
    async with busy(tmp_path) as disk:
        store = facts(disk.database)
        await store.save("before", {"n": 0})
        await ruin(disk.database)
        held = await disk.hold_up()
        saves = [asyncio.create_task(store.save(f"uid-{i}", {"n": i})) for i in range(3)]
        await disk.go_on()
        await asyncio.gather(*saves)
        await held
    async with opened(tmp_path) as database:
        loaded = dict(await facts(database).load_all())
    assert loaded == {"before": {"n": 0}, **{f"uid-{i}": {"n": i} for i in range(3)}}


async def test_a_write_after_the_end_fails_instead_of_waiting_for_ever(tmp_path: Path) -> None:
    async with opened(tmp_path, thread=True) as database:
        pass
    async with asyncio.timeout(5):
        with pytest.raises(RuntimeError):
            await database.write(put("late"))
