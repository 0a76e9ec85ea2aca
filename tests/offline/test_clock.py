"""A device without a battery clock: it begins in 1970 and runs its pods, connects and reports."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from devcluster.containerd import Containerd
from tests.parts.certificates import Certificates, make
from tests.parts.kubernetes import Cluster
from tests.parts.missing import need
from tests.parts.mosquitto import Mosquitto
from tests.parts.system import System, running_system
from tests.parts.view import container_of, is_ready, restarts_of

NewBroker = Callable[..., Mosquitto]


def in_1970() -> Mapping[str, str]:
    """The environment of a program that believes so; durations stay true."""
    need("a clock in 1970", "faketime", packages="faketime")
    command = ["faketime", "-f", "@1970-01-01 00:00:20", "env"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    library = next(line.partition("=")[2] for line in shown.splitlines() if "LD_PRELOAD=" in line)
    return {"LD_PRELOAD": library, "FAKETIME": "@1970-01-01 00:00:20", "DONT_FAKE_MONOTONIC": "1"}


class Clock:
    """Of one program, begun with ``environment``: 1970 until it is set, as by NTP."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self.environment = {**in_1970(), "FAKETIME_NO_CACHE": "1"}
        del self.environment["FAKETIME"]
        self.environment["FAKETIME_TIMESTAMP_FILE"] = str(self._file)
        self.lose()

    def lose(self) -> None:
        """As without a battery: 1970 at the next start."""
        self._write("@1970-01-01 00:00:20")

    def set(self) -> None:
        self._write("+0")

    def _write(self, text: str) -> None:
        """In one step: the program reads it at every look at its clock."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{text}\n")
        new.rename(self._file)


@pytest.fixture(params=["plain", "tls"])
async def system(
    request: pytest.FixtureRequest,
    cloud: Cluster,
    new_mosquitto: NewBroker,
    mortal: Containerd,
    certificates: Certificates,
) -> AsyncIterator[System]:
    broker = new_mosquitto(tls=certificates if request.param == "tls" else None)
    async with running_system(
        kubeconfig=str(cloud.kubeconfig_path), broker=broker, containerd=mortal
    ) as running:
        await running.node_is("True")
        yield running


async def test_a_reboot_into_1970_runs_connects_and_reports(system: System) -> None:
    for name in ("web-1", "web-2"):
        await system.create_pod(name)
    await system.running("web-1", "web-2")
    before = container_of(system.view.pods["web-1"])["containerID"]
    await system.agent.kill()
    system.agent.env |= in_1970()
    await system.agent.start()
    await asyncio.sleep(2)
    await system.node_is("True")
    await system.create_pod("born-in-1970")
    await system.running("born-in-1970")
    system.kill_container(container_of(system.view.pods["web-2"])["containerID"])
    await system.view.until(
        "a restart is reported", lambda: restarts_of(system.view.pods["web-2"]) == 1
    )
    assert container_of(system.view.pods["web-1"])["containerID"] == before
    assert restarts_of(system.view.pods["web-1"]) == 0
    await system.delete_pod("born-in-1970")
    await system.gone("born-in-1970")
    started = Path(f"/proc/{system.agent.pid}/environ").read_bytes()
    assert b"FAKETIME=@1970" in started


@pytest.mark.parametrize("system", ["tls"], indirect=True)
async def test_a_clock_that_is_set_while_connected_restarts_nothing_and_dates_count_from_then(
    system: System, certificates: Certificates, tmp_path: Path
) -> None:
    for name in ("stays", "crashes"):
        await system.create_pod(name)
    await system.running("stays", "crashes")
    kept = container_of(system.view.pods["stays"])["containerID"]
    clock = Clock(tmp_path)
    await reboot_into_1970(system, clock)
    await system.create_pod("born-in-1970")
    await system.running("born-in-1970")

    connects = _connects(system)
    clock.set()
    await asyncio.sleep(3)
    system.kill_container(container_of(system.view.pods["crashes"])["containerID"])
    died = time.time()
    await system.view.until(
        "a restart is told",
        lambda: is_ready(pod := system.view.pods["crashes"]) and restarts_of(pod) == 1,
    )
    status = container_of(system.view.pods["crashes"])
    assert abs(_seconds(status["lastState"]["terminated"]["finishedAt"]) - died) < 3
    assert -3 < _seconds(status["state"]["running"]["startedAt"]) - died < 20
    assert _connects(system) == connects, "the connection did not mind"
    assert restarts_of(system.view.pods["born-in-1970"]) == 0

    tasks = system.running_ids()
    await _broker_has(system, certificates.expired())
    await system.status_says("not connected: ", "TLS: ", "certificate has expired")
    await reboot_into_1970(system, clock)
    await system.status_says("hub:      not there")
    clock.set()
    system.switch.cut()
    await system.status_says("not connected: ")
    system.switch.restore()
    await system.status_says("not connected: ", "TLS: ", "certificate has expired")
    assert system.running_ids() == tasks, "no certificate stops a pod"

    await _broker_has(system, certificates)
    await system.node_is("True", within=120)
    await system.in_step()
    assert container_of(system.view.pods["stays"])["containerID"] == kept


async def reboot_into_1970(system: System, clock: Clock) -> None:
    """The agent alone; its containers are spared."""
    await system.agent.kill()
    clock.lose()
    system.agent.env |= clock.environment
    await system.agent.start()
    await system.status_says("link:     connected (broker")


def _connects(system: System) -> int:
    return system.agent.log.read_text().count('"event": "connected"')


async def _broker_has(system: System, made: Certificates) -> None:
    system.broker.stop()
    system.broker.configure(replace(system.broker.settings, tls=made))
    system.broker.start()


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


async def test_in_1970_a_certificate_of_somebody_else_is_still_refused(
    cloud: Cluster,
    new_mosquitto: NewBroker,
    mortal: Containerd,
    certificates: Certificates,
    tmp_path: Path,
) -> None:
    broker = new_mosquitto(tls=certificates)
    stranger = make(tmp_path / "stranger")
    async with running_system(
        kubeconfig=str(cloud.kubeconfig_path), broker=broker, containerd=mortal
    ) as running:
        await running.node_is("True")
        await running.agent.kill()
        options = running.agent.arguments
        options[options.index(str(certificates.ca))] = str(stranger.ca)
        running.agent.env |= in_1970()
        await running.agent.start()
        async with asyncio.timeout(20):
            while "not connected: " not in (said := await asyncio.to_thread(status, running)):
                await asyncio.sleep(0.2)
        assert "TLS: " in said and "certificate" in said


def status(system: System) -> str:
    command = [sys.executable, "-m", "edgeagent", "status", "--data-dir", str(system.data)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
