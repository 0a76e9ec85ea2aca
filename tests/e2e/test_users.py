"""A pod with users of its own, from the API to the process, also over a reboot without the cloud.

Where the runtime has no user namespaces the Node says so, and the pod waits and tells why.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from cloudhub.kube.port import EVENTS, NODES
from tests.parts.system import System

SCRIPT = "cat /proc/self/uid_map >> /data/users; trap 'exit 0' TERM; sleep 3600 & wait"


async def test_a_pod_has_its_users_through_a_reboot_or_says_why_not(system: System) -> None:
    data = system.folder / "data"
    data.mkdir()
    await system.create_pod(
        "keeper",
        hostUsers=False,
        containers=[
            {
                "name": "main",
                "image": "kubetide.test/busybox:1",
                "command": ["sh", "-c", SCRIPT],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }
        ],
        volumes=[{"name": "data", "hostPath": {"path": str(data)}}],
    )
    if not await _has_user_namespaces(system):
        await _until_told(system, "runtime does not support user namespaces")
        assert system.view.pods["keeper"]["status"]["phase"] == "Pending"
        return
    await system.running("keeper")
    (users,) = await _written(data / "users", 1)
    inside, outside, length = (int(word) for word in users.split())
    assert (inside, length) == (0, 65536)
    assert outside >= 65536
    assert (data / "users").stat().st_uid == 0, "as the pod sees it"

    system.switch.cut()
    await system.agent.kill()
    await asyncio.to_thread(system.containerd.power_off)
    system.containerd.start()
    await system.agent.start()
    assert await _written(data / "users", 2) == [users, users]
    system.switch.restore()
    await system.delete_pod("keeper")
    await system.gone("keeper")


async def _has_user_namespaces(system: System) -> bool:
    node = await system.kube.get(NODES, "", system.node)
    assert node is not None
    handlers = node["status"].get("runtimeHandlers") or [{}]
    return bool(handlers[0].get("features", {}).get("userNamespaces"))


async def _written(file: Path, count: int) -> list[str]:
    async with asyncio.timeout(60):
        while not file.exists() or len(lines := file.read_text().splitlines()) < count:
            await asyncio.sleep(0.05)
    return lines


async def _until_told(system: System, words: str) -> None:
    async with asyncio.timeout(60):
        while True:
            events = await system.kube.list(EVENTS, namespace="default")
            if any(
                one["reason"] == "FailedCreatePodSandBox" and words in one["message"]
                for one in events
            ):
                return
            await asyncio.sleep(0.2)
