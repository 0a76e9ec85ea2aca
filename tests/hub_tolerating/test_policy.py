"""The shipped admission policy: it says what the hub says, and a server that has it obeys."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloudhub.kube.access import open_access
from cloudhub.kube.client import KubeClient
from cloudhub.kube.port import PODS, Resource
from cloudhub.nodes.tolerating import DEFAULT_SECONDS, KEEP_OUT, TAINTS
from shared.clock import SystemClock
from shared.objects import Json
from tests.parts.kubernetes import Cluster

OFFLINE = Path("deploy/kubernetes/offline")
FIRST_MINOR = 36
ROLE = "node-role.kubernetes.io/edge"
GROUP = "apis/admissionregistration.k8s.io/v1"


def documents() -> list[Json]:
    return list(yaml.safe_load_all((OFFLINE / "policy.yaml").read_text()))


def test_policy_and_hub_mean_the_same_taints_seconds_and_label() -> None:
    policy, binding = documents()
    assert binding["spec"]["policyName"] == policy["metadata"]["name"]
    text = str(policy)
    assert f"== {DEFAULT_SECONDS}" in text and all(taint in text for taint in TAINTS)
    assert KEEP_OUT in str(policy["spec"]["matchConditions"])
    assert policy["spec"]["failurePolicy"] == "Ignore", "it must never keep a pod out"
    assert yaml.safe_load((OFFLINE / "kustomization.yaml").read_text())["resources"] == [
        "policy.yaml"
    ]


def pod(name: str, spec: Json, labels: Json | None = None) -> Json:
    more = {"containers": [{"name": "c", "image": "busybox"}]}
    metadata = {"name": name, "labels": labels or {}}
    return {"metadata": metadata, "spec": {"automountServiceAccountToken": False, **more, **spec}}


async def seconds(kube: KubeClient, body: Json) -> list[Any]:
    """What a pod made so tolerates of the two taints; the pod is deleted again."""
    made = await kube.create(PODS, "default", body)
    name, uid = made["metadata"]["name"], made["metadata"]["uid"]
    await kube.delete(PODS, "default", name, uid=uid, grace=0)
    found = [one for one in made["spec"]["tolerations"] if one.get("key") in TAINTS]
    return [one.get("tolerationSeconds") for one in found]


async def test_a_server_with_the_policy_gives_edge_pods_no_limit(real_kubernetes: Cluster) -> None:
    if real_kubernetes.minor < FIRST_MINOR:
        pytest.skip(f"MutatingAdmissionPolicy v1 came with 1.{FIRST_MINOR}")
    access = await open_access(str(real_kubernetes.kubeconfig_path))
    kube = KubeClient(access, clock=SystemClock(), rng=random.Random(1))
    try:
        for document in documents():
            plural = document["kind"].lower().replace("policy", "policies")
            plural = plural.replace("policiesbinding", "policybindings")
            resource = Resource(GROUP, plural, document["kind"], namespaced=False)
            await kube.create(resource, "", document)
        edge = {"nodeSelector": {ROLE: ""}}
        async with asyncio.timeout(30):
            while await seconds(kube, pod("edge", edge)) != [None, None]:
                await asyncio.sleep(0.5)
        assert await seconds(kube, pod("cloud", {})) == [DEFAULT_SECONDS] * 2
        assert await seconds(kube, pod("out", edge, {KEEP_OUT: "true"})) == [DEFAULT_SECONDS] * 2
        tolerating = {"tolerations": [{"key": ROLE, "operator": "Exists"}]}
        assert await seconds(kube, pod("tolerating", tolerating)) == [None, None]
    finally:
        await kube.close()
