"""Probes of whole pods on a real containerd: when they are made, what follows, what is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from shared.objects import Json
from tests.edge_pods.device import OBEYS, SHARED, Device, a_device, a_script, a_sharer
from tests.edge_pods.probed import a_probe, do, never, runs, told
from tests.parts.containerd import Containerd
from tests.parts.patience import PATIENCE


@pytest.fixture
async def device(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Device]:
    async with a_device(containerd, tmp_path) as one:
        yield one


LATE = 10 * PATIENCE
"""Seconds that a busy machine may be late."""


def condition(device: Device, uid: str, name: str) -> Json:
    found = device.status(uid).get("conditions", ())
    return next((dict(one) for one in found if one["type"] == name), {})


def log_times(device: Device, uid: str, name: str = "main") -> list[float]:
    pod = device.desired.wanted[uid].pod
    file = device.paths.log_directory(pod) / name / "0.log"
    lines = file.read_text().splitlines() if file.exists() else []
    stamps = [line.split(" ", 1)[0] for line in lines]
    return [datetime.fromisoformat(f"{one[:19]}{one[19:26]}+00:00").timestamp() for one in stamps]


# The numbers


async def test_probes_begin_after_the_initial_delay_and_come_by_the_period(device: Device) -> None:
    slow = runs("echo asked > /proc/1/fd/1; sleep 0.6")
    probe = a_probe(**slow, initialDelaySeconds=3, periodSeconds=2, timeoutSeconds=5)
    uid = device.apply(a_script(f"echo started; {OBEYS}", readinessProbe=probe))
    await device.until(lambda: len(log_times(device, uid)) >= 5, seconds=30)
    started, *asked = log_times(device, uid)
    assert 2.9 <= asked[0] - started < 3 + LATE
    between = [after - before for before, after in pairwise(asked)]
    assert min(between) < 2.4, "from one beginning to the next, however long they take"
    assert asked[-1] - asked[0] > 1.5 * len(between)


async def test_it_takes_so_many_successes_and_failures_in_a_row(device: Device) -> None:
    asks = runs("[ ! -e /v/bad ] && echo good >> /v/asked || { echo bad >> /v/asked; false; }")
    probe = a_probe(**asks, successThreshold=3, failureThreshold=2)
    uid = device.apply(a_sharer(OBEYS, readinessProbe=probe), volumes=SHARED)
    asked = device.paths.volume(uid, "shared") / "asked"
    await device.until(lambda: bool(device.container(uid).get("ready")))
    assert asked.read_text().count("good") >= 3
    (asked.parent / "bad").touch()
    await device.until(lambda: not device.container(uid)["ready"])
    assert asked.read_text().count("bad") >= 2
    assert device.container(uid)["restartCount"] == 0


# What follows


async def test_a_container_that_fails_its_liveness_probe_is_killed_and_started_again(
    device: Device,
) -> None:
    probe = a_probe(**runs("echo gone; test -e /alive"), failureThreshold=2, initialDelaySeconds=1)
    uid = device.apply(a_script(f"touch /alive; {OBEYS}", livenessProbe=probe))
    await device.until(lambda: device.runs(uid))
    assert device.container(uid)["ready"], "liveness says nothing of readiness"
    await do(device, uid, "rm /alive")
    await device.until(lambda: device.container(uid).get("restartCount") == 1)
    assert told(device, uid, "Unhealthy") == ["Liveness probe failed: gone\n"] * 2
    words = "Container main failed liveness probe, will be restarted"
    assert told(device, uid, "Killing") == [words]
    assert device.container(uid)["lastState"]["terminated"]["exitCode"] == 7


@pytest.mark.parametrize("kind", ["liveness", "startup"])
async def test_a_probe_has_a_grace_period_of_its_own(device: Device, kind: str) -> None:
    probe = a_probe(**runs("exit 1"), terminationGracePeriodSeconds=2, initialDelaySeconds=1)
    stubborn = a_script("trap '' TERM; while :; do sleep 1; done", **{f"{kind}Probe": probe})
    uid = device.apply(stubborn, terminationGracePeriodSeconds=600)
    await device.until(lambda: device.container(uid).get("restartCount") == 1)
    words = f"Container main failed {kind} probe, will be restarted"
    assert told(device, uid, "Killing")[0] == words
    last = device.container(uid)["lastState"]["terminated"]
    assert last["exitCode"] == 137


async def test_without_restarts_a_failed_liveness_probe_ends_the_pod(device: Device) -> None:
    probe = a_probe(**runs("exit 1"), initialDelaySeconds=1)
    uid = device.apply(a_script(OBEYS, livenessProbe=probe), restartPolicy="Never")
    await device.until(lambda: device.status(uid).get("phase") == "Failed")
    assert told(device, uid, "Killing") == ["Container main failed liveness probe"]
    assert device.ended(uid)["exitCode"] == 7


async def test_until_the_startup_probe_succeeds_the_others_wait(device: Device) -> None:
    says = "echo {} > /proc/1/fd/1; {}"
    uid = device.apply(
        a_script(
            OBEYS,
            startupProbe=a_probe(
                **runs(says.format("startup", "test -e /up")), failureThreshold=90
            ),
            livenessProbe=a_probe(**runs(says.format("liveness", "test -e /up"))),
            readinessProbe=a_probe(**runs(says.format("readiness", "test -e /up"))),
        )
    )
    await device.until(lambda: device.log(uid).count("startup") >= 2)
    assert (device.container(uid)["started"], device.container(uid)["ready"]) == (False, False)
    await do(device, uid, "touch /up")
    await device.until(lambda: bool(device.container(uid)["ready"]))
    assert device.container(uid)["started"] is True
    await device.until(lambda: "liveness" in device.log(uid) and "readiness" in device.log(uid))
    asked = device.log(uid).splitlines()
    first = min(asked.index("liveness"), asked.index("readiness"))
    assert set(asked[:first]) == {"startup"}
    assert "startup" not in asked[first:]


async def test_a_sidecar_that_has_not_started_up_holds_up_the_containers(device: Device) -> None:
    sidecar = a_script(
        OBEYS,
        "proxy",
        restartPolicy="Always",
        startupProbe=a_probe(**runs("test -e /up"), failureThreshold=90),
        readinessProbe=a_probe(**runs("test -e /ready")),
        livenessProbe=a_probe(**runs("test ! -e /dead")),
    )
    uid = device.apply(a_script(OBEYS), initContainers=[sidecar])
    await device.until(lambda: bool(told(device, uid, "Unhealthy", "proxy")))
    assert not device.runs(uid)
    initialized = condition(device, uid, "Initialized")
    assert initialized["message"] == "containers with incomplete status: [proxy]"
    await do(device, uid, "touch /up", "proxy")
    await device.until(lambda: device.runs(uid))
    assert condition(device, uid, "Ready")["message"] == "containers with unready status: [proxy]"
    await do(device, uid, "touch /ready", "proxy")
    await device.until(lambda: condition(device, uid, "Ready")["status"] == "True")
    await do(device, uid, "touch /dead", "proxy")
    await device.until(lambda: device.container(uid, "proxy")["restartCount"] == 1)
    words = "Init container proxy failed liveness probe"
    assert told(device, uid, "Killing", "proxy")[0] == words


async def test_conditions_change_with_readiness_and_say_since_when(device: Device) -> None:
    probe = a_probe(**runs("test -e /ready"))
    uid = device.apply(a_script(OBEYS, readinessProbe=probe), a_script(OBEYS, "other"))
    await device.until(lambda: device.runs(uid) and device.runs(uid, "other"))
    unready = condition(device, uid, "Ready")
    assert (unready["status"], unready["reason"]) == ("False", "ContainersNotReady")
    assert unready["message"] == "containers with unready status: [main]"
    await asyncio.sleep(1.1)  # A stamp has whole seconds.
    assert condition(device, uid, "Ready")["lastTransitionTime"] == unready["lastTransitionTime"]
    await do(device, uid, "touch /ready")
    await device.until(lambda: bool(device.container(uid)["ready"]))
    for name in ("Ready", "ContainersReady"):
        ready = condition(device, uid, name)
        assert ready["status"] == "True"
        assert "reason" not in ready
        assert ready["lastTransitionTime"] > unready["lastTransitionTime"]
    initialized = condition(device, uid, "Initialized")
    assert initialized["lastTransitionTime"] <= unready["lastTransitionTime"]


async def test_of_a_pod_that_stops_only_readiness_is_probed(device: Device) -> None:
    """What drains its connections stays ready for as long as it says so."""
    probes = {
        "readinessProbe": a_probe(**runs("test -e /ready")),
        "livenessProbe": a_probe(**runs("test ! -e /stopping")),
    }
    waits = "until [ -e /{} ]; do sleep 0.1; done"
    stops = f"touch /stopping; {waits.format('drained')}; rm /ready; {waits.format('go')}; exit 7"
    uid = device.apply(a_script(f"trap '{stops}' TERM; touch /ready; sleep 3600 & wait", **probes))
    await device.until(lambda: bool(device.container(uid).get("ready")))
    device.delete(uid, grace=60)
    await device.until(lambda: "Killing" in device.reasons(uid))
    await never(lambda: not device.container(uid)["ready"], seconds=2.5)
    await do(device, uid, "touch /drained")
    await device.until(lambda: condition(device, uid, "Ready")["status"] == "False")
    assert device.runs(uid)
    await do(device, uid, "touch /go")
    await device.until(lambda: device.finished(uid))
    assert device.ended(uid)["exitCode"] == 7
    assert {*told(device, uid, "Unhealthy")} == {"Readiness probe failed: "}
    assert not any(one["ready"] for one in device.status(uid)["containerStatuses"])


async def test_a_new_agent_keeps_what_is_ready_until_it_has_asked(device: Device) -> None:
    probe = a_probe(**runs("test -e /ready"), periodSeconds=2)
    uid = device.apply(a_script(f"touch /ready; {OBEYS}", readinessProbe=probe))
    await device.until(lambda: bool(device.container(uid).get("ready")))
    await device.kill_agent()
    device.reports.by_uid.clear()
    device.start_agent()
    await device.until(lambda: device.runs(uid))
    await asyncio.sleep(3)
    history = device.reports.by_uid[uid].history
    assert all(one["containerStatuses"][0]["ready"] for one in history)
    await do(device, uid, "rm /ready")
    await device.until(lambda: not device.container(uid)["ready"])
