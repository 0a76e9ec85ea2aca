"""A critical pod is taken up though the device is full: others make room for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from shared.objects import Json
from tests.edge_pods.device import OBEYS, Device, a_device, a_script
from tests.parts.containerd import Containerd

CRITICAL = 2_000_001_000
SLOW = "trap 'sleep 2; echo late; exit 0' TERM; sleep 3600 & wait"


@pytest.fixture
async def device(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Device]:
    """With one cpu to give."""
    async with a_device(containerd, tmp_path) as one:
        await one.kill_agent()
        one.node = replace(one.node, allocatable={"cpu": Fraction(1), "pods": Fraction(20)})
        one.start_agent()
        yield one


def asks(cpu: str, text: str = OBEYS) -> Json:
    return a_script(text, resources={"requests": {"cpu": cpu}})


async def running(device: Device, container: Json, **spec: object) -> str:
    uid = device.apply(container, **spec)
    await device.until(lambda: device.obeys(uid))
    return uid


async def test_a_critical_pod_takes_the_place_of_one_that_is_not(device: Device) -> None:
    small = await running(device, asks("200m"))
    large = await running(device, asks("600m", SLOW), terminationGracePeriodSeconds=30)
    critical = device.apply(asks("700m"), priority=CRITICAL)
    await device.until(lambda: device.status(large).get("phase") == "Failed")
    assert device.status(large)["reason"] == "Preempting"
    assert device.status(large)["message"] == "Preempted in order to admit critical pod"
    assert device.ended(large)["exitCode"] == 0, "it had its own grace period"
    disrupted = device.condition(large, "DisruptionTarget")
    assert (disrupted["status"], disrupted["reason"]) == ("True", "TerminationByKubelet")
    words = "Pod was preempted by Kubelet to accommodate a critical pod."
    assert disrupted["message"] == words
    assert device.messages(large, "Preempting") == ["Preempted in order to admit critical pod"]
    await device.until(lambda: device.runs(critical))
    assert device.runs(small)
    assert device.container(small)["restartCount"] == 0


async def test_the_place_that_is_made_is_nobody_elses(device: Device) -> None:
    large = await running(device, asks("600m", SLOW), terminationGracePeriodSeconds=30)
    critical = device.apply(asks("700m"), priority=CRITICAL)
    await device.until(lambda: bool(device.messages(large, "Killing")))
    assert not device.status(critical), "it waits, and nothing is said of it"
    # Beside the one that goes there would be room for it.
    late = device.apply(asks("400m"))
    await device.until(lambda: device.status(late).get("reason") == "OutOfcpu")
    await device.until(lambda: device.runs(critical))


async def test_another_agent_goes_on_making_room(device: Device) -> None:
    large = await running(device, asks("900m", SLOW), terminationGracePeriodSeconds=30)
    critical = device.apply(asks("900m"), priority=CRITICAL)
    await device.until(lambda: bool(device.messages(large, "Killing")))
    await device.kill_agent()
    device.start_agent()
    await device.until(lambda: device.runs(critical))
    assert device.status(large)["reason"] == "Preempting"


async def test_a_critical_pod_for_which_nobody_can_make_room_is_refused(device: Device) -> None:
    other = await running(device, asks("500m"))
    critical = device.apply(asks("1200m"), priority=CRITICAL)
    await device.until(lambda: device.status(critical).get("phase") == "Failed")
    assert device.status(critical)["reason"] == "UnexpectedAdmissionError"
    assert "no set of running pods found to reclaim" in device.status(critical)["message"]
    assert device.runs(other)
