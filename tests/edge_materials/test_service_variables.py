"""The variables that every container gets for the Services of its namespace, as a kubelet does."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edgeagent.pods.materials.environment import Surroundings, environment
from edgeagent.pods.materials.servicevars import are_awaited, service_variables
from shared.objects import Json, ObjectKey
from tests.edge_materials.making import NODE, Objects, container, pod, service

API = service("kubernetes", "10.96.0.1", {"name": "https", "port": 443})
API_NAMES = {
    *("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "KUBERNETES_SERVICE_PORT_HTTPS"),
    *("KUBERNETES_PORT", "KUBERNETES_PORT_443_TCP", "KUBERNETES_PORT_443_TCP_PROTO"),
    *("KUBERNETES_PORT_443_TCP_PORT", "KUBERNETES_PORT_443_TCP_ADDR"),
}


def made(whole: Json, *objects: Json) -> dict[str, str]:
    around = Surroundings(whole, NODE, Objects(*objects), (), lambda *place: None)
    return environment(whole["spec"]["containers"][0], around).variables


def test_host_and_ports_and_what_docker_links_had() -> None:
    db = service(
        *("my-db", "10.96.7.7"),
        {"name": "sql", "port": 5432},
        {"name": "metrics-udp", "port": 9, "protocol": "UDP"},
    )
    assert made(pod(), db) == {
        "MY_DB_SERVICE_HOST": "10.96.7.7",
        "MY_DB_SERVICE_PORT": "5432",
        "MY_DB_SERVICE_PORT_SQL": "5432",
        "MY_DB_SERVICE_PORT_METRICS_UDP": "9",
        "MY_DB_PORT": "tcp://10.96.7.7:5432",
        "MY_DB_PORT_5432_TCP": "tcp://10.96.7.7:5432",
        "MY_DB_PORT_5432_TCP_PROTO": "tcp",
        "MY_DB_PORT_5432_TCP_PORT": "5432",
        "MY_DB_PORT_5432_TCP_ADDR": "10.96.7.7",
        "MY_DB_PORT_9_UDP": "udp://10.96.7.7:9",
        "MY_DB_PORT_9_UDP_PROTO": "udp",
        "MY_DB_PORT_9_UDP_PORT": "9",
        "MY_DB_PORT_9_UDP_ADDR": "10.96.7.7",
    }


def test_an_ipv6_address_stands_in_brackets_in_urls_only() -> None:
    found = made(pod(), service("db", "fd00::7", {"port": 80}))
    assert (found["DB_PORT"], found["DB_SERVICE_HOST"]) == ("tcp://[fd00::7]:80", "fd00::7")


def test_only_services_of_the_pods_own_namespace() -> None:
    other = service("db", "10.96.7.7", {"port": 80}, namespace="other")
    assert made(pod(), other) == {}
    assert made(pod(metadata={"namespace": "other"}), other)["DB_SERVICE_HOST"] == "10.96.7.7"


def test_the_api_server_is_named_in_every_namespace() -> None:
    assert made(pod(metadata={"namespace": "other"}), API).keys() == API_NAMES


def test_without_service_links_there_are_those_of_the_api_server_only() -> None:
    db = service("db", "10.96.7.7", {"port": 80})
    assert made(pod(enableServiceLinks=False), API, db).keys() == API_NAMES
    assert "DB_SERVICE_HOST" in made(pod(enableServiceLinks=True), API, db)


def test_a_service_named_kubernetes_in_the_pods_namespace_is_nearer() -> None:
    own = service("kubernetes", "10.96.9.9", {"port": 1}, namespace="other")
    whole = pod(metadata={"namespace": "other"})
    assert made(whole, API, own)["KUBERNETES_SERVICE_HOST"] == "10.96.9.9"
    without = {**whole, "spec": {**whole["spec"], "enableServiceLinks": False}}
    assert made(without, API, own)["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"


def test_a_pod_may_refer_to_them_and_its_own_variables_win() -> None:
    env = [
        {"name": "URL", "value": "https://$(KUBERNETES_SERVICE_HOST)"},
        {"name": "KUBERNETES_SERVICE_PORT", "value": "6443"},
    ]
    found = made(pod(container(env=env)), API)
    assert found["URL"] == "https://10.96.0.1"
    assert found["KUBERNETES_SERVICE_PORT"] == "6443"


def test_a_service_without_ports_gives_its_host() -> None:
    assert made(pod(), service("db", "10.96.7.7")) == {"DB_SERVICE_HOST": "10.96.7.7"}


def test_a_pod_awaits_only_what_it_would_get() -> None:
    objects = Objects()
    elsewhere = pod(metadata={"namespace": "other"})
    objects.awaited = {ObjectKey("Service", "default", "db")}
    assert are_awaited(pod(), objects)
    assert not are_awaited(pod(enableServiceLinks=False), objects)
    assert not are_awaited(elsewhere, objects)
    objects.awaited = {ObjectKey("Service", "default", "kubernetes")}
    assert are_awaited(elsewhere, objects)
    assert are_awaited(pod(enableServiceLinks=False), objects)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
ports = st.lists(
    st.dictionaries(st.sampled_from(["name", "port", "protocol"]), anything, max_size=3) | anything,
    max_size=3,
)


@given(
    anything | st.fixed_dictionaries({"clusterIP": st.just("10.0.0.1"), "ports": ports | anything})
)
def test_what_is_no_service_is_left_out_and_breaks_nothing(spec: Any) -> None:
    hostile = {"kind": "Service", "metadata": {"name": "db", "namespace": "default"}, "spec": spec}
    for name, value in service_variables(pod(), Objects(hostile)).items():
        assert name.startswith("DB_") and name.isascii() and "=" not in name
        assert "\0" not in value
