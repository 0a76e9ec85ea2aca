"""One virtual machine at a time. What stays after a test is on its disk only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.machine.device import Cloud, running_cloud
from tests.parts.guest import Guest
from tests.parts.kubernetes import Cluster, start_embedded
from tests.parts.mosquitto import Mosquitto


@pytest.fixture(scope="module")
def guest() -> Iterator[Guest]:
    """Running, on a new disk."""
    one = Guest()
    try:
        one.start()
        yield one
    finally:
        one.close()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = start_embedded(tmp_path_factory.mktemp("cloud"))
    yield made
    made.stop()


@pytest.fixture
async def cloud(cluster: Cluster, broker: Mosquitto, tmp_path: Path) -> AsyncIterator[Cloud]:
    """A hub, as long as the test."""
    async with running_cloud(cluster, broker, tmp_path) as one:
        yield one


@pytest.fixture(scope="module")
def broker() -> Iterator[Mosquitto]:
    """One for all tests with one device, on one port."""
    one = Mosquitto()
    one.start()
    yield one
    one.close()
