"""What ``edgeagent status`` reads of a database while no agent runs."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from edgeagent.store import FILE
from edgeagent.store.outbox import COLUMNS, OutboxStore
from edgeagent.store.reading import read_snapshot
from tests.edge_store.conftest import opened
from tests.edge_store.test_stores import NOW, WEB


@pytest.mark.parametrize("key", ["Pod/web", "Pod/a/b/c", "Pod//web", "Pod/", "StaticPod", ""])
async def test_a_damaged_key_of_a_report_hides_no_other(key: str, tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        store = OutboxStore(database)
        outbox = await store.load()
        outbox.put(WEB, uid="u1", status={}, now=NOW)
        await store.save([WEB])
    with sqlite3.connect(tmp_path / FILE) as connection:
        columns = COLUMNS.replace("key", "?", 1)
        connection.execute(f"INSERT INTO outbox SELECT {columns} FROM outbox LIMIT 1", (key,))
    assert [one.name for one in read_snapshot(tmp_path).reports] == ["web"]
