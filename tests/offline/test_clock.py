"""A device without a battery clock: it begins in 1970 and runs its pods, connects and reports."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from devcluster.containerd import Containerd
from tests.parts.certificates import Certificates, make
from tests.parts.kubernetes import Cluster
from tests.parts.missing import need
from tests.parts.mosquitto import Mosquitto
from tests.parts.system import System, running_system
from tests.parts.view import container_of, restarts_of

NewBroker = Callable[..., Mosquitto]


def in_1970() -> Mapping[str, str]:
    """The environment of a program that believes so; durations stay true."""
    need("a clock in 1970", "faketime", packages="faketime")
    command = ["faketime", "-f", "@1970-01-01 00:00:20", "env"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    library = next(line.partition("=")[2] for line in shown.splitlines() if "LD_PRELOAD=" in line)
    return {"LD_PRELOAD": library, "FAKETIME": "@1970-01-01 00:00:20", "DONT_FAKE_MONOTONIC": "1"}


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
