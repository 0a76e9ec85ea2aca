"""The database opens whatever lies there, keeps what it was told, and never ends the agent.

A crash of the process is simulated by copying the files (with the WAL) while they are in use.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest
import sqlite_utils

from edgeagent.store import FILE
from edgeagent.store import database as module
from edgeagent.store.database import Database
from edgeagent.store.executor import InlineExecutor
from edgeagent.store.records import facts
from shared.errors import SettingsError, StoreBusy
from tests.edge_store.conftest import opened, ruin
from tests.parts import first_schema
from tests.parts.small_disk import SmallDisk

RECORD = {"restarts": 3, "text": "x" * 50}


async def stored(folder: Path) -> dict[str, object]:
    async with opened(folder) as database:
        return dict(await facts(database).load_all())


async def fill(folder: Path, count: int = 20) -> None:
    async with opened(folder) as database:
        for number in range(count):
            await facts(database).save(f"uid-{number}", RECORD)


async def test_what_was_saved_is_there_after_a_restart(tmp_path: Path) -> None:
    await fill(tmp_path, 3)
    assert await stored(tmp_path) == {f"uid-{number}": RECORD for number in range(3)}


async def test_what_was_saved_survives_a_crash_at_once(tmp_path: Path) -> None:
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    async with opened(tmp_path, thread=True) as database:
        await facts(database).save("uid", RECORD)
        for suffix in ("", "-wal"):
            shutil.copy(f"{database.path}{suffix}", crashed)
    assert await stored(crashed) == {"uid": RECORD}


async def test_only_the_agent_can_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with opened(folder) as database:
        await facts(database).save("uid", RECORD)
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
    assert modes == {FILE: 0o600, f"{FILE}-wal": 0o600, f"{FILE}-shm": 0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_a_second_agent_on_the_folder_is_told_so(tmp_path: Path) -> None:
    async with opened(tmp_path):
        second = Database(tmp_path, executor=InlineExecutor())
        with pytest.raises(SettingsError, match=r"data-dir: .* in use by another agent; stop it"):
            await second.open()
        await second.close()


@pytest.mark.parametrize(
    "content",
    [b"", b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4000],
    ids=["empty", "text", "broken header"],
)
async def test_a_file_that_is_no_database_is_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    async with opened(tmp_path) as database:
        await facts(database).save("uid", RECORD)
    kept = tmp_path / f"{FILE}.damaged-1"
    assert kept.read_bytes() == content if content else not kept.exists()
    assert await stored(tmp_path) == {"uid": RECORD}


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
async def test_a_truncated_file_is_replaced(tmp_path: Path, part: float) -> None:
    await fill(tmp_path, 200)
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    assert await stored(tmp_path) == {}
    assert (tmp_path / f"{FILE}.damaged-1").exists()


async def test_flipped_bits_never_stop_the_agent(tmp_path: Path) -> None:
    await fill(tmp_path, 40)
    whole = (tmp_path / FILE).read_bytes()
    rng = random.Random(7)
    replaced = 0
    for number in range(60):
        folder = tmp_path / str(number)
        folder.mkdir()
        damaged = bytearray(whole)
        for _ in range(rng.choice([1, 8, 200])):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        (folder / FILE).write_bytes(damaged)
        async with opened(folder) as database:
            found = await facts(database).load_all()
            await facts(database).save("uid-new", RECORD)
        replaced += (folder / f"{FILE}.damaged-1").exists()
        assert all(isinstance(record, dict) for record in found.values())
        assert (await stored(folder))["uid-new"] == RECORD
    assert 0 < replaced < 60


async def test_a_file_of_the_first_release_becomes_what_a_new_device_has(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    made = first_schema.make(old / FILE)
    made.execute("INSERT INTO facts VALUES ('uid-1', ?)", [json.dumps(RECORD)])
    made.commit()
    made.close()
    assert await stored(old) == {"uid-1": RECORD}
    async with opened(old) as upgraded, opened(new) as fresh:
        assert await upgraded.read(_columns) == await fresh.read(_columns)
    assert not list(old.glob("*.damaged*"))


def _columns(db: sqlite_utils.Database) -> dict[str, list[tuple[object, ...]]]:
    names = [name for name in db.table_names() if not name.startswith("_")]
    return {name: db.execute(f"PRAGMA table_info({name})").fetchall() for name in names}


async def test_a_file_of_a_newer_program_is_kept_aside(tmp_path: Path) -> None:
    await fill(tmp_path, 1)
    db = sqlite_utils.Database(tmp_path / FILE)
    row = {"migration_set": "edgeagent", "name": "from_the_future", "applied_at": "2099"}
    db["_sqlite_migrations"].insert(row)
    db.close()
    assert await stored(tmp_path) == {}
    assert (tmp_path / f"{FILE}.damaged-1").exists()


async def test_a_table_that_was_changed_by_hand_is_noticed_at_the_start(tmp_path: Path) -> None:
    await fill(tmp_path, 1)
    connection = sqlite3.connect(tmp_path / FILE)
    connection.execute("ALTER TABLE facts RENAME COLUMN record TO something")
    connection.close()
    assert await stored(tmp_path) == {}


async def test_damage_that_sqlite_quotes_is_damage_too(tmp_path: Path) -> None:
    """Its message then holds bytes that are no text."""
    async with opened(tmp_path) as database:
        await facts(database).save("uid-1", RECORD)
    file = tmp_path / FILE
    file.write_bytes(file.read_bytes().replace(b"CREATE TABLE", b"CREATE TA\xc46\xff"))
    assert await stored(tmp_path) == {}
    assert (tmp_path / f"{FILE}.damaged-1").exists()


async def test_damaged_files_do_not_pile_up(tmp_path: Path) -> None:
    for number in range(7):
        (tmp_path / FILE).write_bytes(b"garbage %d" % number * 50)
        assert await stored(tmp_path) == {}
    kept = {name for name in os.listdir(tmp_path) if ".damaged-" in name}
    assert kept == {f"{FILE}.damaged-{number}" for number in (5, 6, 7)}


async def test_damage_while_running_loses_nothing_that_the_agent_knows(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        store = facts(database)
        await store.save("uid-1", RECORD)
        await ruin(database)
        await store.save("uid-2", {"n": 2})
    assert await stored(tmp_path) == {"uid-1": RECORD, "uid-2": {"n": 2}}
    assert (tmp_path / f"{FILE}.damaged-1").exists()


async def test_a_full_disk_is_temporary_and_loses_nothing(small_disk: SmallDisk) -> None:
    async with opened(small_disk.folder) as database:
        store = facts(database)
        await store.save("before", RECORD)
        small_disk.fill()
        with pytest.raises(StoreBusy):
            await store.save("big", {"text": "y" * 100_000})
        assert set(await store.load_all()) == {"before"}
        small_disk.free()
        await store.save("after", RECORD)
    assert set(await stored(small_disk.folder)) == {"before", "after"}


async def test_room_set_aside_takes_small_changes_for_as_long_as_the_disk_is_full(
    small_disk: SmallDisk,
) -> None:
    record = {"text": "y" * 1500}
    async with opened(small_disk.folder) as database:
        store = facts(database)
        await database.reserve(200_000)
        small_disk.fill()
        for number in range(500):
            await store.save(f"uid-{number % 50}", {**record, "n": number})
        with pytest.raises(StoreBusy):
            await store.save("big", {"text": "y" * 700_000})
        await store.save("uid-7", {"n": "last"})
    found = await stored(small_disk.folder)
    assert len(found) == 50 and found["uid-7"] == {"n": "last"}
    assert found["uid-49"] == {**record, "n": 499}


async def test_the_agent_starts_on_a_full_disk_with_what_it_has(small_disk: SmallDisk) -> None:
    await fill(small_disk.folder, 2)
    small_disk.fill()
    async with opened(small_disk.folder) as database:
        store = facts(database)
        assert set(await store.load_all()) == {"uid-0", "uid-1"}
        with pytest.raises(StoreBusy):
            await store.save("big", {"text": "y" * 100_000})
        small_disk.free()
        await store.save("after", RECORD)
    assert set(await stored(small_disk.folder)) == {"uid-0", "uid-1", "after"}


async def test_a_disk_that_turns_read_only_is_temporary(small_disk: SmallDisk) -> None:
    async with opened(small_disk.folder) as database:
        await facts(database).save("before", RECORD)
        handle = database
    small_disk.writable(False)
    try:
        with pytest.raises(StoreBusy):
            await handle.open()
    finally:
        small_disk.writable(True)
        await handle.close()
    assert set(await stored(small_disk.folder)) == {"before"}


async def test_a_folder_that_cannot_be_made_is_a_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"data-dir: .*file/data"):
        await Database(tmp_path / "file" / "data", executor=InlineExecutor()).open()


def test_every_error_code_that_is_named_exists() -> None:
    assert not module.DAMAGED & module.BUSY
