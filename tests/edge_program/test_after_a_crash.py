"""What a kill in the wrong moment leaves in the database is cleared up at the next start.

The whole agent in virtual time; what was left is written into its database beforehand.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from edgeagent.store.database import Database
from edgeagent.store.executor import InlineExecutor
from edgeagent.store.outbox import OutboxStore
from shared.objects import ObjectKey
from tests.edge_program.test_agent import Machine
from tests.edge_session.conftest import Model
from tests.edge_session.rig import NOW, a_hub, pod_key, until
from tests.parts.virtual_time import virtual

GONE = pod_key("gone")
STATIC = ObjectKey("StaticPod", "default", "gone")


async def stored(folder: Path, *left: ObjectKey) -> set[ObjectKey]:
    """What is told of in the database, after the reports in ``left`` were sent and stored too."""
    database = Database(folder, executor=InlineExecutor())
    await database.open()
    try:
        store = OutboxStore(database)
        outbox = await store.load()
        for key in left:
            outbox.put(key, uid="uid-gone", status={"phase": "Running"}, now=NOW)
        for row in outbox.seal(left, applied=1, now=NOW):
            outbox.mark_sent(row.key, row.sequence)
        await store.save(left)
        return set(outbox.rows())
    finally:
        await database.close()


@virtual
async def test_reports_of_pods_that_left_before_the_crash_are_forgotten(tmp_path: Path) -> None:
    """The list without them was stored, and they were to be forgotten some seconds later. As the
    newest that was sent, each would be asked for at every connect, and be missed."""
    model = Model(tmp_path)
    machine = Machine(model)
    async with a_hub(model.link()) as hub, machine.agent():
        await hub.want("web")
        await until(lambda: hub.newest("web"))
        await asyncio.sleep(10)
    assert {GONE, STATIC} < await stored(machine.folder, GONE, STATIC)
    async with a_hub(model.link()) as hub, machine.agent() as agent:
        assert not {GONE, STATIC} & agent.reports.rows().keys()
        assert pod_key("web") in agent.reports.rows()
        await until(lambda: hub.births)
        newest = hub.births[-1]
        await asyncio.sleep(10)
    assert not {GONE, STATIC} & await stored(machine.folder)
    assert newest.about not in (GONE.mark, STATIC.mark)
