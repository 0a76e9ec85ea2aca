"""The agent between logind and its pods, over a real D-Bus; the pods are given values."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from edgeagent.pods.held import HeldPod
from shared.errors import KubetideError
from tests.edge_pods.world import a_pod
from tests.edge_shutdown.going_down import Cloud, GivenPods, shutting_down_with, until
from tests.parts.dbus import PrivateBus
from tests.parts.logind import Login1


async def test_it_holds_one_lock_and_nothing_else_happens(
    private_bus: PrivateBus, login1: Login1
) -> None:
    pods, cloud = GivenPods(), Cloud()
    async with shutting_down_with(pods, private_bus.address, cloud):
        await until(lambda: login1.locks == 1)
        login1.signal(True)
        login1.signal(False)
        await asyncio.sleep(0.2)
        assert login1.locks == 1
        assert (pods.told, cloud.words, cloud.node_ready) == ([], [], [])
    await until(lambda: login1.locks == 0)
    assert pods.told == [], "an agent that stops leaves the pods alone"


async def test_the_machine_goes_down_when_all_pods_rest_and_not_later(
    private_bus: PrivateBus, login1: Login1
) -> None:
    pods, cloud = GivenPods([HeldPod("uid", a_pod())]), Cloud()
    async with shutting_down_with(pods, private_bus.address, cloud) as shutdown:
        await until(lambda: login1.locks == 1)
        login1.shut_down()
        await until(lambda: len(pods.told) == 1)
        await asyncio.sleep(0.3)
        assert shutdown.shutting_down
        assert cloud.node_ready == [False]
        assert cloud.words == ["Shutdown manager detected shutdown event"]
        assert not login1.off.is_set()
        pods.pods = [HeldPod("uid", a_pod(), rests=True)]
        await until(login1.off.is_set)
        assert len(cloud.delivered) == 1, "everything was told before"
        assert login1.off_after is not None and login1.off_after < 5
        await asyncio.sleep(0.3)
        assert None not in pods.told, "nobody runs again on a machine that goes down"


async def test_pods_that_do_not_stop_hold_it_up_for_their_share_only(
    private_bus: PrivateBus, login1: Login1
) -> None:
    critical = a_pod("critical", priority=2_000_000_000)
    pods = GivenPods([HeldPod("a", a_pod()), HeldPod("b", critical)])
    with capture_logs() as logs:
        async with shutting_down_with(
            pods, private_bus.address, Cloud(), regular=0.6, critical=0.4
        ):
            await until(lambda: login1.locks == 1)
            login1.shut_down()
            await until(login1.off.is_set)
    assert login1.off_after is not None and 1.0 <= login1.off_after < 5
    left = [one["pods"] for one in logs if "in their time" in one["event"]]
    assert left == [["a"], ["a", "b"]]


async def test_pods_that_are_another_agents_hold_nothing_up(
    private_bus: PrivateBus, login1: Login1
) -> None:
    pods = GivenPods([HeldPod("uid", a_pod())], fenced=True)
    async with shutting_down_with(pods, private_bus.address, Cloud()):
        await until(lambda: login1.locks == 1)
        login1.shut_down()
        await until(login1.off.is_set)
    assert pods.told == []


async def test_reports_are_waited_for_no_longer_than_is_left(
    private_bus: PrivateBus, login1: Login1
) -> None:
    for total, most in ((2.0, 2.0), (60.0, 5.0)):
        cloud = Cloud()
        async with shutting_down_with(
            GivenPods(), private_bus.address, cloud, regular=total - 1, critical=1
        ):
            await until(lambda: login1.locks == 1)
            login1.shut_down()
            await until(login1.off.is_set)
            (within,) = cloud.delivered
            assert most - 1.5 < within <= most
            login1.call_off()
        await until(lambda: login1.locks == 0)


async def test_whatever_fails_the_machine_can_go_down(
    private_bus: PrivateBus, login1: Login1
) -> None:
    class Broken(Cloud):
        async def tell(self) -> None:
            raise KubetideError("no runtime")

        async def deliver(self, *, within: float) -> bool:
            raise RuntimeError("a defect")

    async with shutting_down_with(GivenPods(), private_bus.address, Broken()):
        await until(lambda: login1.locks == 1)
        login1.shut_down()
        await until(login1.off.is_set)


async def test_called_off_the_pods_are_taken_up_and_the_lock_is_kept_or_taken_anew(
    private_bus: PrivateBus, login1: Login1
) -> None:
    pods, cloud = GivenPods([HeldPod("uid", a_pod())]), Cloud()
    async with shutting_down_with(pods, private_bus.address, cloud) as shutdown:
        await until(lambda: login1.locks == 1)
        login1.shut_down()
        await until(lambda: len(pods.told) == 1)
        login1.call_off()  # While pods stop.
        await until(lambda: pods.told[-1] is None)
        await until(lambda: cloud.node_ready == [False, True])
        assert not shutdown.shutting_down
        assert cloud.words[-1] == "Shutdown manager detected shutdown cancellation"
        assert (login1.locks, len(login1.asked)) == (1, 1)
        pods.pods = []
        login1.shut_down()
        await until(login1.off.is_set)
        login1.call_off()  # When the lock was given back.
        await until(lambda: login1.locks == 1)
        assert len(login1.asked) == 2
        assert cloud.node_ready == [False, True, False, True]


async def test_less_time_than_is_set_is_said_with_the_way_out(
    private_bus: PrivateBus, login1: Login1
) -> None:
    login1.longest_delay = 5.0
    pods = GivenPods([HeldPod("uid", a_pod(), rests=True)])
    with capture_logs() as logs:
        async with shutting_down_with(pods, private_bus.address, Cloud()):
            await until(lambda: login1.locks == 1)
            login1.shut_down()
            await until(login1.off.is_set)
    (warning,) = [one for one in logs if one["event"].startswith("logind gives")]
    assert "InhibitDelayMaxSec=30" in warning["event"]
    assert "/etc/systemd/logind.conf.d/kubetide.conf" in warning["event"]
    assert (warning["asked"], warning["allowed"]) == (30, 5.0)
    given = pods.told[0]
    assert given is not None
    assert given(a_pod()).grace == 2, "of a share of 3.3 s"


async def test_a_logind_that_restarts_is_asked_for_a_new_lock(
    private_bus: PrivateBus, login1: Login1
) -> None:
    async with shutting_down_with(GivenPods(), private_bus.address, Cloud()):
        await until(lambda: login1.locks == 1)
        login1.close()
        again = Login1(private_bus.address)
        await until(lambda: again.locks == 1)
        again.shut_down()
        await until(again.off.is_set)
        again.close()


async def test_a_bus_that_restarts_is_connected_to_again(
    private_bus: PrivateBus, login1: Login1
) -> None:
    async with shutting_down_with(GivenPods(), private_bus.address, Cloud()):
        await until(lambda: login1.locks == 1)
        private_bus.stop()
        login1.close()
        private_bus.start()
        again = Login1(private_bus.address)
        await until(lambda: again.locks == 1)
        again.close()


async def test_a_shutdown_goes_on_while_logind_restarts(
    private_bus: PrivateBus, login1: Login1
) -> None:
    pods, cloud = GivenPods([HeldPod("uid", a_pod())]), Cloud()
    async with shutting_down_with(pods, private_bus.address, cloud) as shutdown:
        await until(lambda: login1.locks == 1)
        login1.shut_down()
        await until(lambda: len(pods.told) == 1)
        login1.close()
        again = Login1(private_bus.address, preparing=True)
        await asyncio.sleep(1.5)  # It is connected to by then.
        assert len(pods.told) == 1, "neither begun anew nor called off"
        pods.pods = []
        await until(lambda: len(cloud.delivered) == 1)
        again.call_off()
        await until(lambda: pods.told[-1] is None)
        assert not shutdown.shutting_down
        await until(lambda: again.locks == 1)
        again.close()


async def test_a_shutdown_that_was_missed_is_found_at_the_next_connection(
    private_bus: PrivateBus, login1: Login1
) -> None:
    """Also one under which no lock is given any more: the pods stop as far as there is time."""
    pods = GivenPods()
    login1.shut_down()
    async with shutting_down_with(pods, private_bus.address, Cloud()):
        await until(lambda: len(pods.told) == 2)
    assert login1.asked == []


async def test_where_there_is_no_bus_it_says_so_once_and_is_quiet(private_bus: PrivateBus) -> None:
    private_bus.stop()
    pods = GivenPods()
    with capture_logs() as logs:
        async with shutting_down_with(pods, private_bus.address, Cloud()):
            await until(lambda: bool(logs))
            await asyncio.sleep(0.3)
    (line,) = logs
    assert (line["log_level"], line["event"]) == ("info", "no graceful shutdown of the device")
    assert "No such file" in line["reason"]
    assert pods.told == []


async def test_with_no_time_to_give_it_is_off(private_bus: PrivateBus, login1: Login1) -> None:
    with capture_logs() as logs:
        async with shutting_down_with(
            GivenPods(), private_bus.address, Cloud(), regular=0, critical=0
        ):
            await asyncio.sleep(0.3)
    assert (login1.locks, logs) == (0, [])
