"""The official Python client, classic and asyncio, works with both servers unchanged."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator

import pytest
from kubernetes import client, config
from kubernetes.aio import client as aio_client
from kubernetes.aio import config as aio_config
from kubernetes.aio.watch import Watch

from tests.apiserver.api import pod
from tests.parts.kubernetes import Cluster

_numbers = itertools.count(1)


@pytest.fixture
def core(kubernetes: Cluster) -> Iterator[client.CoreV1Api]:
    with config.new_client_from_config(str(kubernetes.kubeconfig_path)) as api_client:
        yield client.CoreV1Api(api_client)


@pytest.fixture
async def aio_core(kubernetes: Cluster) -> AsyncIterator[aio_client.CoreV1Api]:
    settings = aio_client.Configuration()
    await aio_config.load_kube_config(
        config_file=str(kubernetes.kubeconfig_path), client_configuration=settings
    )
    async with aio_client.ApiClient(settings) as api_client:
        yield aio_client.CoreV1Api(api_client)
    await asyncio.sleep(0.02)  # TLS connections take a moment more than their session to close


def test_the_classic_client_reads_and_writes(core: client.CoreV1Api) -> None:
    namespace = f"classic-{next(_numbers)}"
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=namespace)))
    container = client.V1Container(name="main", image="busybox:1")
    body = client.V1Pod(
        metadata=client.V1ObjectMeta(name="web"),
        spec=client.V1PodSpec(containers=[container], node_name="edge-1"),
    )
    created = core.create_namespaced_pod(namespace, body)
    assert created.spec.restart_policy == "Always"
    core.patch_namespaced_pod_status("web", namespace, {"status": {"phase": "Running"}})
    listed = core.list_namespaced_pod(namespace, field_selector="status.phase=Running")
    assert [item.metadata.name for item in listed.items] == ["web"]
    core.delete_namespaced_pod("web", namespace, grace_period_seconds=0)
    with pytest.raises(client.ApiException) as refused:
        core.read_namespaced_pod("web", namespace)
    assert refused.value.status == 404


async def test_the_asyncio_client_lists_and_watches(aio_core: aio_client.CoreV1Api) -> None:
    namespace = f"aio-{next(_numbers)}"
    await aio_core.create_namespace({"metadata": {"name": namespace}})
    listed = await aio_core.list_namespaced_pod(namespace)
    await aio_core.create_namespaced_pod(namespace, pod())
    seen = []
    async with Watch().stream(
        aio_core.list_namespaced_pod,
        namespace,
        resource_version=listed.metadata.resource_version,
        timeout_seconds=20,
    ) as events:
        async for event in events:
            seen.append((event["type"], event["object"].metadata.name))
            if event["type"] == "ADDED":
                await aio_core.delete_namespaced_pod("web", namespace, grace_period_seconds=0)
            if event["type"] == "DELETED":
                break
    assert seen == [("ADDED", "web"), ("MODIFIED", "web"), ("DELETED", "web")]
