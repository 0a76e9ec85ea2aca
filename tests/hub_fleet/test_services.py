"""Whatever happens to Services and pods: a node wants those of its linked pods' namespaces."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cloudhub.fleet.fleet import Effects, Fleet
from cloudhub.fleet.services import service_body
from shared import codec
from shared.objects import ObjectKey

NODES = ["edge-1", "edge-2"]
SPACES = ["default", "other"]


def service(space: str, name: str, ip: str) -> Any:
    metadata = {"name": name, "namespace": space, "resourceVersion": "1", "labels": {"x": ip}}
    return {"metadata": metadata, "spec": {"clusterIP": ip, "ports": [{"port": 1}]}}


def pod(space: str, name: str, node: str, linked: bool | None, version: int) -> Any:
    metadata = {"name": name, "namespace": space, "uid": name, "resourceVersion": str(version)}
    spec = {"nodeName": node, "containers": [], "enableServiceLinks": linked}
    return {"metadata": metadata, "spec": spec}


ADDRESSES = ["", "None", "10.0.0.1", "fd::1"]
spaces, names = st.sampled_from(SPACES), st.sampled_from(["a", "b", "kubernetes"])
steps = st.one_of(
    st.tuples(st.just("service"), spaces, names, st.sampled_from(ADDRESSES)),
    st.tuples(st.just("no service"), spaces, names),
    st.tuples(st.just("relist"), st.just(None)),
    st.tuples(st.just("pod"), spaces, names, st.sampled_from(NODES), st.booleans() | st.none()),
    st.tuples(st.just("no pod"), spaces, names),
    st.tuples(st.just("manage"), st.sampled_from(NODES)),
    st.tuples(st.just("unmanage"), st.sampled_from(NODES)),
)


class Scene:
    def __init__(self) -> None:
        self.fleet = Fleet()
        self.services: dict[tuple[str, str], Any] = {}
        self.pods: dict[tuple[str, str], Any] = {}
        self.fleet.list_pods([])
        self.fleet.list_services([])
        self.managed: set[str] = set()
        self.version = 0

    def play(self, step: Any) -> Effects:
        self.version += 1
        match step:
            case ("service", space, name, ip):
                self.services[space, name] = service(space, name, ip)
                return self.fleet.put_service(self.services[space, name])
            case ("no service", space, name) if (space, name) in self.services:
                return self.fleet.drop_service(self.services.pop((space, name)))
            case ("relist", _):
                return self.fleet.list_services(self.services.values())
            case ("pod", space, name, node, linked):
                known = self.pods.get((space, name))
                if known is not None:
                    self.fleet.drop_pod(known)
                self.pods[space, name] = pod(space, name, node, linked, self.version)
                return self.fleet.put_pod(self.pods[space, name])
            case ("no pod", space, name) if (space, name) in self.pods:
                return self.fleet.drop_pod(self.pods.pop((space, name)))
            case ("manage", node) if self.fleet.manage(node):
                self.managed.add(node)
                mine = [one for one in self.pods.values() if one["spec"]["nodeName"] == node]
                return self.fleet.list_node(node, mine)
            case ("unmanage", node):
                self.managed.discard(node)
                self.fleet.unmanage(node)
        return Effects()

    def expected(self, node: str) -> set[ObjectKey]:
        linked = {
            space
            for (space, _), one in self.pods.items()
            if one["spec"]["nodeName"] == node and one["spec"]["enableServiceLinks"] is not False
        }
        return {
            ObjectKey("Service", space, name)
            for (space, name), one in self.services.items()
            if one["spec"]["clusterIP"] not in ("", "None")
            and (space in linked or (space, name) == ("default", "kubernetes"))
        }


@given(st.lists(steps, max_size=30))
def test_a_node_wants_the_services_of_its_linked_pods_and_is_told_of_every_change(
    history: list[Any],
) -> None:
    scene = Scene()
    before: dict[str, Any] = {}
    for step in history:
        effects = scene.play(step)
        for node in scene.managed:
            wanted = scene.fleet.wanted(node)
            assert wanted is not None and wanted.services_known
            rows = {key: row for key, row in wanted.entries.items() if key.kind == "Service"}
            assert rows.keys() == scene.expected(node)
            assert all(scene.fleet.body(key) for key in rows)
            if node in before and before[node] != rows and step[0] != "pod":
                assert node in effects.dirty
            before[node] = rows
        before = {node: rows for node, rows in before.items() if node in scene.managed}


def test_what_is_not_said_of_a_port_is_tcp() -> None:
    ports = [{"port": 1, "protocol": "TCP"}, {"port": 2, "protocol": "UDP", "name": "dns"}]
    body = service_body(service("default", "a", "10.0.0.1") | {
        "spec": {"clusterIP": "10.0.0.1", "ports": ports}
    })  # fmt: skip
    assert body is not None
    assert codec.unpack(body.packed)["spec"]["ports"] == [
        {"port": 1},
        {"port": 2, "protocol": "UDP", "name": "dns"},
    ]


def test_before_the_list_came_nobody_says_that_there_are_none() -> None:
    fleet = Fleet()
    fleet.manage("edge-1")
    fleet.list_pods([])
    wanted = fleet.wanted("edge-1")
    assert wanted is not None and not wanted.complete
    assert fleet.list_services([]).dirty == {"edge-1"}
    wanted = fleet.wanted("edge-1")
    assert wanted is not None and wanted.complete
