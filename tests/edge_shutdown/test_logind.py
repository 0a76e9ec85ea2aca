"""What the agent asks of logind, over a real D-Bus."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from edgeagent import systembus
from edgeagent.shutdown.logind import connected
from edgeagent.shutdown.port import LogindAway
from tests.edge_shutdown.going_down import until
from tests.parts.dbus import PrivateBus
from tests.parts.logind import Login1


async def test_a_lock_delays_the_shutdown_until_it_is_released(
    private_bus: PrivateBus, login1: Login1
) -> None:
    async with connected(private_bus.address) as logind:
        assert not await logind.preparing()
        lock = await logind.inhibit()
    assert login1.asked == [("shutdown", "Kubetide", "Pods are stopped in their order", "delay")]
    assert login1.locks == 1, "it outlives the connection"
    login1.shut_down()
    await asyncio.sleep(0.2)
    assert not login1.off.is_set()
    lock.release()
    lock.release()
    await until(login1.off.is_set)
    assert not lock.held


async def test_the_longest_delay_is_read_in_seconds(
    private_bus: PrivateBus, login1: Login1
) -> None:
    login1.longest_delay = 12.5
    async with connected(private_bus.address) as logind:
        assert await logind.longest_delay() == 12.5


async def test_a_signal_is_news_and_what_is_true_is_asked_for(
    private_bus: PrivateBus, login1: Login1
) -> None:
    async with connected(private_bus.address) as logind:
        login1.signal(True)
        await asyncio.wait_for(logind.news(), 5)
        assert not await logind.preparing()
        login1.shut_down()
        await asyncio.wait_for(logind.news(), 5)
        assert await logind.preparing()


async def test_what_somebody_else_signals_is_not_even_news(
    private_bus: PrivateBus, login1: Login1
) -> None:
    from jeepney import DBusAddress, new_signal
    from jeepney.io.blocking import open_dbus_connection

    async with connected(private_bus.address) as logind:
        with open_dbus_connection(private_bus.address) as forger:
            emitter = DBusAddress(
                "/org/freedesktop/login1", interface="org.freedesktop.login1.Manager"
            )
            forger.send(new_signal(emitter, "PrepareForShutdown", "b", (True,)))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(logind.news(), 0.3)


async def test_a_lock_that_is_refused_says_why(private_bus: PrivateBus, login1: Login1) -> None:
    login1.refuses = True
    async with connected(private_bus.address) as logind:
        with pytest.raises(LogindAway, match="AccessDenied"):
            await logind.inhibit()
        assert not await logind.preparing(), "the connection is of use still"


async def test_the_end_of_logind_and_of_the_bus_are_noticed(
    private_bus: PrivateBus, login1: Login1
) -> None:
    async with connected(private_bus.address) as logind:
        login1.close()
        with pytest.raises(LogindAway, match="logind has ended"):
            await asyncio.wait_for(logind.news(), 5)
        with pytest.raises(LogindAway):
            await logind.preparing()
    again = Login1(private_bus.address)
    async with connected(private_bus.address) as logind:
        private_bus.stop()
        with pytest.raises(LogindAway, match="closed the connection"):
            await asyncio.wait_for(logind.news(), 5)
    again.close()


async def test_without_logind_on_the_bus_and_without_a_bus_it_is_away(
    private_bus: PrivateBus,
) -> None:
    async with connected(private_bus.address) as logind:
        with pytest.raises(LogindAway, match="ServiceUnknown"):
            await logind.preparing()
    private_bus.stop()
    with pytest.raises(LogindAway, match="No such file"):
        async with connected(private_bus.address):
            raise AssertionError("connected to nothing")


async def test_a_bus_that_talks_nonsense_is_away(tmp_path: Path) -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 no\r\n")
        writer.close()
        await writer.wait_closed()

    address = f"unix:path={tmp_path}/bus"
    async with await asyncio.start_unix_server(nonsense, tmp_path / "bus"):
        with pytest.raises(LogindAway, match="D-Bus cannot be used"):
            async with connected(address):
                raise AssertionError("connected to nonsense")


async def test_a_bus_that_hangs_is_given_up_and_holds_up_nothing_else(
    private_bus: PrivateBus, login1: Login1, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systembus, "_ANSWER_SECONDS", 3.0)
    longest_pause, last = 0.0, time.monotonic()

    async def goes_on() -> None:
        nonlocal longest_pause, last
        while True:
            await asyncio.sleep(0.01)
            longest_pause = max(longest_pause, time.monotonic() - last)
            last = time.monotonic()

    everything_else = asyncio.create_task(goes_on())
    async with connected(private_bus.address) as logind:
        private_bus.freeze()
        with pytest.raises(LogindAway, match="did not answer within 3 s"):
            await logind.preparing()
    with pytest.raises(LogindAway, match="D-Bus cannot be used"):
        async with connected(private_bus.address):
            raise AssertionError("connected to what does not answer")
    everything_else.cancel()
    assert longest_pause < 2.0, "the loop was blocked"


async def test_nothing_is_left_open(private_bus: PrivateBus, login1: Login1) -> None:
    async def once() -> None:
        async with connected(private_bus.address) as logind:
            (await logind.inhibit()).release()

    await once()
    await until(lambda: login1.locks == 0)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        await once()
    await until(lambda: login1.locks == 0)
    # Servers that tests share, in this process, may have closed some of theirs.
    assert len(os.listdir("/proc/self/fd")) <= before
