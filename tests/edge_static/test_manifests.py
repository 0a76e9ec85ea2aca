"""What a manifest in the static-pods folder becomes, and what no pod can be made of."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.pods.resources import kernel
from edgeagent.staticpods.manifests import BadManifest, parse
from shared.objects import Json
from shared.static_pods import is_static

NODE = "edge-1"


def manifest(name: str = "web", **spec: Any) -> Json:
    containers = [{"name": "main", "image": "busybox:1"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": containers, **spec},
    }


def written(value: Json) -> bytes:
    return yaml.safe_dump(value).encode()


def refusal(value: Any) -> str:
    data = value if isinstance(value, bytes) else written(value)
    with pytest.raises(BadManifest) as refused:
        parse(data, node=NODE)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def with_container(**fields: Any) -> Json:
    return manifest(containers=[{"name": "main", "image": "busybox:1", **fields}])


def test_the_pod_is_named_after_its_node_and_bound_to_it() -> None:
    made = parse(written(manifest()), node=NODE)
    assert str(made.key) == "Pod/default/web-edge-1"
    assert made.pod["metadata"]["name"] == "web-edge-1"
    assert made.pod["spec"]["nodeName"] == NODE
    elsewhere = parse(written(manifest(nodeName="edge-2")), node=NODE)
    assert elsewhere.pod["spec"]["nodeName"] == NODE


def test_annotations_say_that_it_comes_from_a_file_and_which_version_it_is() -> None:
    made = parse(written(manifest()), node=NODE)
    annotations = made.pod["metadata"]["annotations"]
    assert annotations["kubernetes.io/config.source"] == "file"
    assert annotations["kubernetes.io/config.hash"] == made.uid == made.pod["metadata"]["uid"]
    assert is_static(made.uid)
    assert kernel.is_critical(made.pod)


def test_nothing_that_ails_the_node_drives_it_away() -> None:
    own = {"key": "a", "operator": "Exists"}
    made = parse(written(manifest(tolerations=[own])), node=NODE)
    everything = {"operator": "Exists", "effect": "NoExecute"}
    assert made.pod["spec"]["tolerations"] == [own, everything]
    again = parse(written(manifest(tolerations=[everything])), node=NODE)
    assert again.pod["spec"]["tolerations"] == [everything]


def test_what_is_left_out_is_what_the_api_server_would_fill_in() -> None:
    probe = {"httpGet": {"port": 80}}
    spec = parse(written(with_container(livenessProbe=probe)), node=NODE).pod["spec"]
    assert (spec["restartPolicy"], spec["terminationGracePeriodSeconds"]) == ("Always", 30)
    container = spec["containers"][0]
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert container["livenessProbe"]["periodSeconds"] == 10


def test_a_class_that_every_cluster_has_gives_its_priority() -> None:
    made = parse(written(manifest(priorityClassName="system-node-critical")), node=NODE)
    assert made.pod["spec"]["priority"] == 2_000_001_000
    assert (
        "priority" not in parse(written(manifest(priorityClassName="mine")), node=NODE).pod["spec"]
    )


def test_json_and_yaml_say_the_same() -> None:
    text = json.dumps(manifest(), indent="\t").encode()
    assert parse(text, node=NODE) == parse(written(manifest()), node=NODE)


def test_a_date_is_the_text_that_it_is_written_as() -> None:
    text = written(manifest()) + b"# end\n"
    text = text.replace(b"name: web", b"name: web\n  labels: {since: 2024-05-06}")
    assert parse(text, node=NODE).pod["metadata"]["labels"] == {"since": "2024-05-06"}


def test_a_comment_makes_no_other_pod_and_another_word_does() -> None:
    uid = parse(written(manifest()), node=NODE).uid
    assert parse(b"# a comment\n" + written(manifest()), node=NODE).uid == uid
    assert parse(written(with_container(args=["x"])), node=NODE).uid != uid
    assert parse(written(manifest()), node="edge-2").uid != uid


def test_of_a_dump_of_a_living_pod_only_what_a_user_writes_counts() -> None:
    dumped = manifest()
    dumped["metadata"] |= {
        "uid": "7e1a",
        "resourceVersion": "4",
        "ownerReferences": [{"kind": "Node"}],
        "annotations": {"kubernetes.io/config.mirror": "abc"},
    }
    dumped["status"] = {"phase": "Running"}
    made = parse(written(dumped), node=NODE)
    assert made.pod["metadata"].keys() == {"name", "namespace", "uid", "annotations"}
    assert "kubernetes.io/config.mirror" not in made.pod["metadata"]["annotations"]
    assert "status" not in made.pod


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (manifest(serviceAccountName="robot"), "serviceaccounts"),
        (manifest(imagePullSecrets=[{"name": "hub"}]), "secrets"),
        (with_container(envFrom=[{"configMapRef": {"name": "c"}}]), "configmaps"),
        (
            with_container(
                env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]
            ),
            "secrets",
        ),
        (manifest(volumes=[{"name": "v", "configMap": {"name": "c"}}]), "via configmap volumes"),
        (manifest(volumes=[{"name": "v", "secret": {"secretName": "s"}}]), "via secret volumes"),
        (
            manifest(volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]),
            "persistentvolumeclaims",
        ),
        (
            manifest(
                volumes=[
                    {
                        "name": "v",
                        "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]},
                    }
                ]
            ),
            "serviceaccounts (via projected volumes)",
        ),
        (manifest(resourceClaims=[{"name": "gpu"}]), "resourceclaims"),
    ],
)
def test_what_only_the_api_has_may_not_be_referenced(changed: Json, named: str) -> None:
    assert refusal(changed).startswith("static pods may not reference ")
    assert named in refusal(changed)


def test_volumes_of_the_device_itself_may_be_used() -> None:
    downward = {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}
    volumes = [
        {"name": "a", "emptyDir": {}},
        {"name": "b", "hostPath": {"path": "/etc"}},
        {"name": "c", "downwardAPI": downward},
        {"name": "d", "projected": {"sources": [{"downwardAPI": downward}]}},
    ]
    assert parse(written(manifest(volumes=volumes)), node=NODE).uid


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"", "holds no Pod"),
        (b"metadata: [", "not YAML"),
        (b'{"kind": ', "not JSON"),
        (b"\xff\xfe\x00", "not text in UTF-8"),
        ({"apiVersion": "apps/v1", "kind": "Deployment"}, "apps/v1 Deployment"),
        ({"apiVersion": "v1", "kind": "Pod", "spec": {}}, "metadata.name is missing"),
        (b"apiVersion: v1\nkind: Pod\n---\napiVersion: v1\n", "not YAML"),
        (manifest("Not_A_Name"), "metadata.name: 'Not_A_Name'"),
        (manifest("w" * 250), "with the node's name behind it"),
        (manifest(containers=[]), "spec.containers is empty"),
        (with_container(image=7), "spec.containers[0].image: is not a text"),
        (manifest(volumes=[{"name": "v", "nfs": {}}]), "volumes of the kind nfs"),
        (
            b"apiVersion: v1\nkind: Pod\nmetadata: {1: 2, name: a}\nspec: {}",
            "the key 1 is not text",
        ),
    ],
)
def test_what_is_no_pod_is_refused_with_one_line_that_helps(said: Any, words: str) -> None:
    assert words in refusal(said)


def test_a_text_that_repeats_itself_for_ever_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]" for n in range(1, 9)]
    assert "more than" in refusal("\n".join(lines).encode())


FIELDS = st.sampled_from(
    ["name", "image", "env", "valueFrom", "envFrom", "projected", "sources", "emptyDir", "ports"]
)
VALUES = st.recursive(
    st.sampled_from([None, True, 0, -1, 2.5, "", "a", "/x"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(FIELDS, inner, max_size=3),
    max_leaves=6,
)
SPECS = st.dictionaries(
    st.sampled_from(["containers", "volumes", "tolerations", "hostNetwork", "imagePullSecrets"]),
    VALUES,
    max_size=3,
)


@given(spec=SPECS)
def test_any_spec_at_all_gives_a_pod_or_one_line(spec: Json) -> None:
    try:
        parse(json.dumps(manifest(**spec)).encode(), node=NODE)
    except BadManifest as refused:
        assert "\n" not in str(refused)


@given(data=st.binary(max_size=64))
def test_any_bytes_at_all_give_a_pod_or_one_line(data: bytes) -> None:
    with pytest.raises(BadManifest):
        parse(data, node=NODE)


def test_a_device_without_manifests_in_yaml_loads_no_yaml() -> None:
    """PyYAML is some 2 MB of the agent's memory."""
    made = json.dumps(manifest()).encode()
    look = (
        "import sys, edgeagent.app, edgeagent.opening;"
        "from edgeagent.staticpods.manifests import parse;"
        f"parse({made!r}, node='edge-1'); print('yaml' in sys.modules);"
        f"parse({written(manifest())!r}, node='edge-1'); print('yaml' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_what_is_nested_deeper_than_a_message_may_be_is_refused_alone() -> None:
    """The list of all static pods goes in one report: it would hold up the others."""
    nested: Json = {}
    for _ in range(85):
        nested = {"deeper": nested}
    with pytest.raises(BadManifest, match="nested more than 80 levels"):
        parse(json.dumps(manifest(odd=nested)).encode(), node=NODE)
