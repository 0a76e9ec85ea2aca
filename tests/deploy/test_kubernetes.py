"""The manifests of ``deploy/kubernetes``: servers take them, and their rights are the least.

Two hubs run with nothing but the ServiceAccount's token on a real kube-apiserver that checks RBAC,
and live through a story that needs everything a hub does. The server's audit log is the witness:
nothing was forbidden, and every right of ``rbac.yaml`` was used.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloudhub.kube.port import CONFIG_MAPS, RUNTIME_CLASSES, SECRETS
from cloudhub.settings import parse_taints
from devcluster.containerd import Containerd
from devcluster.processes import Program
from shared.objects import Json
from tests.parts.claims import bind, claim, here, volume_of
from tests.parts.kubectl import Kubectl
from tests.parts.kubernetes import Cluster
from tests.parts.mosquitto import Mosquitto
from tests.parts.pages import block
from tests.parts.system import System, pod, running_system
from tests.parts.view import container_of, restarts_of

BASE = Path(__file__).parents[2] / "deploy" / "kubernetes" / "base"
NAMESPACE, ACCOUNT = "kubetide", "kubetide-hub"
PACKET_LIMIT = 60_000

Right = tuple[str, str, str]
"""Namespace (empty: every one), resource with its sub-resource, verb."""


def manifests(text: str) -> list[Any]:
    return [one for one in yaml.safe_load_all(text) if one]


def test_kustomize_makes_one_of_everything_in_the_namespace(
    embedded_kubernetes: Cluster, tmp_path: Path
) -> None:
    made = manifests(Kubectl(embedded_kubernetes.kubeconfig_path, tmp_path)("kustomize", str(BASE)))
    kinds = [one["kind"] for one in made]
    assert sorted(set(kinds) - {"Role", "RoleBinding"}) == [
        *("ClusterRole", "ClusterRoleBinding", "Deployment", "Namespace", "Service"),
        "ServiceAccount",
    ]
    assert {one["metadata"].get("namespace") for one in made} == {
        *(None, NAMESPACE, "kube-node-lease")
    }


def test_a_real_server_takes_them_all_and_finds_nothing_changed_the_second_time(
    real_kubernetes: Cluster, tmp_path: Path
) -> None:
    kubectl = Kubectl(real_kubernetes.kubeconfig_path, tmp_path)
    kubectl("apply", "-k", str(BASE))
    again = kubectl("apply", "-k", str(BASE)).splitlines()
    assert len(again) == 10
    assert all(line.endswith(" unchanged") for line in again)
    pods = kubectl.get("deployment", ACCOUNT, "--namespace", NAMESPACE)["spec"]
    assert pods["replicas"] == 2
    assert pods["template"]["spec"]["serviceAccountName"] == ACCOUNT


def test_the_embedded_server_takes_the_kinds_that_it_has(
    embedded_kubernetes: Cluster, tmp_path: Path
) -> None:
    kubectl = Kubectl(embedded_kubernetes.kubeconfig_path, tmp_path)
    served = set(kubectl("api-resources", "-o", "name").split())
    assert {"namespaces", "serviceaccounts"} <= served
    for name in ("namespace.yaml", "serviceaccount.yaml"):
        assert kubectl("apply", "-f", str(BASE / name)).endswith(" created\n")


def test_what_the_deployment_sets_are_settings_of_the_hub() -> None:
    """Names of environment variables are in no schema: a typo would be silent."""
    from cloudhub.__main__ import run

    spec = manifests((BASE / "deployment.yaml").read_text())[0]["spec"]["template"]["spec"]
    given = {one["name"] for one in spec["containers"][0]["env"]}
    assert given <= {f"CLOUDHUB_{(option.name or '').upper()}" for option in run.params}
    assert {"CLOUDHUB_MQTT", "CLOUDHUB_NAMESPACE"} <= given


def test_the_hub_is_never_put_on_a_device() -> None:
    from cloudhub.nodes.node_status import EDGE_ROLE

    spec = manifests((BASE / "deployment.yaml").read_text())[0]["spec"]["template"]["spec"]
    rules = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    wanted = [{"key": EDGE_ROLE, "operator": "DoesNotExist"}]
    assert rules == {"nodeSelectorTerms": [{"matchExpressions": wanted}]}


def test_the_overlay_of_the_documentation_names_image_and_taint(
    embedded_kubernetes: Cluster, tmp_path: Path
) -> None:
    shown = block("deployment.md", "# deploy/kubernetes/mine/kustomization.yaml")
    shutil.copytree(BASE, tmp_path / "base")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kustomization.yaml").write_text(shown)
    kubectl = Kubectl(embedded_kubernetes.kubeconfig_path, tmp_path)
    made = manifests(kubectl("kustomize", str(tmp_path / "mine")))
    hub = next(one for one in made if one["kind"] == "Deployment")
    container = hub["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "registry.example.com/kubetide/hub:0.1.0"
    given = {one["name"]: one.get("value") for one in container["env"]}
    assert parse_taints([given["CLOUDHUB_NODE_TAINT"]])
    assert "CLOUDHUB_MQTT" in given


# -- the story with exactly these rights


@pytest.fixture
def kubectl(real_kubernetes: Cluster, tmp_path: Path) -> Kubectl:
    return Kubectl(real_kubernetes.kubeconfig_path, tmp_path)


@pytest.fixture
def limited(real_kubernetes: Cluster, kubectl: Kubectl, tmp_path: Path) -> Path:
    """A kubeconfig with a fresh token of the hub's ServiceAccount."""
    kubectl("apply", "-k", str(BASE))
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{ACCOUNT}/token"
    wish = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = json.loads(kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(wish)))
    content = yaml.safe_load(real_kubernetes.kubeconfig_path.read_text())
    content["users"][0]["user"] = {"token": answer["status"]["token"]}
    made = tmp_path / "limited"
    made.touch(mode=0o600)
    made.write_text(yaml.safe_dump(content))
    return made


@asynccontextmanager
async def second_hub(system: System, kubeconfig: Path) -> AsyncIterator[Program]:
    hub = Program(
        "second hub",
        [
            *("cloudhub", "run", "--kubeconfig", str(kubeconfig), "--namespace", NAMESPACE),
            *("--mqtt", system.broker.url, "--replica", "hub-b"),
            *("--metrics-listen", "127.0.0.1:0"),
        ],
        log=system.folder / "hub-b.log",
    )
    await hub.start()
    try:
        yield hub
    finally:
        await hub.stop()


@pytest.mark.timeout(300)
async def test_the_whole_story_works_with_exactly_these_rights(
    real_kubernetes: Cluster,
    limited: Path,
    kubectl: Kubectl,
    new_mosquitto: Callable[..., Mosquitto],
    containerd: Containerd,
    tmp_path: Path,
) -> None:
    broker = new_mosquitto(limits={"max_packet_size": str(PACKET_LIMIT)})
    mine = ("--kubeconfig", str(limited), "--namespace", NAMESPACE, "--replica", "hub-a")
    async with running_system(
        kubeconfig=str(real_kubernetes.kubeconfig_path),
        broker=broker,
        containerd=containerd,
        hub_options=mine,
        agent_options=("--static-pods", str(tmp_path)),
    ) as system:
        await system.node_is("True")
        await a_static_pod_has_a_mirror(system, tmp_path)
        await a_pod_gets_what_it_names(system, kubectl)
        await a_restarted_container_is_one_event_more(system, kubectl)
        await system.agent.stop()
        async with second_hub(system, limited):
            await two_replicas_share(kubectl)
            await a_config_map_that_is_too_large_is_an_event(system, kubectl)
            await a_label_that_somebody_took_comes_back(system, kubectl)
            await pods_of_a_node_that_is_away_are_kept(system)
            await system.hub.stop()
            await system.agent.start()
            await system.create_pod("rights-2")
            await system.running("rights-2")
        an_event_that_no_list_shows_is_looked_up_when_it_is_there_already(kubectl)
        await what_was_deleted_without_a_hub_is_asked_for(system, real_kubernetes)
        await deleted_pods_go(system)
        assert "orbidden" not in (system.folder / "hub.log").read_text()
        assert "orbidden" not in (system.folder / "hub-b.log").read_text()
    asked = list(asked_by_the_hub(real_kubernetes))
    assert [one for one in asked if one["responseStatus"]["code"] in (401, 403)] == []
    assert sorted(listed_rights() - {right_of(one) for one in asked}) == [], (
        "rights that nobody used"
    )


async def a_static_pod_has_a_mirror(system: System, folder: Path) -> None:
    manifest = folder / "rights.yaml"
    manifest.write_text(yaml.safe_dump(pod("rights-static")))
    await system.running(f"rights-static-{system.node}")
    manifest.unlink()
    await system.gone(f"rights-static-{system.node}")


async def a_pod_gets_what_it_names(system: System, kubectl: Kubectl) -> None:
    """A ConfigMap, a Secret, a token of its service account, a claim with its volume, a class."""
    kubectl("create", "serviceaccount", "rights")
    await system.create(RUNTIME_CLASSES, {"metadata": {"name": "rights"}, "handler": "runc"})
    await system.create(CONFIG_MAPS, {"metadata": {"name": "app"}, "data": {"mode": "open"}})
    secret = base64.b64encode(b"s3cret").decode()
    await system.create(SECRETS, {"metadata": {"name": "app"}, "data": {"word": secret}})
    both = [{"configMapRef": {"name": "app"}}, {"secretRef": {"name": "app"}}]
    main: Json = {"name": "main", "image": "kubetide.test/busybox:1", "envFrom": both}
    folder = system.folder / "disk"
    folder.mkdir()
    local = volume_of("rights", {"local": {"path": str(folder)}}, nodeAffinity=here(system.node))
    await bind(system.kube, await claim(system.kube, "rights"), local)
    main["volumeMounts"] = [
        {"name": "token", "mountPath": "/token"},
        {"name": "disk", "mountPath": "/disk"},
    ]
    test = 'test "$mode $word" = "open s3cret" && test -s /token/token && touch /disk/x'
    main["command"] = ["sh", "-c", f"{test} && exec sleep 3600"]
    token = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}
    volumes = [
        {"name": "token", "projected": {"sources": [token]}},
        {"name": "disk", "persistentVolumeClaim": {"claimName": "rights"}},
    ]
    await system.create_pod(
        "rights-1",
        containers=[main],
        volumes=volumes,
        serviceAccountName="rights",
        runtimeClassName="rights",
    )
    await system.running("rights-1")
    async with asyncio.timeout(30):
        while not (folder / "x").exists():
            await asyncio.sleep(0.1)


async def a_restarted_container_is_one_event_more(system: System, kubectl: Kubectl) -> None:
    # Else both starts may come in one report, as one Event that nobody has to change.
    await until_event(kubectl, "rights-1", lambda one: one["reason"] == "Started")
    system.kill_container(container_of(system.view.pods["rights-1"])["containerID"])
    await system.view.until(
        "restarted by the device", lambda: restarts_of(system.view.pods["rights-1"]) == 1
    )
    await system.running("rights-1")
    await until_event(kubectl, "rights-1", lambda one: one["count"] > 1)


async def a_config_map_that_is_too_large_is_an_event(system: System, kubectl: Kubectl) -> None:
    noise = base64.b64encode(os.urandom(2 * PACKET_LIMIT)).decode()
    await system.create(CONFIG_MAPS, {"metadata": {"name": "large"}, "data": {"noise": noise}})
    volume = {"name": "large", "configMap": {"name": "large"}}
    mounts = [{"name": "large", "mountPath": "/large"}]
    main = {"name": "main", "image": "kubetide.test/busybox:1", "volumeMounts": mounts}
    await system.create_pod("rights-waits", containers=[main], volumes=[volume])
    await until_event(kubectl, "rights-waits", lambda one: one["reason"] == "TooLargeForBroker")


async def a_label_that_somebody_took_comes_back(system: System, kubectl: Kubectl) -> None:
    role = "node-role.kubernetes.io/edge"
    kubectl("label", "node", system.node, f"{role}-")
    await system.view.until(
        "the role is back", lambda: role in system.view.nodes[system.node]["metadata"]["labels"]
    )


async def two_replicas_share(kubectl: Kubectl) -> None:
    async with asyncio.timeout(30):
        while len(kubectl.get("leases", "--namespace", NAMESPACE)["items"]) < 2:
            await asyncio.sleep(0.2)


async def pods_of_a_node_that_is_away_are_kept(system: System) -> None:
    await system.view.until(
        "a toleration without an end",
        lambda: any(
            one["key"] == "node.kubernetes.io/unreachable" and "tolerationSeconds" not in one
            for one in system.view.pods["rights-1"]["spec"]["tolerations"]
        ),
    )


def an_event_that_no_list_shows_is_looked_up_when_it_is_there_already(kubectl: Kubectl) -> None:
    """The next hub finds its name taken; two hubs that write one Event at once are rarer."""
    chosen = ("--field-selector", "involvedObject.name=rights-1,reason=Started")
    name = kubectl.get("events", *chosen)["items"][0]["metadata"]["name"]
    kubectl("patch", "event", name, "--type=merge", "-p", '{"reportingComponent": "somebody"}')


async def what_was_deleted_without_a_hub_is_asked_for(system: System, cluster: Cluster) -> None:
    """A new hub meets the report of a pod that it never knew; only the server knows its end."""
    await system.delete_pod("rights-2", grace=0)
    await system.gone("rights-2")
    await system.hub.start()
    async with asyncio.timeout(30):
        while ("", "pods", "get") not in {right_of(one) for one in asked_by_the_hub(cluster)}:
            await asyncio.sleep(0.2)


async def deleted_pods_go(system: System) -> None:
    for name in ("rights-1", "rights-waits"):
        await system.delete_pod(name)
    await system.gone("rights-1", "rights-waits")


async def until_event(kubectl: Kubectl, pod: str, holds: Callable[[Any], bool]) -> None:
    chosen = ("--field-selector", f"involvedObject.name={pod}")
    async with asyncio.timeout(60):
        while not any(holds(one) for one in kubectl.get("events", *chosen)["items"]):
            await asyncio.sleep(0.5)


def listed_rights() -> set[Right]:
    """What ``rbac.yaml`` gives."""
    found = set()
    for role in manifests((BASE / "rbac.yaml").read_text()):
        for rule in role.get("rules", ()):
            scope = role["metadata"].get("namespace", "")
            found |= {(scope, what, verb) for what in rule["resources"] for verb in rule["verbs"]}
    return found


def asked_by_the_hub(cluster: Cluster) -> Iterator[Any]:
    assert cluster.audit_log is not None
    for line in cluster.audit_log.read_text().splitlines(keepends=True):
        if not line.endswith("\n"):
            return  # It is being written.
        entry = json.loads(line)
        if entry["user"]["username"] == f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}":
            yield entry


def right_of(entry: Any) -> Right:
    what = entry["objectRef"]
    resource = "/".join(filter(None, (what["resource"], what.get("subresource"))))
    scope = what.get("namespace", "") if what["resource"] == "leases" else ""
    return scope, resource, entry["verb"]
