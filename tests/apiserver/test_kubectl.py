"""What people type: the real ``kubectl`` against the embedded and a real server.

Nobody runs the pods here; the test plays the node where a pod has to become Ready or to end.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.apiserver.api import Json, pod
from tests.parts.kubectl import SECONDS, Kubectl
from tests.parts.kubernetes import Cluster

_numbers = itertools.count(1)


class PlayingKubectl(Kubectl):
    """A ``kubectl`` that can also play the node."""

    def report(self, name: str, status: Json) -> None:
        """Write the status of a pod."""
        patch = json.dumps({"status": status})
        path = f"/api/v1/namespaces/{self.namespace}/pods/{name}/status"
        current = self.get("pod", name)
        body = json.dumps(current | {"status": current["status"] | json.loads(patch)["status"]})
        self("replace", "--raw", path, "-f", "-", stdin=body)


@pytest.fixture
def kubectl(kubernetes: Cluster, tmp_path: Path) -> Iterator[PlayingKubectl]:
    kubectl = PlayingKubectl(
        kubernetes.kubeconfig_path, tmp_path, namespace=f"kubectl-{next(_numbers)}"
    )
    kubectl("create", "namespace", kubectl.namespace)
    yield kubectl


def running() -> Json:
    state = {"running": {"startedAt": "2026-01-02T03:04:05Z"}}
    part = {"name": "main", "image": "busybox:1", "imageID": "x", "ready": True}
    return {
        "phase": "Running",
        "podIP": "10.1.2.3",
        "podIPs": [{"ip": "10.1.2.3"}],
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [part | {"restartCount": 0, "state": state}],
    }


def test_pods_are_shown_in_columns(kubectl: PlayingKubectl) -> None:
    kubectl.apply(pod())
    header, row = kubectl("get", "pods").splitlines()
    assert header.split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert row.split()[:4] == ["web", "0/1", "Pending", "0"]
    kubectl.report("web", running())
    wide = kubectl("get", "pods", "-o", "wide").splitlines()[1].split()
    assert wide[:4] == ["web", "1/1", "Running", "0"]
    assert wide[5:] == ["10.1.2.3", "edge-1", "<none>", "<none>"]
    assert "web" in kubectl("get", "pods", "-A", "--field-selector=spec.nodeName=edge-1")
    assert kubectl("get", "pods", "-l", "app=none", "--ignore-not-found") == ""


def test_an_object_is_shown_as_yaml_and_by_path(kubectl: PlayingKubectl) -> None:
    kubectl.apply(pod())
    shown = yaml.safe_load(kubectl("get", "pod", "web", "-o", "yaml"))
    assert (shown["kind"], shown["spec"]["nodeName"]) == ("Pod", "edge-1")
    assert kubectl("get", "po", "web", "-o", "jsonpath={.spec.nodeName}") == "edge-1"
    listed = kubectl.get("pods")
    assert (listed["kind"], listed["items"][0]["kind"]) == ("List", "Pod")


def test_apply_creates_changes_and_leaves_alone(kubectl: PlayingKubectl) -> None:
    body = pod() | {"metadata": {"name": "web", "labels": {"app": "a", "old": "x"}}}
    assert kubectl.apply(body) == "pod/web created\n"
    assert kubectl.apply(body) == "pod/web unchanged\n"
    body["metadata"]["labels"] = {"app": "b"}
    body["spec"]["containers"][0]["image"] = "busybox:2"
    assert kubectl.apply(body) == "pod/web configured\n"
    after = kubectl.get("pod", "web")
    assert after["metadata"]["labels"] == {"app": "b"}
    assert after["spec"]["containers"][0]["image"] == "busybox:2"


def test_apply_by_the_server(kubectl: PlayingKubectl) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"v": "1"}}
    assert "serverside-applied" in kubectl.apply(body, "--server-side")
    body["data"] = {"v": "2"}
    assert "serverside-applied" in kubectl.apply(body, "--server-side")
    assert kubectl.get("cm", "c")["data"] == {"v": "2"}


def test_a_misspelt_field_is_refused_before_anything_is_made(kubectl: PlayingKubectl) -> None:
    body = pod()
    body["spec"]["nodename"] = "x"
    text = kubectl("create", "-f", "-", stdin=yaml.safe_dump(body), fails=True)
    assert "nodename" in text
    assert kubectl("get", "pods") == ""


def test_config_maps_secrets_and_namespaces_are_made_by_command(kubectl: PlayingKubectl) -> None:
    kubectl("create", "configmap", "settings", "--from-literal=a=1", "--from-literal=b=2")
    kubectl("create", "secret", "generic", "pass", "--from-literal=word=x")
    assert kubectl("get", "cm", "settings").splitlines()[1].split()[:2] == ["settings", "2"]
    row = kubectl("get", "secret", "pass").splitlines()[1].split()
    assert row[:3] == ["pass", "Opaque", "1"]
    row = kubectl("get", "ns", kubectl.namespace).splitlines()[1].split()
    assert row[:2] == [kubectl.namespace, "Active"]


def test_labels_annotations_patches_and_edits(kubectl: PlayingKubectl) -> None:
    kubectl.apply(pod())
    kubectl("label", "pod", "web", "tier=front")
    kubectl("label", "pod", "web", "tier-")
    kubectl("annotate", "pod", "web", "note=before")
    kubectl("edit", "pod", "web")
    assert kubectl.get("pod", "web")["metadata"]["annotations"]["note"] == "after"
    assert "tier" not in kubectl.get("pod", "web")["metadata"].get("labels", {})
    for kind, patch in (
        ("strategic", '{"spec": {"containers": [{"name": "main", "image": "s"}]}}'),
        ("merge", '{"spec": {"activeDeadlineSeconds": 9}}'),
        ("json", '[{"op": "replace", "path": "/spec/containers/0/image", "value": "j"}]'),
    ):
        kubectl("patch", "pod", "web", "--type", kind, "-p", patch)
    spec = kubectl.get("pod", "web")["spec"]
    assert (spec["containers"][0]["image"], spec["activeDeadlineSeconds"]) == ("j", 9)


def test_a_pod_is_described_with_its_events(kubectl: PlayingKubectl) -> None:
    kubectl.apply(pod())
    kubectl.report("web", running())
    kubectl("create", "-f", "-", stdin=yaml.safe_dump(_event(kubectl)))
    text = kubectl("describe", "pod", "web")
    assert "Status:" in text and "Running" in text and "edge-1" in text
    assert "pulled it" in text and "Pulled" in text
    row = kubectl("get", "events").splitlines()[1]
    assert "Pulled" in row and "pod/web" in row and "pulled it" in row


def _event(kubectl: PlayingKubectl) -> Json:
    uid = kubectl.get("pod", "web")["metadata"]["uid"]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "web.1"},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": "web",
            "uid": uid,
            "namespace": kubectl.namespace,
        },
        "reason": "Pulled",
        "message": "pulled it",
        "type": "Normal",
        "source": {"component": "edge"},
        "firstTimestamp": "2026-01-02T03:04:05Z",
        "lastTimestamp": "2026-01-02T03:04:05Z",
        "count": 1,
    }


def test_a_node_is_shown_described_cordoned_and_tainted(kubectl: PlayingKubectl) -> None:
    name = f"node-{next(_numbers)}"
    status = {
        "conditions": [{"type": "Ready", "status": "True", "reason": "Fine"}],
        "addresses": [
            {"type": "InternalIP", "address": "10.9.9.9"},
            {"type": "InternalIP", "address": "fd00::9"},
        ],
        "capacity": {"cpu": "4", "memory": "1Gi", "pods": "110"},
        "allocatable": {"cpu": "4", "memory": "1Gi", "pods": "110"},
        "nodeInfo": _node_info(),
    }
    labels = {"node-role.kubernetes.io/edge": ""}
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "status": status,
    }
    kubectl("create", "-f", "-", stdin=yaml.safe_dump(node))
    row = kubectl("get", "node", name, "-o", "wide").splitlines()[1].split()
    assert row[:3] == [name, "Ready", "edge"]
    assert row[4:7] == ["v1.0", "10.9.9.9", "<none>"]
    kubectl("cordon", name)
    kubectl("taint", "node", name, "edge=yes:NoSchedule")
    assert "Ready,SchedulingDisabled" in kubectl("get", "node", name)
    text = kubectl("describe", "node", name)
    assert "edge=yes:NoSchedule" in text and "Non-terminated Pods" in text
    kubectl("taint", "node", name, "edge-")
    kubectl("uncordon", name)
    spec = kubectl.get("node", name)["spec"]
    assert not spec.get("unschedulable")
    assert "edge" not in [taint["key"] for taint in spec.get("taints") or []]
    kubectl("delete", "node", name)


def _node_info() -> Json:
    empty = ("machineID", "systemUUID", "bootID", "operatingSystem", "architecture")
    return dict.fromkeys(empty, "") | {
        "kubeletVersion": "v1.0",
        "kubeProxyVersion": "",
        "osImage": "Debian",
        "kernelVersion": "6.1",
        "containerRuntimeVersion": "containerd://1",
    }


def test_waiting_for_a_condition_a_value_and_a_deletion(kubectl: PlayingKubectl) -> None:
    kubectl.apply(pod())
    assert "timed out" in kubectl(
        "wait", "pod/web", "--for=condition=Ready", "--timeout=1s", fails=True
    )
    with _started(kubectl, "wait", "pod/web", "--for=condition=Ready", "--timeout=60s") as waiting:
        kubectl.report("web", running())
        assert waiting.wait(SECONDS) == 0
    kubectl("wait", "pod/web", "--for=jsonpath={.status.phase}=Running", "--timeout=60s")
    with _started(kubectl, "wait", "pod/web", "--for=delete", "--timeout=60s") as waiting:
        kubectl("delete", "pod", "web", "--force", "--grace-period=0")
        assert waiting.wait(SECONDS) == 0


def _started(kubectl: Kubectl, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        kubectl.command(*arguments),
        env=kubectl.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_a_delete_waits_until_the_node_has_ended_the_pod(kubectl: PlayingKubectl) -> None:
    kubectl.apply(pod())
    with _started(kubectl, "delete", "pod", "web") as deleting:
        while "Terminating" not in kubectl("get", "pods"):
            assert deleting.poll() is None
        kubectl("delete", "pod", "web", "--grace-period=0", "--force")
        assert deleting.wait(SECONDS) == 0
    assert "not found" in kubectl("get", "pod", "web", fails=True)


def test_pods_are_deleted_by_label(kubectl: PlayingKubectl) -> None:
    for name in ("a", "b"):
        kubectl.apply(pod(name) | {"metadata": {"name": name, "labels": {"app": name}}})
    kubectl("delete", "pods", "-l", "app=a", "--grace-period=0", "--force")
    assert [item["metadata"]["name"] for item in kubectl.get("pods")["items"]] == ["b"]


async def test_get_watch_prints_a_line_for_each_change(kubectl: PlayingKubectl) -> None:
    await asyncio.to_thread(kubectl.apply, pod())
    process = await asyncio.create_subprocess_exec(
        *kubectl.command("get", "pods", "--watch"),
        env=kubectl.environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    lines: list[list[str]] = []

    async def has_printed(count: int) -> None:
        assert process.stdout is not None
        async with asyncio.timeout(SECONDS):
            while len(lines) < count:
                lines.append((await process.stdout.readline()).decode().split())

    try:
        await has_printed(2)  # The table so far, from which the watch goes on.
        await asyncio.to_thread(kubectl.report, "web", running())
        await has_printed(3)
    finally:
        process.terminate()
        await process.communicate()
    assert lines[0][:3] == ["NAME", "READY", "STATUS"]
    assert [line[1:3] for line in lines[1:]] == [["0/1", "Pending"], ["1/1", "Running"]]


def test_what_the_server_offers(kubectl: PlayingKubectl) -> None:
    text = kubectl("api-resources", "--api-group=")
    assert {"po", "no", "cm", "ns", "sa"} <= set(text.split())
    assert "coordination.k8s.io/v1" in kubectl("api-versions").split()
    assert "gitVersion" in kubectl("version", "-o", "json")
