"""Another version of the agent is installed in place: containers go on, what was known is known."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest

from edgeagent.store import FILE
from edgeagent.store.migrations import known_steps
from tests.parts import first_schema
from tests.parts.system import System
from tests.parts.view import container_of, is_ready, phase_of, ready_of, restarts_of

NAMES = ("web-1", "web-2", "crashed")


async def running(system: System) -> dict[str, str]:
    """Some that run, one of them after a crash, and one that has ended; answers the containers."""
    for name in NAMES:
        await system.create_pod(name)
    await system.create_pod("ended", command=["true"], restartPolicy="Never")
    await system.running(*NAMES)
    system.kill_container(container_of(system.view.pods["crashed"])["containerID"])
    await system.view.until(
        "one was restarted, one has ended",
        lambda: (
            is_ready(pod := system.view.pods["crashed"])
            and restarts_of(pod) == 1
            and phase_of(system.view.pods["ended"]) == "Succeeded"
        ),
    )
    return containers(system)


def containers(system: System) -> dict[str, str]:
    return {name: container_of(system.view.pods[name])["containerID"] for name in (*NAMES, "ended")}


async def goes_on(system: System, before: dict[str, str]) -> None:
    assert containers(system) == before
    assert [restarts_of(system.view.pods[name]) for name in NAMES] == [0, 0, 1]
    assert phase_of(system.view.pods["ended"]) == "Succeeded"
    await system.create_pod("new")
    await system.delete_pod("web-2")
    await system.running("new")
    await system.gone("web-2")
    await system.in_step()
    assert container_of(system.view.pods["ended"])["containerID"] == before["ended"]


@pytest.mark.parametrize("linked", [True, False], ids=["with a link", "offline"])
async def test_from_the_first_release_containers_are_untouched_and_all_is_remembered(
    system: System, linked: bool
) -> None:
    before = await running(system)
    tasks = system.running_ids()
    revision = (await system.edgeagent("status")).partition("revision ")[2].partition(",")[0]
    await _stop(system)
    first_schema.take_back(system.data / FILE)
    if not linked:
        system.switch.cut()
    await system.agent.start()
    await system.status_says("3 Running", f"revision {revision}, complete")
    assert not list(system.data.glob(f"{FILE}.damaged*"))
    if not linked:
        await asyncio.sleep(3)
        assert system.running_ids() == tasks
        system.switch.restore()
    await system.node_is("True")
    await goes_on(system, before)
    assert _steps(system) == known_steps()


async def test_back_from_a_later_release_containers_are_untouched_and_the_list_comes_again(
    system: System,
) -> None:
    before = await running(system)
    tasks = system.running_ids()
    await _stop(system)
    first_schema.bring_forward(system.data / FILE)
    system.switch.cut()
    await system.agent.start()
    await system.status_says("list:     none received yet")
    await asyncio.sleep(3)
    assert system.running_ids() == tasks
    system.switch.restore()
    await system.node_is("True")
    await goes_on(system, before)
    assert len(list(system.data.glob(f"{FILE}.damaged-1"))) == 1


async def _stop(system: System) -> None:
    """A clean stop says good-bye: nobody waits for the Will."""
    await system.agent.stop()
    node = system.view.nodes
    await system.view.until("good-bye", lambda: ready_of(node[system.node]) == "Unknown", within=10)


def _steps(system: System) -> set[str]:
    database = sqlite3.connect(f"file:{system.data / FILE}?mode=ro", uri=True)
    try:
        return {name for (name,) in database.execute("SELECT name FROM _sqlite_migrations")}
    finally:
        database.close()
