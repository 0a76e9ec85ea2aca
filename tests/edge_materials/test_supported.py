"""Nothing that a pod asks for is left out silently."""

from __future__ import annotations

import contextlib
import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kubernetes import client

from edgeagent.pods.admission.refusals import refusal
from edgeagent.pods.admission.supported import Unsupported, by_runtime, unsupported
from edgeagent.pods.admission.supported_fields import TABLE
from edgeagent.pods.admission.verdicts import Verdict
from edgeagent.pods.materials.containers import Prepared, container_config
from edgeagent.pods.materials.environment import Surroundings, environment
from edgeagent.pods.materials.sandboxes import sandbox_config
from edgeagent.pods.materials.sources import Missing
from edgeagent.pods.model import specs
from edgeagent.pods.model.errors import PodTrouble
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.model.paths import PodPaths
from edgeagent.pods.volumes.claims import place_of
from edgeagent.pods.volumes.contents import NoTokens, Origin, files_of
from edgeagent.pods.volumes.making import CLAIMS, kind_of
from edgeagent.runtime.port import Image
from shared.errors import PermanentError
from shared.objects import Json
from tests.edge_materials.making import (
    NODE,
    Objects,
    claim,
    config_map,
    container,
    persistent_volume,
    pod,
    secret,
)

MODELS = {
    "PodSpec": "V1PodSpec",
    "Container": "V1Container",
    "EphemeralContainer": "V1EphemeralContainer",
    "ContainerPort": "V1ContainerPort",
    "EnvVar": "V1EnvVar",
    "EnvVarSource": "V1EnvVarSource",
    "FieldRef": "V1ObjectFieldSelector",
    "ResourceFieldRef": "V1ResourceFieldSelector",
    "KeyRef": "V1ConfigMapKeySelector",
    "FileKeyRef": "V1FileKeySelector",
    "EnvFromSource": "V1EnvFromSource",
    "ObjectRef": "V1ConfigMapEnvSource",
    "LocalReference": "V1LocalObjectReference",
    "Resources": "V1ResourceRequirements",
    "ResizePolicy": "V1ContainerResizePolicy",
    "RestartRule": "V1ContainerRestartRule",
    "ExitCodes": "V1ContainerRestartRuleOnExitCodes",
    "VolumeMount": "V1VolumeMount",
    "Probe": "V1Probe",
    "Lifecycle": "V1Lifecycle",
    "Handler": "V1LifecycleHandler",
    "ExecAction": "V1ExecAction",
    "HTTPGetAction": "V1HTTPGetAction",
    "HTTPHeader": "V1HTTPHeader",
    "TCPSocketAction": "V1TCPSocketAction",
    "GRPCAction": "V1GRPCAction",
    "Sleep": "V1SleepAction",
    "SecurityContext": "V1SecurityContext",
    "PodSecurityContext": "V1PodSecurityContext",
    "Capabilities": "V1Capabilities",
    "SELinuxOptions": "V1SELinuxOptions",
    "Profile": "V1SeccompProfile",
    "Sysctl": "V1Sysctl",
    "Toleration": "V1Toleration",
    "HostAlias": "V1HostAlias",
    "DNSConfig": "V1PodDNSConfig",
    "DNSOption": "V1PodDNSConfigOption",
    "ReadinessGate": "V1PodReadinessGate",
    "OS": "V1PodOS",
    "Affinity": "V1Affinity",
    "NodeAffinity": "V1NodeAffinity",
    "NodeSelector": "V1NodeSelector",
    "NodeSelectorTerm": "V1NodeSelectorTerm",
    "Requirement": "V1NodeSelectorRequirement",
    "Volume": "V1Volume",
    "VolumeDevice": "V1VolumeDevice",
    "ImageVolume": "V1ImageVolumeSource",
    "EphemeralVolume": "V1EphemeralVolumeSource",
    "ClaimVolume": "V1PersistentVolumeClaimVolumeSource",
    "PersistentVolumeSpec": "V1PersistentVolumeSpec",
    "LocalVolume": "V1LocalVolumeSource",
    "VolumeNodeAffinity": "V1VolumeNodeAffinity",
    "EmptyDir": "V1EmptyDirVolumeSource",
    "HostPath": "V1HostPathVolumeSource",
    "KeysVolume": "V1ConfigMapVolumeSource",
    "SecretVolume": "V1SecretVolumeSource",
    "KeyToPath": "V1KeyToPath",
    "DownwardVolume": "V1DownwardAPIVolumeSource",
    "DownwardFile": "V1DownwardAPIVolumeFile",
    "ProjectedVolume": "V1ProjectedVolumeSource",
    "Projection": "V1VolumeProjection",
    "KeysProjection": "V1ConfigMapProjection",
    "DownwardProjection": "V1DownwardAPIProjection",
    "TokenProjection": "V1ServiceAccountTokenProjection",
}


@pytest.mark.parametrize("kind", TABLE)
def test_the_table_has_every_field_of_the_current_api(kind: str) -> None:
    api = set(getattr(client, MODELS[kind]).attribute_map.values())
    assert api - set(TABLE[kind]) == set()
    extra = set(TABLE[kind]) - api
    assert extra <= {"workloadRef"}, "fields of one API version only"


def test_what_is_refused_or_left_out_says_why() -> None:
    for fields in TABLE.values():
        for field in fields.values():
            assert field.note or field.verdict is Verdict.SUPPORTED


def test_an_ordinary_pod_has_nothing_unsupported() -> None:
    assert unsupported(pod(volumes=[{"name": "v", "emptyDir": {}}])) == []


CONTAINER = "spec.containers[0]"


def fields(whole: Any) -> list[str]:
    return [one.field for one in unsupported(whole) if one.fatal]


def test_a_field_of_a_newer_api_is_told_and_the_pod_runs() -> None:
    (found,) = unsupported(pod(container(teleport=True)))
    assert found == Unsupported(
        "spec.containers[0].teleport",
        "this version of the agent does not know the field",
        fatal=False,
    )


@pytest.mark.parametrize(
    ("runtime", "version", "is_told"),
    [
        ("containerd", "1.6.20~ds1", True),
        ("containerd", "v2.2.7", True),
        ("containerd", "v2.3.0", False),
        ("cri-o", "1.32.4", True),
        ("cri-o", "1.33.0", False),
        ("process", "1", False),
        ("containerd", "", False),
    ],
)
def test_a_stop_signal_that_the_runtime_does_not_know_is_told(
    runtime: str, version: str, is_told: bool
) -> None:
    node = replace(NODE, runtime_name=runtime, runtime_version=version)
    asks = {"lifecycle": {"stopSignal": "SIGUSR1"}}
    inits = [container("first"), container("proxy", restartPolicy="Always", **asks)]
    whole = pod(container(**asks), container("other"), initContainers=inits)
    found = by_runtime(whole, node)
    places = ["spec.containers[0]", "spec.initContainers[1]"] if is_told else []
    assert [one.field for one in found] == [f"{one}.lifecycle.stopSignal" for one in places]
    assert all(version in one.message and not one.fatal for one in found)


def test_null_and_empty_mean_not_set() -> None:
    assert unsupported(pod(resourceClaims=[], resources=None, dnsPolicy="", hostUsers=None)) == []


def test_a_restart_rule_of_a_newer_api_is_refused_not_taken_for_another() -> None:
    rule = {"action": "RestartTheMoon", "exitCodes": {"operator": "In", "values": [42]}}
    whole = pod(container(restartPolicy="Never", restartPolicyRules=[rule]))
    assert fields(whole) == [f"{CONTAINER}.restartPolicyRules[0].action"]


def test_a_value_that_is_not_supported_refuses_the_pod() -> None:
    assert fields(pod(restartPolicy="Sometimes")) == ["spec.restartPolicy"]
    assert fields(pod(restartPolicy="Never")) == []
    assert fields(pod(dnsPolicy="Psychic")) == ["spec.dnsPolicy"]
    newer = {"httpGet": {"port": 80, "protocol": "HTTP3"}}, {"grpc": {"port": 80, "mode": "TLS"}}
    assert [fields(pod(container(livenessProbe=one))) for one in newer] == [
        [f"{CONTAINER}.livenessProbe.httpGet.protocol"],
        [f"{CONTAINER}.livenessProbe.grpc.mode"],
    ]


@pytest.mark.parametrize(
    ("whole", "field"),
    [
        (None, "pod"),
        ([], "pod"),
        ({}, "metadata"),
        ({"metadata": {"name": "../x", "namespace": "a", "uid": "u"}}, "metadata.name"),
        (pod(metadata={"uid": None}), "metadata.uid"),
        (pod(metadata={"labels": {"a": 1}}), "metadata.labels"),
        ({**pod(), "spec": None}, "spec"),
        ({**pod(), "spec": {"containers": []}}, "spec.containers"),
        (pod({"image": "a"}), f"{CONTAINER}.name"),
        (pod(container("../x")), f"{CONTAINER}.name"),
        (pod(container(env="x")), f"{CONTAINER}.env"),
        (pod(container(env=[{"value": "1"}])), f"{CONTAINER}.env[0].name"),
        (pod(container(ports=[{"containerPort": "80"}])), f"{CONTAINER}.ports[0].containerPort"),
        (pod(container(resources={"limits": {"cpu": "lots"}})), f"{CONTAINER}.resources.limits"),
        (pod(container(resources={"limits": {"cpu": "-1"}})), f"{CONTAINER}.resources.limits"),
        (pod(volumes=[{"name": "v", "hostPath": "/x"}]), "spec.volumes[0].hostPath"),
        (pod(terminationGracePeriodSeconds=2**70), "spec.terminationGracePeriodSeconds"),
        (pod(hostNetwork="yes"), "spec.hostNetwork"),
        (pod(containers="none"), "spec.containers"),
    ],
)
def test_a_pod_that_makes_no_sense_is_refused_by_field(whole: Any, field: str) -> None:
    assert field in fields(whole)


RICH = pod(
    container(
        command=["a"],
        env=[
            {"name": "A", "value": "1"},
            {"name": "B", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        ],
        envFrom=[{"configMapRef": {"name": "c"}}],
        ports=[{"containerPort": 80, "hostPort": 80}],
        resources={"limits": {"cpu": "1"}, "requests": {"memory": "1Mi"}},
        volumeMounts=[{"name": "v", "mountPath": "/v"}],
        volumeDevices=[{"name": "d", "devicePath": "/dev/d"}],
        securityContext={"capabilities": {"add": ["X"]}},
        lifecycle={"preStop": {"sleep": {"seconds": 1}}},
    ),
    volumes=[
        {"name": "v", "projected": {"sources": [{"secret": {"name": "s", "items": []}}]}},
        {"name": "d", "persistentVolumeClaim": {"claimName": "c", "readOnly": True}},
    ],
    initContainers=[container("i", restartPolicy="Always")],
    securityContext={"sysctls": [{"name": "a", "value": "b"}], "fsGroup": 5},
    nodeSelector={"a": "b"},
    affinity={
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}
                ]
            }
        }
    },
    overhead={"cpu": "1m"},
    hostAliases=[{"ip": "1", "hostnames": ["a"]}],
    dnsConfig={"options": [{"name": "a", "value": "b"}]},
)

JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3),
    st.lists(st.none() | st.text(max_size=2), max_size=2),
    st.dictionaries(st.text(max_size=2), st.none() | st.integers(), max_size=2),
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    found = [path] if path else []
    for key, one in inside if isinstance(value, dict | list) else ():
        found += places(one, (*path, key)) if isinstance(one, dict | list) else [(*path, key)]
    return found


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(places(RICH)), JUNK)
def test_junk_anywhere_in_a_pod_is_refused_or_harmless(place: tuple[Any, ...], junk: Any) -> None:
    """Whatever passes the table can be read by everything that admission does after it."""
    broken = copy.deepcopy(RICH)
    parent = broken
    for key in place[:-1]:
        parent = parent[key]
    parent[place[-1]] = junk
    if refusal(broken, [pod()], LABELLED) is None and refusal(broken, [], NODE) is None:
        configure(broken)


LABELLED = NodeFacts("edge-1", labels={"a": "b"})
HERE = Objects(
    *(config_map("c", a="1"), secret("s", b="2"), claim("c")),
    persistent_volume(of="c", local={"path": "/d"}, volumeMode="Block"),
)


def configure(whole: Json) -> None:
    """Everything pure that is made of a pod: it succeeds, or says what is wrong with the pod."""
    with contextlib.suppress(PodTrouble, PermanentError):
        sandbox_config(whole, NODE, attempt=0, paths=PodPaths(Path("/data")))
    origin = Origin(whole, NODE, HERE, NoTokens())
    for volume in whole["spec"].get("volumes") or ():
        kind = kind_of(volume)
        with contextlib.suppress(ValueError, Missing):
            files_of(kind, volume.get(kind) or {}, origin)
        if kind in CLAIMS:
            with contextlib.suppress(PodTrouble):
                place_of(volume, origin)
    around = Surroundings(whole, NODE, HERE, ("10.0.0.1",), lambda *place: None)
    for one in specs.every_container(whole):
        with contextlib.suppress(PodTrouble, PermanentError):
            prepared = Prepared(Image("i"), environment(one, around).variables)
            container_config(whole, one, attempt=0, node=NODE, prepared=prepared)


@pytest.mark.parametrize("medium", ["", "Memory", "HugePages", "HugePages-2Mi"])
def test_an_empty_dir_may_have_a_size_limit_on_every_medium(medium: str) -> None:
    sized = {"medium": medium, "sizeLimit": "1Mi"}
    assert unsupported(pod(volumes=[{"name": "v", "emptyDir": sized}])) == []


@pytest.mark.parametrize("medium", ["Disk", "HugePages-", "HugePages-2", "memory", 7])
def test_a_medium_that_there_is_not_is_refused(medium: object) -> None:
    (found,) = unsupported(pod(volumes=[{"name": "v", "emptyDir": {"medium": medium}}]))
    assert (found.field, found.fatal) == ("spec.volumes[0].emptyDir.medium", True)


@given(st.recursive(JUNK, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_any_json_at_all_gets_an_answer(value: Any) -> None:
    assert fields(value)
