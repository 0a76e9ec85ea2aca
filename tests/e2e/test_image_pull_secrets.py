"""A closed registry: the pull secret of a pod, or of its service account, lets its image in.

What a service account has is given to its pods by the API server, so this takes a real one that
does that; the embedded one has no such admission.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from cloudhub.kube.port import EVENTS, PODS, SECRETS, SERVICE_ACCOUNTS
from devcluster.containerd import Containerd
from shared.objects import Json
from tests.parts.images import ImageSpec
from tests.parts.kubernetes import Cluster, assets_folder, start_kube_apiserver
from tests.parts.mosquitto import Mosquitto
from tests.parts.registry import Registry
from tests.parts.system import System, pod, running_system
from tests.parts.view import container_of


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = start_kube_apiserver(assets_folder(), tmp_path_factory.mktemp("api"), accounts=True)
    yield made
    made.stop()


@pytest.fixture
async def system(
    cluster: Cluster, mosquitto: Mosquitto, containerd: Containerd
) -> AsyncIterator[System]:
    """Hub and agent running, node Ready, and the account that every namespace has."""
    async with running_system(
        kubeconfig=str(cluster.kubeconfig_path), broker=mosquitto, containerd=containerd
    ) as running:
        await running.node_is("True")
        await running.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}})
        yield running


async def login(system: System, registry: Registry) -> None:
    """As ``kubectl create secret docker-registry`` makes it."""
    word = base64.b64encode(b"me:right").decode()
    config = json.dumps({"auths": {registry.host: {"auth": word}}}).encode()
    data = {".dockerconfigjson": base64.b64encode(config).decode()}
    kind = "kubernetes.io/dockerconfigjson"
    await system.create(SECRETS, {"metadata": {"name": "pull"}, "type": kind, "data": data})


def waiting(system: System, name: str) -> Json:
    return dict((container_of(system.view.pods.get(name)).get("state") or {}).get("waiting") or {})


async def test_a_service_account_and_a_pod_have_pull_secrets(
    system: System, new_registry: Callable[..., Registry]
) -> None:
    registry = new_registry("me", "right")
    image = registry.push("team/app", "1", ImageSpec("app"))
    await login(system, registry)
    account = {"metadata": {"name": "puller"}, "imagePullSecrets": [{"name": "pull"}]}
    await system.create(SERVICE_ACCOUNTS, account)
    without = pod("without", node=system.node, image=image)
    await system.create(PODS, without)
    await system.view.until(
        "the pull is refused", lambda: waiting(system, "without").get("reason") == "ErrImagePull"
    )
    message = waiting(system, "without")["message"]
    assert "401 Unauthorized" in message or "authorization failed" in message, "2.x says the latter"

    by_account = pod("by-account", node=system.node, image=image, serviceAccountName="puller")
    await system.create(PODS, by_account)
    await system.running("by-account")
    found = system.view.pods["by-account"]
    assert found["spec"]["imagePullSecrets"] == [{"name": "pull"}], "the API server's doing"
    assert container_of(found)["imageID"].startswith(f"{registry.host}/team/app@sha256:")
    await system.running("without")
    assert "imagePullSecrets" not in system.view.pods["without"]["spec"], "the image is here now"
    await system.delete_pod("by-account")
    await system.gone("by-account")

    own = pod("own", node=system.node, image=image, imagePullSecrets=[{"name": "pull"}])
    own["spec"]["containers"][0]["imagePullPolicy"] = "Always"
    await system.create(PODS, own)
    await system.running("own")
    await _pulled(system, "own")


async def _pulled(system: System, name: str) -> None:
    """Events are written beside the status, a moment later perhaps."""
    async with asyncio.timeout(20):
        while True:
            events = await system.kube.list(EVENTS, namespace="default")
            said = [one["message"] for one in events if one["involvedObject"]["name"] == name]
            if any(words.startswith("Successfully pulled image") for words in said):
                return
            await asyncio.sleep(0.1)
