"""Mirror pods on every API server: taken as they are, shown, replaced, and gone with their Node."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from cloudhub.fleet.pods import is_mirror
from cloudhub.kube.access import open_access
from cloudhub.kube.client import KubeClient
from cloudhub.kube.port import NODES, PODS
from cloudhub.mirrors.mirror_rules import mirror_pod, static_pods
from cloudhub.reporting.pod_status import status_patch
from edgeagent.staticpods.manifests import parse
from shared.clock import SystemClock
from shared.errors import KubeRefused
from shared.objects import Json
from tests.edge_static.test_manifests import manifest, written
from tests.parts.kubernetes import Cluster


@pytest.fixture
async def kube(kubernetes: Cluster) -> AsyncIterator[KubeClient]:
    access = await open_access(str(kubernetes.kubeconfig_path))
    client = KubeClient(access, clock=SystemClock(), rng=random.Random())
    yield client
    await client.close()


@pytest.fixture
async def mirror(kube: KubeClient) -> Json:
    """Made of a manifest by the agent and then by the hub, of a Node that is there."""
    node = f"edge-{uuid4().hex[:6]}"
    made = await kube.create(NODES, "", {"metadata": {"name": node}})
    found = parse(written(manifest()), node=node)
    (pod,) = static_pods(node, {"pods": [found.pod]}).values()
    return mirror_pod(pod, node=node, node_uid=made["metadata"]["uid"])


async def test_a_server_takes_it_as_it_is(kube: KubeClient, mirror: Json) -> None:
    made = await kube.create(PODS, "default", mirror)
    assert is_mirror(made)
    assert not made["spec"].get("serviceAccountName")
    assert made["spec"]["nodeName"] == mirror["spec"]["nodeName"]
    assert {"operator": "Exists", "effect": "NoExecute"} in made["spec"]["tolerations"]
    assert made["metadata"]["ownerReferences"][0]["kind"] == "Node"
    with pytest.raises(KubeRefused) as refused:
        await kube.create(PODS, "default", mirror)
    assert refused.value.reason == "AlreadyExists"


async def test_its_status_is_written_and_says_that_it_has_its_place(
    kube: KubeClient, mirror: Json
) -> None:
    made = await kube.create(PODS, "default", mirror)
    said = {"phase": "Running", "startTime": "2026-01-01T00:00:00Z"}
    patch = status_patch(made["status"], said, online=True, mirror=True)
    after = await kube.patch(
        *(PODS, "default", made["metadata"]["name"], {"status": patch}),
        subresource="status",
        patch_type="strategic",
    )
    (scheduled,) = after["status"]["conditions"]
    assert (scheduled["type"], scheduled["status"]) == ("PodScheduled", "True")
    assert status_patch(after["status"], said, online=True, mirror=True) is None


async def test_one_that_a_user_deletes_waits_for_its_end_which_is_the_hubs(
    kube: KubeClient, mirror: Json
) -> None:
    made = await kube.create(PODS, "default", mirror)
    name, uid = made["metadata"]["name"], made["metadata"]["uid"]
    await kube.delete(PODS, "default", name, uid=uid, grace=30)
    marked = await kube.get(PODS, "default", name)
    assert marked is not None and marked["metadata"]["deletionTimestamp"]
    await kube.delete(PODS, "default", name, uid=uid, grace=0)
    assert await kube.get(PODS, "default", name) is None
    assert (await kube.create(PODS, "default", mirror))["metadata"]["uid"] != uid
