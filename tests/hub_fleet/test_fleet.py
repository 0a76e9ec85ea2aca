"""The desired set follows the API in any order of events, and counts every reference."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cloudhub.fleet.fleet import Fleet
from cloudhub.fleet.references import named_by, references_of
from cloudhub.fleet.trimming import body_of
from shared import codec
from shared.objects import NO_NAMESPACE, ObjectKey
from tests.hub_fleet.objects import CLAIMS, claim, claim_key, config, key, pod, volume, volume_key

NODES = ["edge-1", "edge-2"]
NAMES = list("abc")
VOLUMES = ["pv-1", "pv-2"]


places = st.tuples(
    st.sampled_from([*NODES, "kubelet-1"]),
    st.lists(st.sampled_from([*"xyz", *CLAIMS]), max_size=3),
)
inputs = st.one_of(
    st.tuples(st.just("pod"), st.sampled_from(NAMES), places),
    st.tuples(st.just("gone"), st.sampled_from(NAMES)),
    st.tuples(st.just("relist")),
    st.tuples(st.just("fetched"), st.sampled_from("xyz"), st.sampled_from([None, "1", "2"])),
    st.tuples(st.just("claim"), st.sampled_from(CLAIMS), st.sampled_from([None, "", *VOLUMES])),
    st.tuples(st.just("volume"), st.sampled_from(VOLUMES), st.sampled_from([None, "/a", "/b"])),
    st.tuples(st.just("unmanage"), st.sampled_from(NODES)),
    st.tuples(st.just("manage"), st.sampled_from(NODES)),
)


class Api:
    """What the fleet is told, and what it should say of it."""

    def __init__(self) -> None:
        self.fleet = Fleet()
        self.pods: dict[str, Any] = {}
        self.claims: dict[ObjectKey, Any] = {}
        """As they were last fetched while a pod named them."""
        self.version = 1
        for node in NODES:
            self.fleet.manage(node)
        self.fleet.list_pods([])

    def play(self, step: Any) -> None:
        self.version += 1
        self._play(step)
        for name in self.claims.keys() - set(self.fleet.referenced()):
            del self.claims[name]

    def _play(self, step: Any) -> None:
        match step:
            case ("pod", name, (node, configs)):
                self.pods[name] = pod(name, node, configs, version=self.version)
                self.fleet.put_pod(self.pods[name])
            case ("gone", name) if name in self.pods:
                self.fleet.drop_pod(self.pods.pop(name))
            case ("relist",):
                self.fleet.list_pods(self.pods.values())
            case ("fetched", name, text):
                found = config(name, text, self.version) if text else None
                self.fleet.put_object(key("ConfigMap", name), found)
            case ("claim", name, bound):
                known = claim_key(name) in self.fleet.referenced()
                found = claim(name, bound or None, self.version) if bound is not None else None
                self.fleet.put_object(claim_key(name), found)
                self.claims[claim_key(name)] = found if known else None
            case ("volume", name, path):
                found = volume(name, path, self.version) if path else None
                self.fleet.put_object(volume_key(name), found)
            case ("unmanage", node):
                self.fleet.unmanage(node)
            case ("manage", node):
                if self.fleet.manage(node):
                    mine = [one for one in self.pods.values() if one["spec"]["nodeName"] == node]
                    self.fleet.list_node(node, mine)

    def of(self, node: str) -> dict[str, Any]:
        return {name: one for name, one in self.pods.items() if one["spec"]["nodeName"] == node}

    def needs(self, node: str) -> set[ObjectKey]:
        """What the node's pods name, and the volumes that their claims are bound to."""
        named = {ref for one in self.of(node).values() for ref in references_of(one)}
        return named.union(
            *(named_by(ref, self.claims[ref]) for ref in named if self.claims.get(ref))
        )


@given(st.lists(inputs, max_size=30))
def test_a_node_wants_exactly_its_pods_and_what_they_name(history: list[Any]) -> None:
    api = Api()
    for step in history:
        api.play(step)
    named_somewhere = set()
    for node in api.fleet.nodes():
        wanted = api.fleet.wanted(node)
        assert wanted is not None
        mine = api.of(node)
        named = api.needs(node)
        named_somewhere |= named
        pods = {k for k in wanted.entries if k.kind == "Pod"}
        assert pods == {key("Pod", name) for name in mine}
        assert {k for k in wanted.entries if k.kind != "Pod"} | wanted.pending <= named
        for k in named - wanted.pending:
            assert (k in wanted.entries) == (api.fleet.body(k) is not None)
        for k, entry in wanted.entries.items():
            body = api.fleet.body(k)
            assert body is not None and body.digest == entry.digest
    assert set(api.fleet.referenced()) == named_somewhere


@given(st.lists(inputs, max_size=20), st.lists(inputs, max_size=10))
def test_every_node_whose_list_changed_is_called_dirty(history: list[Any], more: list[Any]) -> None:
    api = Api()
    for step in history:
        api.play(step)
    for step in more:
        before = {node: api.fleet.wanted(node) for node in api.fleet.nodes()}
        dirty: set[str] = set()
        for name in ("put_pod", "drop_pod", "list_pods", "list_node", "put_object"):
            _listen(api.fleet, name, dirty)
        api.play(step)
        for node, wanted in before.items():
            if node in api.fleet.nodes() and step[0] not in ("manage", "unmanage"):
                after = api.fleet.wanted(node)
                assert wanted is not None and after is not None
                assert wanted.entries == after.entries or node in dirty


def _listen(fleet: Fleet, name: str, dirty: set[str]) -> None:
    inner = getattr(type(fleet), name)

    def listening(*args: Any) -> Any:
        effects = inner(fleet, *args)
        dirty.update(effects.dirty | effects.listed)
        return effects

    setattr(fleet, name, listening)


def test_before_its_pods_are_listed_a_node_wants_nothing_known() -> None:
    fleet = Fleet()
    fleet.manage("edge-1")
    fleet.put_pod(pod("a", "edge-1", []))
    assert fleet.wanted("edge-1") is None
    fleet.list_pods([pod("a", "edge-1", [])])
    assert fleet.wanted("edge-1") is not None


def test_a_list_that_is_older_than_the_watch_brings_nothing_back() -> None:
    fleet = Fleet()
    fleet.list_pods([])
    fleet.manage("edge-1")
    gone = pod("a", "edge-1", [])
    fleet.put_pod(gone)
    fleet.drop_pod(gone)
    fleet.list_node("edge-1", [gone])
    wanted = fleet.wanted("edge-1")
    assert wanted is not None and wanted.entries == {}


def test_a_recreated_pod_is_another_pod() -> None:
    fleet = Fleet()
    fleet.manage("edge-1")
    fleet.list_pods([pod("a", "edge-1", [], uid="one")])
    effects = fleet.put_pod(pod("a", "edge-1", [], uid="two", version=2))
    assert [record.uid for record in effects.gone] == ["one"]
    record = fleet.pod(key("Pod", "a"))
    assert record is not None and record.uid == "two"


def test_static_pods_are_the_devices_own() -> None:
    fleet = Fleet()
    fleet.manage("edge-1")
    mirror = pod("a", "edge-1", [])
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    fleet.list_pods([mirror])
    wanted = fleet.wanted("edge-1")
    assert wanted is not None and wanted.entries == {}


def test_late_news_of_an_older_pod_leave_the_newer_one_of_its_name() -> None:
    """The node was listed while the watch lagged: it then tells how the name became free."""
    fleet = Fleet()
    fleet.manage("edge-1")
    fleet.list_node("edge-1", [pod("a", "edge-1", [], uid="new", version=9)])
    fleet.put_pod(pod("a", "edge-1", [], uid="old", version=5))
    fleet.drop_pod(pod("a", "edge-1", [], uid="old", version=7))
    record = fleet.pod(key("Pod", "a"))
    assert record is not None
    assert record.uid == "new"
    fleet.drop_pod(pod("a", "edge-1", [], uid="new", version=12))
    assert fleet.pod(key("Pod", "a")) is None


def test_equal_objects_have_equal_bodies_whoever_listed_them() -> None:
    watched = {"kind": "Pod", "apiVersion": "v1", **pod("a", "edge-1", ["x"], version=1)}
    listed = {name: watched[name] for name in ("status", "spec", "metadata")}
    listed["metadata"] = dict(reversed(list(listed["metadata"].items())))
    listed["metadata"] |= {
        "resourceVersion": "77",
        "managedFields": [{"manager": "x"}],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
    }
    listed["status"] = {"phase": "Running"}
    assert body_of(key("Pod", "a"), watched).packed == body_of(key("Pod", "a"), listed).packed


def test_the_mark_of_a_deletion_is_not_in_the_body() -> None:
    living = pod("a", "edge-1", [])
    living["metadata"]["generation"] = 1
    dying = pod("a", "edge-1", [], version=2)
    marks = {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30}
    dying["metadata"] |= {"generation": 2, **marks}
    assert body_of(key("Pod", "a"), living).digest == body_of(key("Pod", "a"), dying).digest


def test_a_body_keeps_what_the_device_needs() -> None:
    body = codec.unpack(body_of(key("Pod", "a"), pod("a", "edge-1", ["x"])).packed)
    assert body["metadata"]["uid"] == "u"
    assert body["spec"]["containers"][0]["name"] == "c"


def test_every_way_to_name_an_object_is_found() -> None:
    container = {
        "env": [
            {"name": "A", "value": "x"},
            {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "env-cm", "key": "k"}}},
            {"name": "C", "valueFrom": {"secretKeyRef": {"name": "env-s", "optional": True}}},
            {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        "envFrom": [{"configMapRef": {"name": "from-cm"}}, {"secretRef": {"name": "from-s"}}],
    }
    projected = [
        {"configMap": {"name": "kube-root-ca.crt"}},
        {"secret": {"name": "proj-s"}},
        {"serviceAccountToken": {"path": "token"}},
    ]
    found = pod("a", "edge-1", [])
    found["spec"] = {
        "runtimeClassName": "sandboxed",
        "imagePullSecrets": [{"name": "pull"}, {}],
        "containers": [container],
        "initContainers": [{"envFrom": [{"configMapRef": {"name": "init-cm"}}]}],
        "ephemeralContainers": [{"envFrom": [{"secretRef": {"name": "debug-s"}}]}],
        "volumes": [
            {"name": "v", "configMap": {"name": "vol-cm"}},
            {"name": "w", "secret": {"secretName": "vol-s"}},
            {"name": "p", "projected": {"sources": projected}},
            {"name": "e", "emptyDir": {}},
            {"name": "b", "configMap": {"name": "Not_A_Name"}},
            {"name": "d", "persistentVolumeClaim": {"claimName": "data"}},
            {"name": "own", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
        ],
    }
    configs = {"env-cm", "from-cm", "kube-root-ca.crt", "init-cm", "vol-cm"}
    secrets = {"pull", "env-s", "from-s", "proj-s", "debug-s", "vol-s"}
    assert references_of(found) == {
        *(key("ConfigMap", name) for name in configs),
        *(key("Secret", name) for name in secrets),
        *(claim_key("data"), claim_key("a-own")),
        ObjectKey("RuntimeClass", NO_NAMESPACE, "sandboxed"),
    }


def test_of_a_runtime_class_only_its_handler_travels() -> None:
    made = {
        "metadata": {"name": "sandboxed", "resourceVersion": "3", "labels": {"a": "b"}},
        "handler": "runsc",
        "overhead": {"podFixed": {"memory": "64Mi"}},
        "scheduling": {"nodeSelector": {"sandboxed": "yes"}},
    }
    body = body_of(ObjectKey("RuntimeClass", NO_NAMESPACE, "sandboxed"), made)
    assert codec.unpack(body.packed) == {"metadata": {"name": "sandboxed"}, "handler": "runsc"}


def test_a_mirror_is_known_until_it_is_gone() -> None:
    fleet = Fleet()
    fleet.manage("edge-1")
    mirror = pod("a", "edge-1", [])
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    assert fleet.list_pods([mirror]).mirrors == {("edge-1", key("Pod", "a"))}
    (record,) = fleet.mirrors("edge-1")
    assert (record.origin, fleet.mirror(key("Pod", "a")), fleet.pod(key("Pod", "a"))) == (
        *("x", record),
        None,
    )
    effects = fleet.drop_pod(mirror)
    assert effects.mirrors == {("edge-1", key("Pod", "a"))}
    assert not fleet.mirrors("edge-1")
    fleet.put_pod(mirror)
    assert fleet.list_pods([]).mirrors == {("edge-1", key("Pod", "a"))}
    fleet.put_pod(mirror)
    fleet.unmanage("edge-1")
    assert fleet.mirror(key("Pod", "a")) is None


def test_an_answer_about_a_pod_whose_deletion_the_watch_has_told_brings_nothing_back() -> None:
    fleet = Fleet()
    fleet.manage("edge-1")
    mirror = pod("a", "edge-1", [], version=5)
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    fleet.list_pods([])
    fleet.reached.told("4")
    assert fleet.put_answer(mirror).mirrors, "ahead of the watch"
    fleet.reached.told("6")
    fleet.drop_pod(mirror)
    assert not fleet.put_answer(mirror).mirrors
    assert fleet.mirror(key("Pod", "a")) is None
    again = pod("a", "edge-1", [], uid="other", version=7)
    again["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    assert fleet.put_answer(again).mirrors
