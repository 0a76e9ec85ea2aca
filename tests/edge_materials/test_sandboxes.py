"""A pod's sandbox: names, labels, ports and what all its containers share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeagent.pods.materials.sandboxes import handler_of, sandbox_config
from edgeagent.pods.model.errors import SandboxConfigError
from edgeagent.pods.model.paths import PodPaths
from edgeagent.runtime.abilities import Handler
from edgeagent.runtime.limits import Resources
from edgeagent.runtime.port import PortMapping, Sandbox, SandboxConfig, SandboxState
from tests.edge_materials.making import NODE, UID, container, pod

PATHS = PodPaths(Path("/data"))


def made(*containers: Any, **spec: Any) -> SandboxConfig:
    return sandbox_config(pod(*containers, **spec), NODE, attempt=2, paths=PATHS)[0]


def test_a_sandbox_is_named_after_its_pod() -> None:
    found = made()
    assert (found.name, found.namespace, found.uid, found.attempt) == ("web", "default", UID, 2)
    assert found.log_directory == f"/var/log/pods/default_web_{UID}"
    assert found.hostname == "web"


def test_labels_are_the_pods_and_those_tools_look_for() -> None:
    found = made(metadata={"labels": {"app": "shop", "io.kubernetes.pod.uid": "forged"}})
    assert found.labels == {
        "app": "shop",
        "io.kubernetes.pod.name": "web",
        "io.kubernetes.pod.namespace": "default",
        "io.kubernetes.pod.uid": UID,
        "kubetide.io/node": "edge-1",
    }


def test_annotations_are_the_pods_and_where_it_came_from() -> None:
    whole = pod(metadata={"annotations": {"note": "x"}})
    found, _ = sandbox_config(whole, NODE, attempt=0, paths=PATHS, seen=1_700_000_000.5)
    assert found.annotations == {
        "note": "x",
        "kubernetes.io/config.source": "api",
        "kubernetes.io/config.seen": "2023-11-14T22:13:20.500000Z",
    }


def test_a_virtual_machine_is_as_large_as_its_containers_together_and_has_its_overhead() -> None:
    limits = {"cpu": "500m", "memory": "64Mi"}
    asks, free = {"limits": limits, "requests": {"cpu": "250m"}}, {"requests": {"cpu": "1"}}
    containers = container(resources=asks), container("free", resources=free)
    whole = made(*containers, overhead={"cpu": "100m", "memory": "32Mi"})
    period = {"cpu_period": 100_000}
    assert whole.resources == Resources(
        **period, cpu_quota=50_000, cpu_shares=1280, memory_limit_bytes=64 << 20
    )
    assert whole.overhead == Resources(
        **period, cpu_quota=10_000, cpu_shares=102, memory_limit_bytes=32 << 20
    )
    bare = made()
    assert (bare.resources, bare.overhead) == (Resources(**period, cpu_shares=2), Resources())
    as_a_whole = made(container(resources=asks), resources={"limits": {"memory": "1Gi"}})
    assert as_a_whole.resources.memory_limit_bytes == 1 << 30


def test_host_ports_are_mapped_with_protocol_and_address() -> None:
    ports = [
        {"containerPort": 80},
        {"containerPort": 53, "hostPort": 5353, "protocol": "UDP", "hostIP": "127.0.0.1"},
        {"containerPort": 9, "hostPort": 9, "protocol": "SCTP"},
    ]
    assert made(container(ports=ports)).ports == (
        PortMapping(53, 5353, "UDP", "127.0.0.1"),
        PortMapping(9, 9, "SCTP"),
    )
    assert made(container(ports=ports), hostNetwork=True).ports == ()


def test_a_sidecar_may_have_host_ports_too() -> None:
    ports = [{"containerPort": 80, "hostPort": 8080}]
    sidecar = container("s", ports=ports, restartPolicy="Always")
    assert made(initContainers=[sidecar, container("i", ports=ports)]).ports == (
        PortMapping(80, 8080),
    )


def test_the_namespaces_of_the_host_are_shared_on_request() -> None:
    security = made(
        hostNetwork=True, hostPID=True, hostIPC=True, shareProcessNamespace=True
    ).security
    assert security.host_network and security.host_pid and security.host_ipc
    assert security.share_process_namespace
    plain = made().security
    assert not (plain.host_network or plain.host_pid or plain.host_ipc or plain.privileged)


def test_a_sandbox_is_privileged_when_one_of_its_containers_is() -> None:
    assert made(
        container(), container("b", securityContext={"privileged": True})
    ).security.privileged


@pytest.mark.parametrize("kind", ["RuntimeDefault", "Unconfined", "Localhost"])
def test_a_sandbox_has_a_filter_as_soon_as_anybody_in_the_pod_asks_for_a_profile(
    kind: str,
) -> None:
    asks = {"securityContext": {"seccompProfile": {"type": kind}}}
    assert made().security.seccomp.kind == "Unconfined"
    assert made(container(), container("b", **asks)).security.seccomp.kind == "RuntimeDefault"
    assert made(**asks).security.seccomp.kind == "RuntimeDefault"
    assert made(initContainers=[container("i", **asks)]).security.seccomp.kind == "RuntimeDefault"


def test_the_groups_of_the_pod_are_those_of_its_sandbox() -> None:
    context = {"runAsUser": 1000, "runAsGroup": 2000, "supplementalGroups": [5, 6], "fsGroup": 7}
    security = made(securityContext=context).security
    assert (security.run_as_user, security.run_as_group) == (1000, 2000)
    assert security.supplemental_groups == (5, 6, 7)


def test_a_group_without_a_user_is_left_to_the_containers() -> None:
    assert made(securityContext={"runAsGroup": 2000}).security.run_as_group is None


def test_sysctls_may_be_written_with_slashes() -> None:
    wanted = [{"name": "net/ipv4/tcp_syncookies", "value": "1"}]
    assert made(securityContext={"sysctls": wanted}).sysctls == {"net.ipv4.tcp_syncookies": "1"}


@pytest.mark.parametrize("said", ["runsc", ""], ids=["by the runtime", "by the annotation only"])
def test_of_a_sandbox_that_is_there_its_own_handler_counts(said: str) -> None:
    whole = pod(runtimeClassName="sandboxed")
    able = Handler("runsc", user_namespaces=True, recursive_readonly=True)
    node = replace(NODE, handlers=(Handler(), able), runtime_classes={"sandboxed": "runsc"})
    made, _ = sandbox_config(whole, node, attempt=0, paths=PATHS)
    there = Sandbox(
        *("s", "web", "default", "u", 0, SandboxState.READY, 0),
        annotations=made.annotations,
        runtime_handler=said,
    )
    later = replace(node, runtime_classes={}).bound("sandboxed", handler_of(there))
    assert later.handler("sandboxed") == able
    assert sandbox_config(whole, later, attempt=0, paths=PATHS)[0] == made
    without = replace(NODE, handlers=(Handler(),)).bound("sandboxed", handler_of(there))
    assert without.handler("sandboxed") == Handler("runsc"), "what that means the runtime says"


def test_a_runtime_class_is_the_handler_of_its_name() -> None:
    node = replace(NODE, handlers=(Handler(), Handler("kata")))
    found, _ = sandbox_config(pod(runtimeClassName="kata"), node, attempt=0, paths=PATHS)
    assert found.runtime_handler == "kata"
    with pytest.raises(SandboxConfigError, match='RuntimeClass "kata" not found'):
        made(runtimeClassName="kata")


def test_the_same_pod_gives_the_same_sandbox_again() -> None:
    assert made() == made()
