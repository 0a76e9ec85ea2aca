"""The disk with the agent's data is full or read-only: what goes on, what not, what is said."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable

import pytest

from devcluster.containerd import Containerd
from edgeagent.store import FILE
from shared.objects import Json
from tests.parts.kubernetes import Cluster
from tests.parts.mosquitto import Mosquitto
from tests.parts.small_disk import FailingDisk, SmallDisk
from tests.parts.system import System, running_system
from tests.parts.view import container_of, is_ready, restarts_of

CRITICAL = 2_000_000_000
"""The priority of system-cluster-critical: such a pod is never evicted."""


@pytest.fixture
def disk(request: pytest.FixtureRequest, new_disk: Callable[..., SmallDisk]) -> SmallDisk:
    return new_disk("32m", getattr(request, "param", SmallDisk))


@pytest.fixture
async def system(
    cloud: Cluster, mosquitto: Mosquitto, mortal: Containerd, disk: SmallDisk
) -> AsyncIterator[System]:
    async with running_system(
        kubeconfig=str(cloud.kubeconfig_path),
        broker=mosquitto,
        containerd=mortal,
        data=disk.folder / "device",
    ) as running:
        await running.node_is("True")
        yield running


def condition(system: System, kind: str) -> str:
    rows: list[Json] = system.view.nodes[system.node]["status"]["conditions"]
    return next((str(one["status"]) for one in rows if one["type"] == kind), "")


async def has_room_set_aside(system: System) -> None:
    """Some seconds after its start the agent has: free pages within its database."""
    async with asyncio.timeout(30):
        while not _free_pages(system):
            await asyncio.sleep(0.5)


def _free_pages(system: System) -> int:
    database = sqlite3.connect(f"file:{system.data / FILE}?mode=ro", uri=True)
    try:
        return int(database.execute("PRAGMA freelist_count").fetchone()[0])
    finally:
        database.close()


async def test_a_full_disk_evicts_what_is_not_critical_and_nothing_is_forgotten(
    system: System, disk: SmallDisk
) -> None:
    await system.create_pod("critical", priority=CRITICAL)
    await system.create_pod("ordinary")
    await system.running("critical", "ordinary")
    await has_room_set_aside(system)
    disk.fill()
    await system.view.until(
        "the node is under pressure, the ordinary pod is evicted",
        lambda: (
            condition(system, "DiskPressure") == "True"
            and system.view.pods["ordinary"]["status"].get("reason") == "Evicted"
        ),
    )
    evicted = system.view.pods["ordinary"]["status"]
    system.kill_container(container_of(system.view.pods["critical"])["containerID"])
    await system.view.until(
        "a crash is healed and told",
        lambda: is_ready(pod := system.view.pods["critical"]) and restarts_of(pod) == 1,
    )
    tasks = system.running_ids()
    await system.create_pod("late", priority=CRITICAL)
    async with asyncio.timeout(30):
        while "late" not in await system.edgeagent("pods"):
            await asyncio.sleep(0.5)

    await system.agent.kill()
    system.switch.cut()
    await system.agent.start()
    await system.status_says("agent:    running", "link:     not connected: ", "3 wanted: ")
    await asyncio.sleep(5)
    assert tasks <= system.running_ids(), "nothing was stopped"
    assert "ordinary   0/1" in await system.edgeagent("pods"), "what was evicted does not come back"
    system.switch.restore()

    disk.free()
    await system.running("critical", "late", within=90)
    assert restarts_of(system.view.pods["critical"]) == 1
    assert system.view.pods["ordinary"]["status"]["phase"] == "Failed"
    assert (
        container_of(system.view.pods["ordinary"])["containerID"]
        == (evicted["containerStatuses"][0]["containerID"])
    )
    await system.in_step()
    await system.status_says("all delivered to the broker")


async def test_what_is_not_stored_is_not_taken_up_and_status_says_why(
    system: System, disk: SmallDisk
) -> None:
    """Filled before room was set aside, which takes an agent some seconds, and to the last byte."""
    await system.create_pod("critical", priority=CRITICAL)
    await system.running("critical")
    await system.agent.kill()
    disk.fill()
    await system.agent.start()
    await system.status_says("link:     connected, for", "1 wanted: 1 Running")
    system.kill_container(container_of(system.view.pods["critical"])["containerID"])
    await system.view.until(
        "a crash is healed and told though it cannot be stored",
        lambda: is_ready(pod := system.view.pods["critical"]) and restarts_of(pod) == 1,
    )
    await system.status_says("disk:     database: database or disk is full; what is new is")
    await system.create_pod("late", priority=CRITICAL)
    system.switch.cut()
    await system.status_says("not connected: ", "disk:     database: ", within=10)
    system.switch.restore()
    await system.status_says("link:     connected, for", within=60)
    assert "late" not in await system.edgeagent("pods")

    disk.free()
    await system.running("late", within=60)
    await system.in_step()
    assert restarts_of(system.view.pods["critical"]) == 1
    said = await system.status_says("all delivered to the broker")
    assert "disk: " not in said


async def test_an_agent_that_starts_on_a_read_only_disk_waits_and_touches_nothing(
    system: System, disk: SmallDisk
) -> None:
    await system.create_pod("web")
    await system.create_pod("crashes")
    await system.running("web", "crashes")
    before = system.running_ids()
    await system.agent.kill()
    disk.writable(False)
    try:
        await system.agent.start()
        await system.status_says("agent:    does not answer: it is starting, or cannot write")
        await asyncio.sleep(3)
        assert system.running_ids() == before
        system.kill_container(container_of(system.view.pods["crashes"])["containerID"])
        await asyncio.sleep(4)
        assert len(system.running_ids()) == 3, "nobody restarts it"
    finally:
        disk.writable(True)
    await system.view.until(
        "it goes on by itself",
        lambda: is_ready(pod := system.view.pods["crashes"]) and restarts_of(pod) == 1,
    )
    await system.status_says("link:     connected, for", "2 wanted: 2 Running")
    assert restarts_of(system.view.pods["web"]) == 0


@pytest.mark.parametrize("disk", [FailingDisk], indirect=True)
async def test_a_disk_that_turns_read_only_under_the_agent_stops_changes_and_no_pod(
    system: System, disk: FailingDisk
) -> None:
    for name in ("stays", "crashes", "goes"):
        await system.create_pod(name)
    await system.running("stays", "crashes", "goes")
    kept = container_of(system.view.pods["stays"])["containerID"]
    disk.fail()
    system.kill_container(container_of(system.view.pods["crashes"])["containerID"])
    await system.view.until(
        "why it is not restarted is told",
        lambda: "Read-only file system" in _waiting(system.view.pods["crashes"]),
    )
    await system.create_pod("late")
    await system.delete_pod("goes")
    await system.status_says("disk:     database: ", "link:     connected, for", "3 wanted")
    await asyncio.sleep(5)
    assert not system.view.pods["late"]["status"].get("containerStatuses")
    assert is_ready(system.view.pods["goes"]) and is_ready(system.view.pods["stays"])
    assert container_of(system.view.pods["stays"])["containerID"] == kept
    assert condition(system, "Ready") == "True" and condition(system, "DiskPressure") == "False"
    system.switch.cut()
    await system.status_says("not connected: ", within=10)


def _waiting(pod: Json) -> str:
    return str((container_of(pod).get("state") or {}).get("waiting", {}).get("message", ""))
