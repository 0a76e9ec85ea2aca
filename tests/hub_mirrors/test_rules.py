"""Of what a device says it runs by itself only what Kubernetes lets a kubelet say is believed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudhub.mirrors.mirror_rules import mirror_pod, static_pods
from shared.errors import WireError
from shared.objects import Json

NODE = "edge-1"
UID = "0123456789abcdef" * 2


def body(name: str = f"web-{NODE}", *, uid: str = UID, **spec: Any) -> Json:
    return {
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": uid,
            "annotations": {"kubernetes.io/config.seen": "2026-01-01T00:00:00Z", "mine": "x"},
        },
        "spec": {
            "nodeName": NODE,
            "containers": [{"name": "main", "image": "busybox:1"}],
            **spec,
        },
    }


def changed(**metadata: Any) -> Json:
    made = body()
    made["metadata"] |= metadata
    return made


def test_the_mirror_is_the_pod_with_its_hash_owned_by_the_node() -> None:
    (pod,) = static_pods(NODE, {"pods": [body()]}).values()
    mirror = mirror_pod(pod, node=NODE, node_uid="n-1")
    assert mirror["metadata"]["annotations"] == {
        "kubernetes.io/config.seen": "2026-01-01T00:00:00Z",
        "mine": "x",
        "kubernetes.io/config.source": "file",
        "kubernetes.io/config.hash": UID,
        "kubernetes.io/config.mirror": UID,
    }
    assert mirror["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Node", "name": NODE, "uid": "n-1", "controller": True}
    ]
    assert mirror["spec"] == body()["spec"]


def test_only_what_a_manifest_may_say_is_taken() -> None:
    hostile = changed(finalizers=["a/b"], ownerReferences=[{}], generateName="x")
    (pod,) = static_pods(NODE, {"pods": [hostile]}).values()
    mirror = mirror_pod(pod, node=NODE, node_uid="n-1")
    assert mirror["metadata"].keys() == {
        *("name", "namespace", "labels", "annotations", "ownerReferences")
    }


SECRET = {"name": "v", "secret": {"secretName": "s"}}


@pytest.mark.parametrize(
    "hostile",
    [
        body("web"),
        body("web-edge-2"),
        body(nodeName="edge-2"),
        body(nodeName=None),
        body(uid="00000000-0000-4000-8000-000000000001"),
        changed(namespace="Not A Name"),
        changed(namespace="../x"),
        changed(labels={"a": 1}),
        changed(annotations=["a"]),
        body(serviceAccountName="robot"),
        body(serviceAccount="robot"),
        body(volumes=[SECRET]),
        body(volumes=[{"name": "v", "emptyDir": {}, "secret": {"secretName": "s"}}]),
        body(volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]),
        body(imagePullSecrets=[{"name": "s"}]),
        body(containers=[{"name": "a", "envFrom": [{"secretRef": {"name": "s"}}]}]),
        body(initContainers=[{"name": "a", "envFrom": [{"configMapRef": {"name": "s"}}]}]),
        body(containers=7),
        body(volumes="x"),
        body(containers=[{"name": "a", "args": ["x" * 200_000]}]),
        {"metadata": {}},
        "no map",
        None,
    ],
)
def test_a_list_with_anything_else_in_it_is_refused_whole(hostile: Any) -> None:
    with pytest.raises(WireError):
        static_pods(NODE, {"pods": [body("db-edge-1"), hostile]})


@pytest.mark.parametrize("hostile", [{}, {"pods": 1}, {"pods": [body()] * 2}, {"pods": [1] * 101}])
def test_what_is_no_list_is_refused(hostile: Json) -> None:
    with pytest.raises(WireError):
        static_pods(NODE, hostile)


FIELDS = st.sampled_from(
    ["metadata", "spec", "name", "namespace", "uid", "labels", "volumes", "containers", "nodeName"]
)
VALUES = st.recursive(
    st.sampled_from([None, True, 0, 2.5, "", "a", NODE, UID, f"web-{NODE}"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=8,
)


@given(status=st.dictionaries(st.just("pods"), st.lists(VALUES, max_size=2)), spec=VALUES)
def test_anything_at_all_is_a_list_or_a_wire_error(status: Json, spec: Any) -> None:
    for hostile in (status, {"pods": [{**body(), "spec": spec}]}):
        try:
            static_pods(NODE, hostile)
        except WireError:
            continue
