"""The last flush of reports stores what a write that was given up had in hand; in virtual time."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from shared.objects import ObjectKey
from tests.edge_session.conftest import Model
from tests.edge_session.rig import pod_key
from tests.parts.virtual_time import virtual


@virtual
async def test_a_write_that_was_cancelled_is_made_by_the_last_flush(tmp_path: Path) -> None:
    """An agent that stops cancels its loops, and then says whether it left anything behind."""
    device = Model(tmp_path).device()
    await device.database.open()
    await device.reports.load()
    stored: list[set[ObjectKey]] = []

    async def save(keys: set[ObjectKey]) -> None:
        if not stored:
            stored.append(set())
            await asyncio.Event().wait()
        stored.append(keys)

    device.reports._store.save = save  # type: ignore[method-assign, assignment]
    await device.report("web", phase="Running")
    running = asyncio.create_task(device.reports.run())
    await asyncio.sleep(1)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert await device.reports.flush()
    assert stored == [set(), {pod_key("web")}]
    await device.database.close()
