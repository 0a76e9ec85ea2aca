"""A pod as an ordinary cluster makes it: with the volume that every pod gets of its own accord."""

from __future__ import annotations

import asyncio
import base64
import json
import urllib.error
import urllib.request
import uuid

import pytest

from cloudhub.kube.port import CONFIG_MAPS, EVENTS, PODS, SERVICE_ACCOUNTS
from shared.errors import KubeRefused
from shared.objects import Json
from tests.parts import images
from tests.parts.kubernetes import Cluster
from tests.parts.system import System
from tests.parts.view import container_of, is_ready, restarts_of

FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
ACCOUNT = "robot"
SOURCES: list[Json] = [
    {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    {
        "downwardAPI": {
            "items": [
                {
                    "path": "namespace",
                    "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                }
            ]
        }
    },
]


@pytest.fixture
async def cluster_things(system: System) -> None:
    """What the controllers of a whole cluster make in every namespace."""
    for resource, thing in (
        (SERVICE_ACCOUNTS, {"metadata": {"name": ACCOUNT}}),
        (CONFIG_MAPS, {"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": "trust"}}),
    ):
        try:
            await system.create(resource, thing)
        except KubeRefused as error:
            assert error.reason == "AlreadyExists"


async def create(
    system: System, name: str, *, account: str = ACCOUNT, sources: list[Json] = SOURCES
) -> None:
    volume = {
        "name": "kube-api-access-x7k2p",
        "projected": {"defaultMode": 420, "sources": sources},
    }
    mount = {"name": volume["name"], "mountPath": FOLDER, "readOnly": True}
    container = {
        "name": "main",
        "image": images.BUSYBOX,
        "command": ["sh", "-c", "trap 'exit 0' TERM; sleep 3600 & wait"],
        "imagePullPolicy": "IfNotPresent",
        "volumeMounts": [mount],
    }
    await system.create_pod(
        name, serviceAccountName=account, volumes=[volume], containers=[container]
    )


async def events_of(system: System, name: str) -> list[Json]:
    pod = await system.kube.get(PODS, "default", name)
    events = await system.kube.list(EVENTS, namespace="default")
    uid = pod["metadata"]["uid"] if pod else ""
    return [one for one in events if one["involvedObject"].get("uid") == uid]


def read(system: System, name: str, file: str) -> str:
    """What the container itself sees."""
    container_id = container_of(system.view.pods[name])["containerID"]
    bare = container_id.removeprefix("containerd://")
    step = f"read-{uuid.uuid4().hex[:8]}"
    return system.containerd.ctr(
        *("tasks", "exec", "--exec-id", step, bare, "cat", f"{FOLDER}/{file}")
    )


def claims_of(token: str) -> Json:
    payload = token.split(".")[1]
    claims: Json = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


def lets_in(cluster: Cluster, token: str) -> bool:
    """Whether the API server takes the token for what it says it is."""
    request = urllib.request.Request(
        f"{cluster.url}/api", headers={"Authorization": f"Bearer {token}"}
    )
    try:
        urllib.request.urlopen(request, context=cluster.tls, timeout=10).close()
    except urllib.error.HTTPError as error:
        error.close()
        return False
    return True


@pytest.mark.usefixtures("cluster_things")
async def test_an_ordinary_pod_has_a_token_that_works_and_keeps_it_offline(
    system: System, kubernetes: Cluster
) -> None:
    await create(system, "web")
    await system.running("web")
    pod = system.view.pods["web"]
    token = read(system, "web", "token")
    about = claims_of(token)["kubernetes.io"]
    assert about["pod"] == {"name": "web", "uid": pod["metadata"]["uid"]}
    assert about["serviceaccount"]["name"] == ACCOUNT
    assert lets_in(kubernetes, token)
    assert not lets_in(kubernetes, f"{token[:-6]}AAAAAA")
    assert (read(system, "web", "ca.crt"), read(system, "web", "namespace")) == ("trust", "default")

    system.switch.cut()
    await system.node_is("Unknown")
    await system.agent.kill()
    await system.agent.start()
    killed = container_of(pod)["containerID"].removeprefix("containerd://")
    system.kill_container(killed)
    async with asyncio.timeout(40):
        while killed in (now := system.running_ids()) or len(now) < 2:
            await asyncio.sleep(0.1)
    system.switch.restore()
    await system.view.until(
        "the restart offline is known",
        lambda: is_ready(pod := system.view.pods["web"]) and restarts_of(pod) == 1,
    )
    assert read(system, "web", "token") == token
    for log in (system.agent.log, system.hub.log):
        assert token.split(".")[2] not in log.read_text()


@pytest.mark.usefixtures("cluster_things")
async def test_a_token_that_is_on_its_way_is_no_failure(system: System) -> None:
    await create(system, "web")
    await system.running("web")
    reasons: set[str] = set()
    async with asyncio.timeout(20):
        while "Started" not in reasons:
            await asyncio.sleep(0.2)
            reasons = {one["reason"] for one in await events_of(system, "web")}
    assert "FailedMount" not in reasons


@pytest.mark.usefixtures("cluster_things")
async def test_a_pod_whose_account_comes_later_starts_then(system: System) -> None:
    account = f"late-{uuid.uuid4().hex[:6]}"
    await create(system, "web", account=account, sources=SOURCES[:1])
    said: list[str] = []
    async with asyncio.timeout(30):
        while not any(account in one for one in said):
            await asyncio.sleep(0.2)
            events = await events_of(system, "web")
            said = [one["message"] for one in events if one["reason"] == "FailedMount"]
    await system.create(SERVICE_ACCOUNTS, {"metadata": {"name": account}})
    await system.running("web")
