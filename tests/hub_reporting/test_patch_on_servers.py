"""A status patch says on every API server what the device said, at first and again."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from cloudhub.kube.access import open_access
from cloudhub.kube.client import KubeClient
from cloudhub.kube.port import PODS
from cloudhub.reporting.pod_status import status_patch
from shared.clock import SystemClock
from shared.objects import Json
from tests.parts.kubernetes import Cluster
from tests.parts.system import pod

FIRST: Json = {
    "phase": "Running",
    "podIP": "10.1.0.2",
    "podIPs": [{"ip": "10.1.0.2"}],
    "hostIP": "10.0.0.1",
    "conditions": [{"type": "Ready", "status": "True"}],
}
SECOND: Json = {**FIRST, "podIP": "10.1.0.3", "podIPs": [{"ip": "10.1.0.3"}]}


@pytest.fixture
async def kube(kubernetes: Cluster) -> AsyncIterator[KubeClient]:
    access = await open_access(str(kubernetes.kubeconfig_path))
    client = KubeClient(access, clock=SystemClock(), rng=random.Random())
    yield client
    await client.close()


async def test_conditions_of_the_node_stand_before_those_of_others(kube: KubeClient) -> None:
    name = f"patched-{uuid4().hex[:6]}"
    made = await kube.create(PODS, "default", pod(name, node="nowhere"))
    others = [{"type": kind, "status": "True"} for kind in ("PodScheduled", "example.com/gate")]
    made = await kube.patch(
        *(PODS, "default", name, {"status": {"conditions": others}}),
        subresource="status",
        patch_type="strategic",
    )
    held, ready = "kubetide.io/UpdateHeld", "ContainersReady"
    for own, shown in (
        (("Ready", held, "Initialized"), ["Initialized", "Ready", held]),
        (("Ready", ready, "Initialized"), ["Initialized", "Ready", ready]),
    ):
        rows = [{"type": kind, "status": "True"} for kind in own]
        report = {"phase": "Running", "observedGeneration": 1, "conditions": rows}
        made = await kube.patch(
            *(PODS, "default", name),
            {"status": status_patch(made["status"], report, online=True)},
            subresource="status",
            patch_type="strategic",
        )
        kinds = [one["type"] for one in made["status"]["conditions"]]
        assert kinds == [*shown, "PodScheduled", "example.com/gate"]
        assert status_patch(made["status"], report, online=True) is None
    await kube.delete(PODS, "default", name, uid=made["metadata"]["uid"], grace=0)


async def test_addresses_are_set_and_then_replaced(kube: KubeClient) -> None:
    name = f"patched-{uuid4().hex[:6]}"
    made = await kube.create(PODS, "default", pod(name, node="nowhere"))
    for wanted in (FIRST, SECOND):
        patch = status_patch(made.get("status", {}), wanted, online=True)
        made = await kube.patch(
            *(PODS, "default", name, {"status": patch}),
            subresource="status",
            patch_type="strategic",
        )
        assert made["status"]["podIP"] == wanted["podIP"]
        assert made["status"]["podIPs"] == wanted["podIPs"]
    assert status_patch(made["status"], SECOND, online=True) is None
    await kube.delete(PODS, "default", name, uid=made["metadata"]["uid"], grace=0)
