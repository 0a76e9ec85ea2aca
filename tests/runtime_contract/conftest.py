"""The runtimes under the contract. Which fixture a test takes says where the behaviour exists:

* ``world``: all three;
* ``daemon_world``: where a daemon can die (the process runtime has none);
* ``process_world``: where something really runs (memory only plays it);
* ``isolating_world``: where containers are isolated and images are real (only containerd).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edgeagent.runtime.cri import CriRuntime
from edgeagent.runtime.memory import MemoryRuntime
from edgeagent.runtime.memory_device import MemoryDevice
from edgeagent.runtime.process import ProcessRuntime
from shared.clock import SystemClock
from tests.parts import images
from tests.runtime_contract.worlds import World


async def _memory(logs: Path) -> AsyncIterator[World]:
    device = MemoryDevice(SystemClock())
    device.add_image(images.BUSYBOX)
    world = World(
        kind="memory",
        runtime=MemoryRuntime(device),
        open=lambda: MemoryRuntime(device),
        logs=logs,
        crash=device.go_away,
        come_back=device.come_back,
    )
    device.behaviour = world.behaviour
    yield world
    await world.close()
    await device.close()


async def _process(logs: Path) -> AsyncIterator[World]:
    def open_runtime() -> ProcessRuntime:
        return ProcessRuntime(logs / "records", clock=SystemClock())

    world = World(kind="process", runtime=open_runtime(), open=open_runtime, logs=logs)
    yield world
    await world.close()


async def _containerd(logs: Path, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    private = request.getfixturevalue("containerd")
    world = World(
        kind="containerd",
        runtime=CriRuntime(private.address),
        open=lambda: CriRuntime(private.address),
        logs=logs,
        address=private.address,
        crash=private.kill,
        come_back=private.restart,
    )
    yield world
    await world.close()


def _worlds(kind: str, logs: Path, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if kind == "memory":
        return _memory(logs)
    return _process(logs) if kind == "process" else _containerd(logs, request)


@pytest.fixture(params=["memory", "process", "containerd"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async for one in _worlds(request.param, tmp_path, request):
        yield one


@pytest.fixture(params=["memory", "containerd"])
async def daemon_world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async for one in _worlds(request.param, tmp_path, request):
        yield one


@pytest.fixture(params=["process", "containerd"])
async def process_world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async for one in _worlds(request.param, tmp_path, request):
        yield one


@pytest.fixture(params=["containerd"])
async def isolating_world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async for one in _worlds(request.param, tmp_path, request):
        yield one
