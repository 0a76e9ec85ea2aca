"""The device is shut down by its people, from end to end: the cluster is told before it is off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from devcluster.containerd import Containerd
from shared.objects import Json
from tests.edge_shutdown.going_down import until
from tests.parts.dbus import PrivateBus
from tests.parts.kubernetes import Cluster
from tests.parts.logind import Login1
from tests.parts.mosquitto import Mosquitto
from tests.parts.system import System, running_system
from tests.parts.view import container_of, is_ready, restarts_of


@pytest.fixture
async def system(
    cloud: Cluster,
    mosquitto: Mosquitto,
    mortal: Containerd,
    private_bus: PrivateBus,
    login1: Login1,
) -> AsyncIterator[System]:
    """As elsewhere here, on a machine with systemd-logind."""
    async with running_system(
        kubeconfig=str(cloud.kubeconfig_path),
        broker=mosquitto,
        containerd=mortal,
        agent_env={"DBUS_SYSTEM_BUS_ADDRESS": private_bus.address},
    ) as running:
        await running.node_is("True")
        yield running


def ready(system: System) -> Json:
    conditions = system.view.nodes[system.node]["status"]["conditions"]
    return next(dict(one) for one in conditions if one["type"] == "Ready")


async def test_without_a_link_nothing_is_waited_for_and_all_is_told_after_the_boot(
    system: System, login1: Login1
) -> None:
    await system.create_pod("stays")
    await system.create_pod("once", restartPolicy="Never")
    await system.running("stays", "once")
    await until(lambda: login1.locks == 1)
    system.switch.cut()
    await system.status_says("not connected")

    login1.shut_down()
    await until(login1.off.is_set, seconds=30)
    assert login1.off_after is not None and login1.off_after < 10
    await system.agent.stop()
    await asyncio.to_thread(system.containerd.power_off)
    login1.preparing = False
    system.containerd.start()
    await system.agent.start()
    await system.status_says("not connected", "2 wanted", "1 Running", within=30)
    assert restarts_of(system.view.pods["stays"]) == 0, "nobody could tell"

    system.switch.restore()
    await system.view.until(
        "the API knows of the shutdown",
        lambda: (
            is_ready(found := system.view.pods["stays"])
            and restarts_of(found) == 1
            and system.view.pods["once"]["status"].get("reason") == "Terminated"
        ),
    )
    assert system.view.pods["once"]["status"]["phase"] == "Failed"


async def test_pods_stop_in_order_and_run_again_after_the_boot(
    system: System, login1: Login1
) -> None:
    await system.create_pod("stays")
    await system.create_pod("once", restartPolicy="Never")
    await system.running("stays", "once")
    first = container_of(system.view.pods["stays"])["containerID"]
    await until(lambda: login1.locks == 1)

    login1.shut_down()
    await until(login1.off.is_set, seconds=30)
    await system.view.until(
        "the node says that it shuts down",
        lambda: ready(system).get("message") == "node is shutting down",
        within=10,
    )
    assert (ready(system)["status"], ready(system)["reason"]) == ("False", "KubeletNotReady")
    await system.view.until(
        "the pods are what they are on a node that shuts down",
        lambda: (
            system.view.pods["once"]["status"]["phase"] == "Failed"
            and system.view.pods["stays"]["status"].get("reason") == "Terminated"
        ),
        within=10,
    )
    assert system.view.pods["stays"]["status"]["phase"] == "Running"
    assert system.view.pods["once"]["status"]["reason"] == "Terminated"

    await system.agent.stop()
    await system.view.until("the node is away", lambda: ready(system)["status"] == "Unknown")
    assert ready(system)["message"].endswith("; the device was shut down")
    await asyncio.to_thread(system.containerd.power_off)
    login1.preparing = False
    system.containerd.start()
    await system.agent.start()
    await system.node_is("True")
    await system.view.until(
        "the pod runs again",
        lambda: is_ready(found := system.view.pods["stays"]) and restarts_of(found) == 1,
    )
    status = system.view.pods["stays"]["status"]
    assert "reason" not in status and "message" not in status
    assert (
        container_of(system.view.pods["stays"])["lastState"]["terminated"]["containerID"] == first
    )
    assert system.view.pods["once"]["status"]["phase"] == "Failed"
