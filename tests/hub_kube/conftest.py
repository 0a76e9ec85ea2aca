"""The contract's servers: the model always, real ones where they can be had."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator

import pytest

from cloudhub.kube.memory import MemoryKube
from cloudhub.kube.port import Kube, Resource
from shared.clock import SystemClock

NAMESPACES = Resource("api/v1", "namespaces", "Namespace", namespaced=False)
_numbers = itertools.count(1)


@pytest.fixture(params=["model"])
async def kube(request: pytest.FixtureRequest) -> AsyncIterator[Kube]:
    yield MemoryKube(SystemClock())


@pytest.fixture
async def namespace(kube: Kube) -> str:
    """A namespace of the test's own."""
    name = f"contract-{next(_numbers)}-{random.randrange(10**6)}"
    await kube.create(NAMESPACES, "", {"metadata": {"name": name}})
    return name


@pytest.fixture
def node_name() -> str:
    return f"edge-{next(_numbers)}-{random.randrange(10**6)}"
