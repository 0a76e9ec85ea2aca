"""Each store gives back what it was given, and only what can be trusted."""

from __future__ import annotations

import random
from pathlib import Path

import sqlite_utils
from hypothesis import given, settings

from edgeagent.desired import Body, Desired
from edgeagent.outbox import Outbox, Row
from edgeagent.store import FILE
from edgeagent.store.database import Database
from edgeagent.store.desired import DesiredStore
from edgeagent.store.executor import InlineExecutor
from edgeagent.store.identity import Identity
from edgeagent.store.outbox import OutboxStore
from shared import codec
from shared.messages import ReportedEvent
from shared.objects import ObjectKey
from tests.edge_store.conftest import opened, ruin
from tests.wire.strategies import desired as wanted_sets
from tests.wire.strategies import inventory_of

WEB = ObjectKey("Pod", "default", "web")
DB = ObjectKey("Pod", "default", "db")
NOW = 1_780_000_000.0


def body(text: str) -> bytes:
    return codec.pack({"metadata": {"name": text}})


def desired_of(revision: int, wanted: dict[ObjectKey, tuple[bytes, int | None]]) -> Desired:
    bodies = {key: Body.of(packed) for key, (packed, _) in wanted.items()}
    return Desired().accept(inventory_of(revision, wanted), bodies)


TWO = desired_of(5, {WEB: (body("web"), None), DB: (body("db"), 30)})


async def save(folder: Path, desired: Desired) -> None:
    async with opened(folder) as database:
        store = DesiredStore(database)
        await store.load()
        await store.save(desired)


async def load(folder: Path) -> Desired:
    async with opened(folder) as database:
        return await DesiredStore(database).load()


def tamper(folder: Path, sql: str, *values: object) -> None:
    db = sqlite_utils.Database(folder / FILE)
    db.execute(sql, values)
    db.close()


async def test_a_new_device_knows_no_list(tmp_path: Path) -> None:
    found = await load(tmp_path)
    assert found == Desired()
    assert not found.known


@settings(deadline=None, max_examples=30)
@given(wanted_sets, wanted_sets)
async def test_every_list_comes_back_as_it_was_saved(
    tmp_path_factory: object,
    first: dict[ObjectKey, tuple[bytes, int | None]],
    second: dict[ObjectKey, tuple[bytes, int | None]],
) -> None:
    folder = tmp_path_factory.mktemp("db")  # type: ignore[attr-defined]
    for revision, wanted in ((1, first), (2, second)):
        await save(folder, desired_of(revision, wanted))
        assert await load(folder) == desired_of(revision, wanted)


async def test_a_body_that_waits_for_its_successor_is_kept(tmp_path: Path) -> None:
    await save(tmp_path, TWO)
    newer = TWO.accept(inventory_of(6, {WEB: (body("web 2"), None)}), {})
    await save(tmp_path, newer)
    found = await load(tmp_path)
    assert found.bodies == {WEB: Body.of(body("web"))}
    assert found.missing() == {WEB}


async def test_a_flipped_body_is_missing_and_the_others_stay(tmp_path: Path) -> None:
    await save(tmp_path, TWO)
    tamper(tmp_path, "UPDATE bodies SET body = ? WHERE key = ?", b"rubbish", str(WEB))
    found = await load(tmp_path)
    assert found.known
    assert found.missing() == {WEB}
    assert found.holds(DB)


async def test_a_list_that_lost_an_entry_is_no_evidence_of_absence(tmp_path: Path) -> None:
    await save(tmp_path, TWO)
    tamper(tmp_path, "DELETE FROM inventory WHERE key = ?", str(WEB))
    found = await load(tmp_path)
    assert not found.known
    assert found.holds(DB), "what is still readable goes on"


async def test_an_unreadable_entry_is_no_evidence_of_absence(tmp_path: Path) -> None:
    await save(tmp_path, TWO)
    tamper(tmp_path, "UPDATE inventory SET key = 'Pod/default/ÄÖ' WHERE key = ?", str(WEB))
    found = await load(tmp_path)
    assert not found.known
    assert found.holds(DB)


async def test_after_damage_the_next_list_is_written_whole(tmp_path: Path) -> None:
    await save(tmp_path, TWO)
    tamper(tmp_path, "UPDATE inventory SET key = 'nonsense' WHERE key = ?", str(WEB))
    newer = desired_of(7, {DB: (body("db"), None)})
    await save(tmp_path, newer)
    assert await load(tmp_path) == newer


async def test_the_identity_stays_and_the_counter_grows(tmp_path: Path) -> None:
    seen = []
    for _ in range(3):
        async with opened(tmp_path) as database:
            identity = Identity(database, rng=random.Random())
            await identity.load()
            await identity.next_connection()
            seen.append((identity.instance, await identity.next_connection()))
    assert [counter for _, counter in seen] == [2, 4, 6]
    assert len({instance for instance, _ in seen}) == 1


async def test_a_new_database_is_a_new_instance(tmp_path: Path) -> None:
    instances = set()
    for name in ("a", "b"):
        async with opened(tmp_path / name) as database:
            identity = Identity(database, rng=random.Random())
            await identity.load()
            instances.add(identity.instance)
    assert len(instances) == 2


EVENT = ReportedEvent("Warning", "BackOff", "again", 100, 200, 3, "spec.containers{a}")


async def outbox_in(database: Database) -> tuple[OutboxStore, Outbox]:
    store = OutboxStore(database)
    return store, await store.load()


async def test_reports_survive_a_restart_as_they_were(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        store, outbox = await outbox_in(database)
        outbox.put(WEB, uid="u1", status={"phase": "Running"}, finished=True, now=NOW)
        outbox.put(DB, uid="u2", status={}, now=NOW)
        outbox.seal([WEB, DB], applied=7, now=NOW)
        outbox.mark_sent(DB, outbox.sequence)
        await store.save([WEB, DB])
        expected = dict(outbox.rows())
    async with opened(tmp_path) as database:
        _, outbox = await outbox_in(database)
        assert dict(outbox.rows()) == expected
        assert [row.key for row in outbox.waiting()] == [WEB]


async def test_a_dropped_report_is_gone_but_its_number_is_not_used_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        store, outbox = await outbox_in(database)
        outbox.put(WEB, uid="u1", status={}, now=0)
        outbox.seal([WEB], applied=1, now=0)
        last = outbox.sequence
        outbox.drop(WEB)
        await store.save([WEB])
    async with opened(tmp_path) as database:
        _, outbox = await outbox_in(database)
        assert not outbox.rows()
        outbox.put(WEB, uid="u1", status={}, now=0)
        assert outbox.seal([WEB], applied=1, now=0)[0].sequence == last + 1


async def test_an_unreadable_report_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        store, outbox = await outbox_in(database)
        for key in (WEB, DB):
            outbox.put(key, uid="u", status={"a": 1}, events=[EVENT], now=150)
        outbox.seal([WEB, DB], applied=1, now=0)
        await store.save([WEB, DB])
    for column, value in (("status", "{"), ("events", "[[1]]"), ("sequence", "x"), ("key", "?")):
        tamper(tmp_path, f"UPDATE outbox SET {column} = ? WHERE key = ?", value, str(WEB))
        async with opened(tmp_path) as database:
            _, outbox = await outbox_in(database)
            assert outbox.get(DB) == Row(DB, "u", {"a": 1}, (EVENT,), sequence=2, applied=1)
            assert WEB not in outbox.rows()


async def test_the_stores_share_one_damaged_file_and_all_come_back(tmp_path: Path) -> None:
    database = Database(tmp_path, executor=InlineExecutor())
    await database.open()
    desired, identity = DesiredStore(database), Identity(database, rng=random.Random())
    await desired.load()
    await identity.load()
    store, outbox = await outbox_in(database)
    await desired.save(TWO)
    outbox.put(WEB, uid="u", status={"a": 1}, now=NOW)
    sealed = outbox.seal([WEB], applied=1, now=NOW)
    await ruin(database)
    await store.save([WEB])
    await database.close()
    assert await load(tmp_path) == TWO
    async with opened(tmp_path) as again:
        _, found = await outbox_in(again)
        known = Identity(again, rng=random.Random())
        await known.load()
    assert list(found.rows().values()) == sealed
    assert known.instance == identity.instance
