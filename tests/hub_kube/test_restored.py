"""A real API server whose store is restored from a backup: its versions go back.

A watch from a version that such a server has not reached yet is silent, without an error.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cloudhub.kube.access import open_access
from cloudhub.kube.client import KubeClient
from cloudhub.kube.port import CONFIG_MAPS
from shared.clock import SystemClock
from tests.hub_kube.test_contract import Watched, config
from tests.parts.kubernetes import Cluster, assets_folder, start_kube_apiserver


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Of the test's own: others need theirs to stay."""
    started = start_kube_apiserver(assets_folder(), tmp_path)
    yield started
    started.stop()


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[KubeClient]:
    access = await open_access(str(cluster.kubeconfig_path))
    made = KubeClient(access, clock=SystemClock(), rng=random.Random(1))
    yield made
    await made.close()


async def test_a_watch_sees_what_a_restored_api_server_has(
    cluster: Cluster, client: KubeClient
) -> None:
    assert cluster.back_up and cluster.restore
    watched = Watched(client.watch(CONFIG_MAPS, namespace="default"))
    assert await watched.next() == "LISTED"
    await client.create(CONFIG_MAPS, "default", config("kept"))
    await watched.until("SET kept")
    await asyncio.to_thread(cluster.back_up)
    await watched.until("LISTED kept")  # It was started again, and remembers no older versions.
    for number in range(3):
        await client.create(CONFIG_MAPS, "default", config(f"lost-{number}"))
    await watched.until("SET lost-2")
    await asyncio.to_thread(cluster.restore)
    await watched.until("LISTED kept")
    await client.create(CONFIG_MAPS, "default", config("after"))
    await watched.until("SET after")
