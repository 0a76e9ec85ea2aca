"""A pod with data of its own: it waits for its claim, and keeps its volume through a reboot."""

from __future__ import annotations

import asyncio
from pathlib import Path

from cloudhub.kube.port import EVENTS
from tests.parts.claims import bind, claim, here, volume_of
from tests.parts.system import System
from tests.parts.view import container_of, is_ready, restarts_of

DATA = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
SCRIPT = "echo started >> /data/log; trap 'exit 0' TERM; sleep 3600 & wait"
WRITER = {
    "name": "main",
    "image": "kubetide.test/busybox:1",
    "command": ["sh", "-c", SCRIPT],
    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
}


async def test_a_pod_waits_for_its_claim_and_keeps_its_data_without_the_cloud(
    system: System,
) -> None:
    disk = system.folder / "disk"
    disk.mkdir()
    await system.create_pod("keeper", containers=[WRITER], volumes=[DATA])
    await _until_told(system, "error processing PVC default/data: failed to fetch PVC")
    made = await claim(system.kube, "data")
    await _until_told(system, "error processing PVC default/data: PVC is not bound")
    local = volume_of("pv-data", {"local": {"path": str(disk)}}, nodeAffinity=here(system.node))
    await bind(system.kube, made, local)
    await system.running("keeper")
    await _until_written(disk / "log", "started\n")
    first = container_of(system.view.pods["keeper"])["containerID"]

    system.switch.cut()
    await system.agent.kill()
    await asyncio.to_thread(system.containerd.power_off)
    system.containerd.start()
    await system.agent.start()
    await _until_written(disk / "log", "started\nstarted\n")
    system.switch.restore()
    await system.view.until(
        "the API knows of the reboot",
        lambda: is_ready(pod := system.view.pods["keeper"]) and restarts_of(pod) == 1,
    )
    assert container_of(system.view.pods["keeper"])["containerID"] != first

    await system.delete_pod("keeper")
    await system.gone("keeper")
    assert (disk / "log").read_text() == "started\nstarted\n", "the data outlives its pod"


async def test_an_ephemeral_volume_waits_for_the_claim_that_is_made_for_its_pod(
    system: System,
) -> None:
    disk = system.folder / "disk"
    disk.mkdir()
    template = {
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        }
    }
    own = {"name": "data", "ephemeral": {"volumeClaimTemplate": template}}
    await system.create_pod("keeper", containers=[WRITER], volumes=[own])
    missing = "error processing PVC default/keeper-data: failed to fetch PVC"
    await _until_told(system, missing)
    made = await claim(system.kube, "keeper-data", made_for=system.view.pods["keeper"])
    local = volume_of("pv-own", {"local": {"path": str(disk)}}, nodeAffinity=here(system.node))
    await bind(system.kube, made, local)
    await system.running("keeper")
    await _until_written(disk / "log", "started\n")


async def _until_written(file: Path, text: str) -> None:
    async with asyncio.timeout(60):
        while not file.exists() or file.read_text() != text:
            await asyncio.sleep(0.05)


async def _until_told(system: System, words: str) -> None:
    async with asyncio.timeout(60):
        while True:
            events = await system.kube.list(EVENTS, namespace="default")
            own = [one for one in events if one["involvedObject"].get("name") == "keeper"]
            if any(one["reason"] == "FailedMount" and words in one["message"] for one in own):
                return
            await asyncio.sleep(0.2)
