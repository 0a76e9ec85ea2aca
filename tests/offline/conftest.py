"""Hub and agent as programs between an embedded API server, a mosquitto and an own containerd.

Unlike in ``tests/e2e`` the device may lose its power here, so its containerd is not shared.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from devcluster.containerd import Containerd
from tests.parts.containerd import new_containerd
from tests.parts.kubernetes import Cluster, start_embedded
from tests.parts.mosquitto import Mosquitto
from tests.parts.system import System, running_system


@pytest.fixture(scope="session")
def mortal(image_archive: Path) -> Iterator[Containerd]:
    private = new_containerd(image_archive)
    yield private
    private.close()


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = start_embedded(tmp_path_factory.mktemp("cloud"))
    yield cluster
    cluster.stop()


@pytest.fixture
async def system(cloud: Cluster, mosquitto: Mosquitto, mortal: Containerd) -> AsyncIterator[System]:
    """Hub and agent running, node Ready."""
    async with running_system(
        kubeconfig=str(cloud.kubeconfig_path), broker=mosquitto, containerd=mortal
    ) as running:
        await running.node_is("True")
        yield running
