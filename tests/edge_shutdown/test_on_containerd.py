"""A device goes down: real pods on containerd, logind's words over a real D-Bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from devcluster.containerd import Containerd
from shared.objects import Json
from tests.edge_pods.device import OBEYS, Device, a_device, a_script
from tests.edge_shutdown.going_down import Cloud, shutting_down_with, until
from tests.parts.containerd import new_containerd
from tests.parts.dbus import PrivateBus
from tests.parts.logind import Login1

CRITICAL = 2_000_001_000
DEAF = "trap '' TERM; echo on; while :; do sleep 1; done"
"""Only SIGKILL ends it."""
MESSAGE = "Pod was terminated in response to imminent node shutdown."


@pytest.fixture
async def device(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Device]:
    async with a_device(containerd, tmp_path) as one:
        yield one


@pytest.fixture(scope="module")
def mortal(image_archive: Path) -> Iterator[Containerd]:
    """A containerd of our own: its device loses power here."""
    private = new_containerd(image_archive)
    yield private
    private.close()


async def locked(login1: Login1) -> None:
    await until(lambda: login1.locks == 1)


async def off(login1: Login1, *, seconds: float = 40.0) -> float:
    """Waits until the machine has gone down; the seconds that took."""
    await until(login1.off.is_set, seconds=seconds)
    assert login1.off_after is not None
    return login1.off_after


async def ended_at(device: Device, uid: str) -> int:
    """Nanoseconds, as the runtime says: statuses have whole seconds."""
    (sandbox,) = [one for one in await device.sandboxes() if one.uid == uid]
    seen = await device.runtime.inspect_sandbox(sandbox.id)
    assert seen is not None
    return seen.containers[0].finished_at


async def test_regular_pods_stop_before_critical_ones(
    device: Device, private_bus: PrivateBus, login1: Login1
) -> None:
    slow = "trap 'sleep 2; exit 0' TERM; sleep 3600 & wait"
    regular = device.apply(a_script(slow))
    critical = device.apply(a_script(OBEYS), priority=CRITICAL)
    await device.until(lambda: device.obeys(regular) and device.obeys(critical))
    cloud = Cloud()
    async with shutting_down_with(device.pods, private_bus.address, cloud):
        await locked(login1)
        login1.shut_down()
        await asyncio.sleep(1)
        assert device.runs(critical), "the other one has not stopped"
        assert not login1.off.is_set()
        took = await off(login1)
    assert device.ended(regular)["exitCode"] == 0
    assert device.ended(critical)["exitCode"] == 7
    assert await ended_at(device, regular) < await ended_at(device, critical)
    assert cloud.node_ready == [False]
    assert took < 10, "the lock is given back as soon as all have stopped"


async def test_pods_stop_class_by_class_in_the_order_of_their_priority(
    device: Device, private_bus: PrivateBus, login1: Login1
) -> None:
    slow = "trap 'sleep 1; exit 0' TERM; sleep 3600 & wait"
    uids = [device.apply(a_script(slow), priority=one) for one in (5_000, 0, 1_000)]
    await device.until(lambda: all(device.obeys(uid) for uid in uids))
    classes = {0: 10, 1_000: 10, 5_000: 10}
    async with shutting_down_with(device.pods, private_bus.address, Cloud(), by_priority=classes):
        await locked(login1)
        login1.shut_down()
        await off(login1)
    high, low, middle = [await ended_at(device, uid) for uid in uids]
    assert low + 10**9 <= middle, "each class runs on until the one below has stopped"
    assert middle + 10**9 <= high


async def test_shares_of_the_grace_period_are_kept(
    device: Device, private_bus: PrivateBus, login1: Login1
) -> None:
    regular = device.apply(a_script(DEAF), terminationGracePeriodSeconds=600)
    critical = device.apply(a_script(DEAF), terminationGracePeriodSeconds=600, priority=CRITICAL)
    await device.until(lambda: all(device.log(uid) == "on" for uid in (regular, critical)))
    async with shutting_down_with(device.pods, private_bus.address, Cloud(), regular=5, critical=4):
        await locked(login1)
        login1.shut_down()
        took = await off(login1)
    assert device.ended(regular)["exitCode"] == device.ended(critical)["exitCode"] == 137
    assert 4 + 3 <= took < 5 + 4, "each has its share but for the second in which it is told"


async def test_what_never_restarts_has_failed_and_what_does_has_not(
    device: Device, private_bus: PrivateBus, login1: Login1
) -> None:
    never = device.apply(a_script(OBEYS), restartPolicy="Never")
    job = device.apply(a_script("trap 'exit 0' TERM; sleep 3600 & wait"), restartPolicy="OnFailure")
    always = device.apply(a_script(OBEYS))
    await device.until(lambda: all(device.obeys(uid) for uid in (never, job, always)))
    async with shutting_down_with(device.pods, private_bus.address, Cloud()):
        await locked(login1)
        login1.shut_down()
        await off(login1)
    failed = device.status(never)
    assert (failed["phase"], failed["reason"]) == ("Failed", "Terminated")
    assert failed["message"] == MESSAGE
    (target,) = [one for one in failed["conditions"] if one["type"] == "DisruptionTarget"]
    assert (target["status"], target["reason"]) == ("True", "TerminationByKubelet")
    for uid in (job, always):
        status = device.status(uid)
        assert (status["phase"], status["reason"]) == ("Running", "Terminated")
        assert "terminated" in device.container(uid)["state"]
        assert [one for one in device.reasons(uid) if one == "Terminated"] == ["Terminated"]


async def test_after_the_boot_the_pods_run_again_with_one_restart_more(
    mortal: Containerd, tmp_path: Path, private_bus: PrivateBus, login1: Login1
) -> None:
    async with a_device(mortal, tmp_path) as device:
        zero = a_script("trap 'exit 0' TERM; sleep 3600 & wait")
        job = device.apply(zero, restartPolicy="OnFailure")
        always = device.apply(a_script(OBEYS))
        never = device.apply(a_script(OBEYS), restartPolicy="Never")
        await device.until(lambda: all(device.obeys(uid) for uid in (job, always, never)))
        async with shutting_down_with(device.pods, private_bus.address, Cloud()):
            await locked(login1)
            login1.shut_down()
            await off(login1)
        await device.kill_agent()
        await asyncio.to_thread(mortal.power_off)
        mortal.start()
        device.reports.by_uid.clear()
        device.start_agent()
        await device.until(lambda: device.runs(always) and device.runs(job), seconds=40)
        for uid, code in ((always, 7), (job, 0)):
            assert device.container(uid)["restartCount"] == 1
            last: Json = device.container(uid)["lastState"]["terminated"]
            assert last["exitCode"] == code, "the end that the agent saw, not the power cut"
            assert "reason" not in device.status(uid)
        await device.until(lambda: device.status(never).get("phase") == "Failed")
        assert device.status(never)["reason"] == "Terminated"


async def test_a_shutdown_that_is_called_off_takes_the_pods_up_again(
    device: Device, private_bus: PrivateBus, login1: Login1
) -> None:
    uid = device.apply(a_script(OBEYS))
    await device.until(lambda: device.obeys(uid))
    cloud = Cloud()
    async with shutting_down_with(device.pods, private_bus.address, cloud):
        await locked(login1)
        login1.shut_down()
        await off(login1)
        meanwhile = device.apply(a_script(OBEYS))
        await device.until(lambda: device.status(meanwhile).get("reason") == "NodeShutdown")
        assert device.status(meanwhile)["phase"] == "Pending"
        assert not device.runs(uid)
        login1.call_off()
        await device.until(lambda: device.runs(uid) and device.runs(meanwhile))
        await locked(login1)
    assert device.container(uid)["restartCount"] == 1
    assert device.container(meanwhile)["restartCount"] == 0
    assert cloud.node_ready == [False, True]
    assert len(await device.sandboxes()) == 2, "the first one has the sandbox that it had"


async def test_shares_shrink_to_what_logind_allows(
    device: Device, private_bus: PrivateBus, login1: Login1
) -> None:
    login1.longest_delay = 6.0
    regular = device.apply(a_script(DEAF), terminationGracePeriodSeconds=600)
    critical = device.apply(a_script(OBEYS), priority=CRITICAL)
    await device.until(lambda: device.log(regular) == "on" and device.obeys(critical))
    with capture_logs() as logs:
        async with shutting_down_with(device.pods, private_bus.address, Cloud()):
            await locked(login1)
            login1.shut_down()
            took = await off(login1)
            assert login1.locks == 0, "given back, not overrun"
    assert any("InhibitDelayMaxSec=30" in one["event"] for one in logs)
    assert device.ended(regular)["exitCode"] == 137
    assert device.ended(critical)["exitCode"] == 7
    assert 3 <= took < 6
