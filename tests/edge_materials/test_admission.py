"""Which pods a device takes up, and with which words it refuses the others."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from edgeagent.pods.admission.refusals import refusal, shortage
from edgeagent.pods.admission.tolerations import taints_of, tolerated
from edgeagent.pods.model.nodefacts import NodeFacts, Taint
from edgeagent.pods.model.view import Refusal
from shared.objects import Json
from tests.edge_materials.making import NODE, container, pod


def asking(*, hard: Json | None = None, **requests: str) -> Json:
    return pod(container(resources={"requests": requests, "limits": hard or {}}))


def test_a_pod_that_fits_is_taken_up() -> None:
    assert refusal(asking(cpu="2", memory="4Gi"), [], NODE) is None


def test_a_pod_that_asks_for_more_cpu_than_is_left_is_out_of_cpu() -> None:
    others = [asking(cpu="1500m")]
    assert refusal(asking(cpu="501m"), others, NODE) == Refusal(
        "OutOfcpu",
        "Node didn't have enough resource: cpu, requested: 501, used: 1500, capacity: 2000",
    )
    assert refusal(asking(cpu="500m"), others, NODE) is None


def test_memory_and_storage_are_counted_too() -> None:
    found = refusal(asking(memory="5Gi"), [], NODE)
    assert found and found.reason == "OutOfmemory"
    assert found.message.endswith("requested: 5368709120, used: 0, capacity: 4294967296")
    found = refusal(asking(**{"ephemeral-storage": "20G"}), [], NODE)
    assert found and found.reason == "OutOfephemeral-storage"


def test_a_node_holds_no_more_pods_than_it_may() -> None:
    found = refusal(pod(), [pod(), pod(), pod()], NODE)
    assert found == Refusal(
        "OutOfpods", "Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3"
    )


def test_of_several_resources_that_are_short_the_first_is_always_the_same() -> None:
    names = ("hugepages-1Gi", "hugepages-2Mi", "hugepages-64Ki")
    node = replace(
        NODE, allocatable=dict.fromkeys(("cpu", "memory", "ephemeral-storage"), Fraction(1))
    )
    asked = dict.fromkeys(("ephemeral-storage", *reversed(names), "memory", "cpu"), "1Ti")
    order = ["cpu", "memory", "ephemeral-storage", *names]
    assert list(shortage(asking(hard=asked), [], node)) == order
    found = refusal(asking(hard=asked), [], node)
    assert found and found.reason == "OutOfcpu"
    full = replace(node, allocatable={**node.allocatable, "pods": Fraction(0)})
    found = refusal(asking(hard=asked), [], full)
    assert found and found.reason == "OutOfpods"


def test_a_limit_without_request_counts_as_request() -> None:
    found = refusal(asking(hard={"cpu": "3"}), [], NODE)
    assert found and found.reason == "OutOfcpu"


def test_extended_resources_that_the_device_does_not_know_are_the_schedulers_to_count() -> None:
    wants = asking(hard={"example.com/gpu": "1"})
    assert refusal(wants, [wants], NODE) is None
    assert shortage(wants, [wants], NODE) == {}, "nobody is preempted for it either"


def test_extended_resources_that_the_device_knows_are_counted() -> None:
    wants = asking(hard={"example.com/gpu": "1"})
    one = replace(NODE, allocatable={**NODE.allocatable, "example.com/gpu": Fraction(1)})
    assert refusal(wants, [], one) is None
    found = refusal(wants, [wants], one)
    assert found and found.reason == "OutOfexample.com/gpu"


@pytest.mark.parametrize("name", ["hugepages-2Mi", "kubernetes.io/gpu", "more.kubernetes.io/gpu"])
def test_a_resource_of_kubernetes_own_that_the_device_does_not_have_is_refused(name: str) -> None:
    found = refusal(asking(hard={name: "1"}), [], NODE)
    assert found and found.reason == f"OutOf{name}"


def test_what_is_not_known_about_the_node_refuses_nothing() -> None:
    unknown = NodeFacts("edge-1")
    strange = pod(container(resources={"requests": {"cpu": "999"}}), nodeSelector={"a": "b"})
    assert refusal(strange, [pod()] * 500, unknown) is None


def ports(*wanted: Json) -> Json:
    return pod(container(ports=[{"containerPort": 80, **one} for one in wanted]))


@pytest.mark.parametrize(
    ("one", "other", "conflict"),
    [
        ({"hostPort": 80}, {"hostPort": 80}, True),
        ({"hostPort": 80}, {"hostPort": 81}, False),
        ({"hostPort": 80}, {"hostPort": 80, "protocol": "UDP"}, False),
        ({"hostPort": 80, "hostIP": "127.0.0.1"}, {"hostPort": 80}, True),
        ({"hostPort": 80, "hostIP": "0.0.0.0"}, {"hostPort": 80, "hostIP": "192.0.2.1"}, True),
        (
            {"hostPort": 80, "hostIP": "127.0.0.1"},
            {"hostPort": 80, "hostIP": "192.0.2.1"},
            False,
        ),
        ({}, {}, False),
    ],
)
def test_two_pods_cannot_have_one_host_port(one: Json, other: Json, conflict: bool) -> None:
    found = refusal(ports(one), [ports(other)], NODE)
    assert (found is not None and found.reason == "NodePorts") is conflict


def test_the_operating_system_must_be_linux() -> None:
    found = refusal(pod(os={"name": "windows"}), [], NODE)
    assert found and found.reason == "PodOSNotSupported"
    labelled = {"labels": {"kubernetes.io/os": "windows"}}
    found = refusal(pod(metadata=labelled), [], NODE)
    assert found and found.reason == "PodOSSelectorNodeLabelDoesNotMatch"


def test_a_pod_for_another_node_is_refused() -> None:
    found = refusal(pod(nodeName="edge-2"), [], NODE)
    assert found and found.reason == "NodeName"
    assert refusal(pod(nodeName="edge-1"), [], NODE) is None


LABELLED = replace(NODE, labels={"zone": "a", "size": "5"})


def required(*expressions: Json, fields: list[Json] | None = None) -> dict[str, Any]:
    terms = [{"matchExpressions": list(expressions), "matchFields": fields or []}]
    rule = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return {"affinity": {"nodeAffinity": rule}}


def rule(key: str, operator: str, *values: str) -> Json:
    return {"key": key, "operator": operator, "values": list(values)}


@pytest.mark.parametrize(
    ("spec", "fits"),
    [
        ({"nodeSelector": {"zone": "a"}}, True),
        ({"nodeSelector": {"zone": "b"}}, False),
        (required(rule("zone", "In", "a", "b")), True),
        (required(rule("zone", "NotIn", "a")), False),
        (required(rule("absent", "NotIn", "a")), True),
        (required(rule("absent", "In", "a")), True),
        ({"nodeSelector": {"absent": "a"}}, True),
        (required(rule("zone", "Exists")), True),
        (required(rule("zone", "DoesNotExist")), False),
        (required(rule("size", "Gt", "4")), True),
        (required(rule("size", "Lt", "5")), False),
        (required(rule("size", "Lt", "6")), True),
        (required(rule("zone", "Gt", "4")), False),
        (required(rule("zone", "Lt", "4")), False),
        (required(rule("zone", "In", "a"), rule("size", "In", "6")), False),
        (required(fields=[rule("metadata.name", "In", "edge-1")]), True),
        (required(fields=[rule("metadata.name", "In", "edge-2")]), False),
        (required(), False),
        (required(rule("zone", "Surprise", "a")), False),
    ],
)
def test_node_selector_and_required_affinity_hold(spec: dict[str, Any], fits: bool) -> None:
    found = refusal(pod(**spec), [], LABELLED)
    assert (found is None) is fits
    if found:
        assert found == Refusal(
            "NodeAffinity",
            "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
        )


def test_labels_that_the_hub_tells_count_beside_those_that_the_device_knows() -> None:
    told = replace(LABELLED, told_labels={"rack": "7", "gpu": None, "zone": "b"})
    for selector, taken_up in (
        ({"rack": "7"}, True),
        ({"rack": "8"}, False),
        ({"gpu": ""}, False),
        ({"zone": "a"}, True),
        ({"zone": "b"}, False),
        ({"other": "x"}, True),
    ):
        found = refusal(pod(nodeSelector=selector), [], told)
        assert (found is None) is taken_up, selector
        assert found is None or found.reason == "NodeAffinity"


def test_a_static_pod_is_judged_by_what_the_device_knows_alone() -> None:
    """What the API says of the Node comes and goes with the pods that it is told for."""
    static = {"uid": "0123456789abcdef" * 2}
    told = replace(LABELLED, told_labels={"rack": "7"})
    assert refusal(pod(metadata=static, nodeSelector={"rack": "8"}), [], told) is None
    found = refusal(pod(metadata=static, nodeSelector={"zone": "b"}), [], told)
    assert found and found.reason == "NodeAffinity"


def sysctl(name: str, **spec: Any) -> Refusal | None:
    context = {"sysctls": [{"name": name, "value": "1"}]}
    return refusal(pod(securityContext=context, **spec), [], NODE)


def test_only_safe_sysctls_are_let_through() -> None:
    assert sysctl("net.ipv4.tcp_syncookies") is None
    assert sysctl("kernel/shm_rmid_forced") is None
    assert sysctl("kernel.msgmax") == Refusal(
        "SysctlForbidden", 'forbidden sysctl: "kernel.msgmax" not allowlisted'
    )
    found = sysctl("net.ipv4.tcp_syncookies", hostNetwork=True)
    assert found and found.message.endswith("not allowed with host net enabled")
    found = sysctl("kernel.shm_rmid_forced", hostIPC=True)
    assert found and found.message.endswith("not allowed with host ipc enabled")


@pytest.mark.parametrize(
    ("of_pod", "annotation", "is_refused"),
    [
        ("RuntimeDefault", None, True),
        ("Unconfined", None, False),
        (None, None, False),
        (None, "unconfined", False),
        (None, "localhost/mine", True),
        (None, "of no kind", True),
    ],
)
def test_apparmor_counts_also_where_every_container_has_another_profile(
    of_pod: str | None, annotation: str | None, *, is_refused: bool
) -> None:
    own = container(securityContext={"appArmorProfile": {"type": "Unconfined"}})
    name = "container.apparmor.security.beta.kubernetes.io/main"
    metadata = {} if annotation is None else {"annotations": {name: annotation}}
    context = {} if of_pod is None else {"appArmorProfile": {"type": of_pod}}
    found = refusal(pod(own, metadata=metadata, securityContext=context), [], NODE)
    assert (found is not None) is is_refused


def test_security_that_the_node_cannot_enforce_is_refused() -> None:
    strict = pod(securityContext={"supplementalGroupsPolicy": "Strict"})
    found = refusal(strict, [], NODE)
    assert found and found.reason == "SupplementalGroupsPolicyNotSupported"
    assert refusal(strict, [], replace(NODE, strict_groups=True)) is None
    for profile in ({"type": "Localhost", "localhostProfile": "mine"}, {"type": "RuntimeDefault"}):
        armoured = pod(container(securityContext={"appArmorProfile": profile}))
        found = refusal(armoured, [], NODE)
        assert found and found.reason == "AppArmor"
        assert refusal(armoured, [], replace(NODE, apparmor=True)) is None


@pytest.mark.parametrize("field", ["hostNetwork", "hostPID", "hostIPC"])
def test_users_of_its_own_and_the_devices_namespaces_do_not_go_together(field: str) -> None:
    words = f"spec.{field}: Forbidden: when `hostUsers` is false"
    both = pod(hostUsers=False, **{field: True})
    assert refusal(both, [], NODE) == Refusal("UnsupportedPodField", words)
    assert refusal(pod(hostUsers=True, **{field: True}), [], NODE) is None
    assert refusal(pod(hostUsers=False, **{field: False}), [], NODE) is None


def test_users_of_its_own_and_block_devices_do_not_go_together() -> None:
    raw = pod(container(volumeDevices=[{"name": "v", "devicePath": "/d"}]), hostUsers=False)
    found = refusal(raw, [], NODE)
    assert found and found.message.startswith("volumeDevices of container main: Forbidden")


def test_a_field_that_is_not_supported_is_named() -> None:
    drive = pod(volumes=[{"name": "v", "csi": {"driver": "c"}}])
    assert refusal(drive, [], NODE) == Refusal(
        "UnsupportedPodField",
        "spec.volumes[0].csi: this kind of volume is not supported on edge nodes",
    )


def test_the_room_is_counted_exactly() -> None:
    third = replace(NODE, allocatable={"cpu": Fraction(1, 10)})
    assert refusal(asking(cpu="100m"), [], third) is None
    assert refusal(asking(cpu="0.1001"), [], third) is not None


@pytest.mark.parametrize(
    ("runtime", "version", "image", "folder"),
    [
        ("containerd", "1.7.27", False, False),
        ("containerd", "2.0.5", False, False),
        ("containerd", "2.1.9+unknown", True, False),
        ("containerd", "v2.2.0", True, True),
        ("containerd", "10.0", True, True),
        ("cri-o", "1.30.1", False, False),
        ("cri-o", "1.31.0", True, False),
        ("cri-o", "1.33.0", True, True),
        ("docker", "99.1", False, False),
        ("containerd", "", True, True),
    ],
)
def test_image_volumes_need_a_runtime_that_is_new_enough(
    runtime: str, version: str, image: bool, folder: bool
) -> None:
    node = replace(NODE, runtime_name=runtime, runtime_version=version)
    volumes = [{"name": "data", "image": {"reference": "app:1"}}]
    for more, fits in (
        ({}, image),
        ({"subPath": "www"}, folder),
        ({"subPathExpr": "$(A)"}, folder),
    ):
        mount = {"name": "data", "mountPath": "/data", **more}
        found = refusal(pod(container(volumeMounts=[mount]), volumes=volumes), [], node)
        assert (found is None) is fits
        if found is not None:
            assert found.reason == "UnsupportedPodField"
            assert f"{runtime} {version} cannot mount" in found.message
    disk = pod(
        container(volumeMounts=[{"name": "data", "mountPath": "/data", "subPath": "www"}]),
        volumes=[{"name": "data", "emptyDir": {}}],
    )
    assert refusal(disk, [], node) is None


MAINTAINED = Taint("example.com/maintenance", "week-7", "NoExecute")
TAINTED = replace(NODE, taints=(MAINTAINED,))


def test_a_pod_that_does_not_tolerate_a_no_execute_taint_of_the_node_is_refused() -> None:
    words = "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate"
    assert refusal(pod(), [], TAINTED) == Refusal("TaintToleration", words)
    bears = {"key": MAINTAINED.key, "operator": "Exists", "effect": "NoExecute"}
    assert refusal(pod(tolerations=[bears]), [], TAINTED) is None
    two = replace(TAINTED, taints=(MAINTAINED, Taint("other", "", "NoExecute")))
    found = refusal(pod(tolerations=[bears]), [], two)
    assert found and found.reason == "TaintToleration", "every taint must be tolerated"


def test_for_how_long_a_pod_tolerates_the_taint_does_not_matter() -> None:
    bears = {"key": MAINTAINED.key, "operator": "Exists", "tolerationSeconds": 0}
    assert refusal(pod(tolerations=[bears]), [], TAINTED) is None


def test_a_critical_pod_is_refused_for_a_taint_and_a_static_one_is_not() -> None:
    found = refusal(pod(priority=2_000_001_000), [], TAINTED)
    assert found and found.reason == "TaintToleration"
    static = {"uid": "0123456789abcdef" * 2}
    assert refusal(pod(metadata=static), [], TAINTED) is None


def test_what_does_not_fit_for_another_cause_is_told_first() -> None:
    found = refusal(asking(cpu="3"), [], TAINTED)
    assert found and found.reason == "OutOfcpu"


@pytest.mark.parametrize(
    ("toleration", "matches"),
    [
        ({"operator": "Exists"}, True),
        ({"operator": "Exists", "effect": "NoExecute"}, True),
        ({"operator": "Exists", "effect": "NoSchedule"}, False),
        ({"key": "size", "operator": "Exists"}, True),
        ({"key": "other", "operator": "Exists"}, False),
        ({"key": "size", "value": "5"}, True),
        ({"key": "size", "operator": "Equal", "value": "5"}, True),
        ({"key": "size", "operator": "Equal", "value": "6"}, False),
        ({"key": "size"}, False),
        ({"key": "size", "operator": "Gt", "value": "4"}, True),
        ({"key": "size", "operator": "Gt", "value": "5"}, False),
        ({"key": "size", "operator": "Lt", "value": "6"}, True),
        ({"key": "size", "operator": "Lt", "value": "5"}, False),
        ({"key": "size", "operator": "Lt", "value": "06"}, False),
        ({"key": "size", "operator": "Lt", "value": "many"}, False),
        ({"key": "size", "operator": "Lt", "value": "9" * 19}, False),
        ({"key": "size", "operator": "Something", "value": "5"}, False),
    ],
)
def test_a_toleration_matches_a_taint_as_documented(toleration: Json, matches: bool) -> None:
    assert tolerated(pod(tolerations=[toleration]), Taint("size", "5", "NoExecute")) is matches


def test_of_a_node_only_taints_of_the_right_form_count() -> None:
    rows = [
        {"key": "a", "effect": "NoExecute"},
        {"key": "b", "value": "1", "effect": "NoExecute"},
        {"key": "c", "effect": "NoSchedule"},
        {"key": "", "effect": "NoExecute"},
        {"key": 7, "effect": "NoExecute"},
        {"key": "d", "value": 7, "effect": "NoExecute"},
        "a",
    ]
    found = taints_of({"spec": {"taints": rows}})
    assert found == (Taint("a", "", "NoExecute"), Taint("b", "1", "NoExecute"))
    for nothing in (None, {}, {"spec": None}, {"spec": {"taints": "a"}}):
        assert taints_of(nothing) == ()
