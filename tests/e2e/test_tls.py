"""Hub and agent over TLS, and what happens while a file for it is wrong.

The broker has the files of ``deploy/mosquitto``, so the certificates and the ACL that a fleet would
have; with user and password it is a plain one. Settings that are wrong never stop a pod.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from devcluster.containerd import Containerd
from tests.parts import certificates as authority
from tests.parts.certificates import Certificates
from tests.parts.deployed_mosquitto import HUB, DeployedMosquitto
from tests.parts.kubernetes import Cluster
from tests.parts.mosquitto import Mosquitto
from tests.parts.system import System, running_system

NODE = "edge-tls"


@asynccontextmanager
async def system_over(
    broker: Mosquitto,
    embedded_kubernetes: Cluster,
    containerd: Containerd,
    *,
    hub: list[str],
    agent: list[str],
) -> AsyncIterator[System]:
    async with running_system(
        kubeconfig=str(embedded_kubernetes.kubeconfig_path),
        broker=broker,
        containerd=containerd,
        node=NODE,
        hub_options=hub,
        agent_options=agent,
    ) as system:
        await system.node_is("True")
        yield system


def identity(made: Certificates, name: str) -> list[str]:
    pair = made.client(name)
    return ["--mqtt-cert", str(pair.certificate), "--mqtt-key", str(pair.key)]


def login(user: str, secret: Path) -> list[str]:
    return ["--mqtt-username", user, "--mqtt-password-file", str(secret)]


async def restarted_agent_says(system: System, *words: str) -> None:
    """Stop and start; then both its log and its status have the words, the log just once."""
    await system.agent.stop()
    before = len(system.agent.log.read_text())
    await system.agent.start()
    await system.status_says(*words)
    lines = system.agent.log.read_text()[before:].splitlines()
    said = [line for line in lines if '"not connected"' in line and all(w in line for w in words)]
    assert len(said) == 1, said


async def stays_away_and_keeps(system: System, running: set[str]) -> None:
    await asyncio.sleep(3)
    system.agent.check()
    assert system.running_ids() == running


async def test_a_pod_over_client_certificates_and_a_wrong_authority_meanwhile(
    deployed_mosquitto: DeployedMosquitto,
    embedded_kubernetes: Cluster,
    containerd: Containerd,
    certificates: Certificates,
    tmp_path: Path,
) -> None:
    trusted, wrong = tmp_path / "ca.crt", authority.make(tmp_path / "wrong")
    shutil.copy(certificates.ca, trusted)
    async with system_over(
        *(deployed_mosquitto, embedded_kubernetes, containerd),
        hub=identity(certificates, HUB),
        agent=["--mqtt-ca", str(trusted), *identity(certificates, NODE)],
    ) as system:
        await system.create_pod("web")
        await system.running("web")
        running = system.running_ids()
        shutil.copy(wrong.ca, trusted)
        await restarted_agent_says(system, "certificate", "mqtt-ca")
        await stays_away_and_keeps(system, running)
        shutil.copy(certificates.ca, trusted)
        await system.node_is("True")
        await system.delete_pod("web")
        await system.gone("web")


async def test_a_pod_over_user_and_password_and_a_wrong_password_meanwhile(
    new_mosquitto: Callable[..., Mosquitto],
    embedded_kubernetes: Cluster,
    containerd: Containerd,
    certificates: Certificates,
    tmp_path: Path,
) -> None:
    broker = new_mosquitto(tls=certificates, passwords={HUB: "h-word", NODE: "d-word"})
    of_hub, of_device = tmp_path / "hub-word", tmp_path / "device-word"
    of_hub.write_text("h-word\n")
    of_device.write_text("d-word\n")
    async with system_over(
        *(broker, embedded_kubernetes, containerd),
        hub=login(HUB, of_hub),
        agent=login(NODE, of_device),
    ) as system:
        await system.create_pod("web")
        await system.running("web")
        running = system.running_ids()
        of_device.write_text("wrong\n")
        await restarted_agent_says(system, "mqtt-password-file")
        await stays_away_and_keeps(system, running)
        assert "wrong" not in system.agent.log.read_text()
        of_device.write_text("d-word\n")
        await system.node_is("True")
        assert system.running_ids() == running


async def test_a_hub_with_a_wrong_password_says_so_and_goes_on_when_it_is_right(
    new_mosquitto: Callable[..., Mosquitto],
    embedded_kubernetes: Cluster,
    containerd: Containerd,
    certificates: Certificates,
    tmp_path: Path,
) -> None:
    broker = new_mosquitto(tls=certificates, passwords={HUB: "h-word", NODE: "d-word"})
    of_hub, of_device = tmp_path / "hub-word", tmp_path / "device-word"
    of_hub.write_text("h-word\n")
    of_device.write_text("d-word\n")
    async with system_over(
        *(broker, embedded_kubernetes, containerd),
        hub=login(HUB, of_hub),
        agent=login(NODE, of_device),
    ) as system:
        of_hub.write_text("wrong\n")
        await system.hub.stop()
        await system.hub.start()
        async with asyncio.timeout(30):
            while "mqtt-password-file" not in system.hub.log.read_text():
                await asyncio.sleep(0.2)
        system.hub.check()
        of_hub.write_text("h-word\n")
        await system.create_pod("web")
        await system.running("web")
