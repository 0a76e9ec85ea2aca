"""The contract's servers: the model always, the embedded and a real one where they can be had."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator

import pytest

from cloudhub.kube.access import open_access
from cloudhub.kube.client import KubeClient
from cloudhub.kube.memory import MemoryKube
from cloudhub.kube.port import Kube, Resource
from shared.clock import SystemClock

NAMESPACES = Resource("api/v1", "namespaces", "Namespace", namespaced=False)
_numbers = itertools.count(1)


@pytest.fixture(params=["model", "embedded", "real"])
async def kube(request: pytest.FixtureRequest) -> AsyncIterator[Kube]:
    if request.param == "model":
        yield MemoryKube(SystemClock())
        return
    cluster = request.getfixturevalue(f"{request.param}_kubernetes")
    access = await open_access(str(cluster.kubeconfig_path))
    client = KubeClient(access, clock=SystemClock(), rng=random.Random(1))
    yield client
    await client.close()


@pytest.fixture
async def namespace(kube: Kube) -> str:
    """A namespace of the test's own."""
    name = f"contract-{next(_numbers)}"
    await kube.create(NAMESPACES, "", {"metadata": {"name": name}})
    return name


@pytest.fixture
def node_name() -> str:
    return f"edge-{next(_numbers)}"
