"""One hub and agent per test, as real programs on a real mosquitto and containerd.

The API server is the embedded one and, where there is one, a real kube-apiserver: every test
that takes ``system`` runs on both.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from devcluster.containerd import Containerd
from tests.parts.kubernetes import Cluster, assets_folder, start_embedded, start_kube_apiserver
from tests.parts.mosquitto import Mosquitto
from tests.parts.system import System, running_system


@pytest.fixture(scope="session")
def embedded_kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Not shared with other folders: these tests look at all pods there are."""
    cluster = start_embedded(tmp_path_factory.mktemp("embedded"))
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def real_kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = start_kube_apiserver(assets_folder(), tmp_path_factory.mktemp("kubernetes"))
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session", params=["embedded", "real"])
def kubernetes(request: pytest.FixtureRequest) -> Cluster:
    """Again here: the one of ``tests/parts`` has cached the servers of other folders."""
    cluster = request.getfixturevalue(f"{request.param}_kubernetes")
    assert isinstance(cluster, Cluster)
    return cluster


@pytest.fixture
async def system(
    kubernetes: Cluster, mosquitto: Mosquitto, containerd: Containerd
) -> AsyncIterator[System]:
    """Hub and agent running, node Ready."""
    async with running_system(
        kubeconfig=str(kubernetes.kubeconfig_path), broker=mosquitto, containerd=containerd
    ) as running:
        await running.node_is("True")
        yield running
