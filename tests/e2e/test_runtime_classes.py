"""A RuntimeClass, from the API to the sandbox, also when the device boots without the cloud."""

from __future__ import annotations

import asyncio

from cloudhub.kube.port import RUNTIME_CLASSES
from edgeagent.runtime.cri import CriRuntime
from edgeagent.runtime.port import SandboxState
from tests.parts.system import System

NAME = "sandboxed"


async def test_a_runtime_class_names_the_handler_of_its_pods(system: System) -> None:
    await system.create(RUNTIME_CLASSES, {"metadata": {"name": NAME}, "handler": "runc"})
    await system.create_pod("web", runtimeClassName=NAME)
    await system.running("web")
    assert await _handlers(system) == ["runc"]

    system.switch.cut()
    await system.agent.kill()
    await asyncio.to_thread(system.containerd.power_off)
    system.containerd.start()
    await system.agent.start()
    await system.only_run("web")
    assert await _handlers(system) == ["runc"]
    system.switch.restore()
    await system.running("web")


async def _handlers(system: System) -> list[str]:
    """Of the sandboxes that are ready."""
    runtime = CriRuntime(system.containerd.address)
    try:
        every = await runtime.list_sandboxes()
    finally:
        await runtime.close()
    return [one.runtime_handler for one in every if one.state is SandboxState.READY]
