"""What the agent relies on is so with the real logind, the played and the simulated one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from edgeagent.shutdown.logind import connected
from edgeagent.shutdown.port import Connect, LogindAway
from simulator.logind import SimLogind
from tests.edge_shutdown.going_down import Cloud, GivenPods, shutting_down_with, until
from tests.parts.dbus import PrivateBus
from tests.parts.logind import Login1
from tests.parts.systemd_logind import SystemdLogind

AnyLogind = Login1 | SystemdLogind | SimLogind
Opened = Callable[[float], AnyLogind]
"""With the longest delay in seconds."""


@pytest.fixture(params=["played", "systemd", "simulated"])
def opened(private_bus: PrivateBus, request: pytest.FixtureRequest) -> Iterator[Opened]:
    running: list[AnyLogind] = []

    def open_logind(longest_delay: float) -> AnyLogind:
        if request.param == "systemd":
            running.append(SystemdLogind(private_bus, longest_delay=longest_delay))
        elif request.param == "simulated":
            running.append(SimLogind(longest_delay=longest_delay))
        else:
            running.append(Login1(private_bus.address, longest_delay=longest_delay))
        return running[-1]

    yield open_logind
    for one in running:
        one.close()


def to(machine: AnyLogind, bus: PrivateBus) -> Connect:
    if isinstance(machine, SimLogind):
        return machine.connected
    return lambda: connected(bus.address)


async def is_off(machine: AnyLogind) -> float:
    await until(machine.off.is_set)
    assert machine.off_after is not None
    return machine.off_after


async def test_the_longest_delay_is_said_in_seconds(
    private_bus: PrivateBus, opened: Opened
) -> None:
    machine = opened(12.5)
    async with to(machine, private_bus)() as logind:
        assert await logind.longest_delay() == 12.5


async def test_a_lock_delays_the_shutdown_until_it_is_released(
    private_bus: PrivateBus, opened: Opened
) -> None:
    machine = opened(60)
    async with to(machine, private_bus)() as logind:
        lock = await logind.inhibit()
        assert not await logind.preparing()
        machine.shut_down()
        await asyncio.wait_for(logind.news(), 10)
        assert await logind.preparing()
        assert not machine.off.is_set()
    await asyncio.sleep(0.3)
    assert machine.locks == 1 and not machine.off.is_set(), "the lock outlives the connection"
    lock.release()
    await is_off(machine)


async def test_a_lock_delays_it_no_longer_than_the_longest_delay(
    private_bus: PrivateBus, opened: Opened
) -> None:
    machine = opened(2)
    async with to(machine, private_bus)() as logind:
        lock = await logind.inhibit()
        machine.shut_down()
        assert 1.5 < await is_off(machine) < 9
    lock.release()


async def test_no_lock_is_given_once_the_shutdown_has_begun(
    private_bus: PrivateBus, opened: Opened
) -> None:
    machine = opened(60)
    async with to(machine, private_bus)() as logind:
        lock = await logind.inhibit()
        machine.shut_down()
        with pytest.raises(LogindAway, match="OperationInProgress"):
            await logind.inhibit()
    lock.release()


async def test_a_shutdown_that_is_called_off_is_news(
    private_bus: PrivateBus, opened: Opened
) -> None:
    machine = opened(60)
    async with to(machine, private_bus)() as logind:
        machine.shut_down()
        await is_off(machine)
        await asyncio.wait_for(logind.news(), 10)
        assert await logind.preparing()
        machine.call_off()
        await asyncio.wait_for(logind.news(), 10)
        assert not await logind.preparing()


async def test_the_end_of_logind_is_noticed(private_bus: PrivateBus, opened: Opened) -> None:
    machine = opened(60)
    async with to(machine, private_bus)() as logind:
        machine.close()
        with pytest.raises(LogindAway, match="logind has ended"):
            await asyncio.wait_for(logind.news(), 10)


async def test_a_device_goes_down_and_is_called_back(
    private_bus: PrivateBus, opened: Opened
) -> None:
    machine = opened(60)
    pods, cloud = GivenPods(), Cloud()
    async with shutting_down_with(pods, to(machine, private_bus), cloud):
        await until(lambda: machine.locks == 1)
        machine.shut_down()
        assert await is_off(machine) < 10, "nothing was left to stop"
        machine.call_off()
        await until(lambda: machine.locks == 1)
    assert cloud.words == [
        "Shutdown manager detected shutdown event",
        "Shutdown manager detected shutdown cancellation",
    ]
    assert cloud.node_ready == [False, True]
