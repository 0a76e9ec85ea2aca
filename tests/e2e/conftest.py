"""One hub and agent per test, as real programs on a real mosquitto and containerd.

The API server is the embedded one and, where there is one, a real kube-apiserver: every test
that takes ``system`` runs on both.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from devcluster.containerd import Containerd
from tests.parts.kubernetes import Cluster
from tests.parts.mosquitto import Mosquitto
from tests.parts.system import System, running_system


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
