"""What a status says of a pod that is looked at once, whatever the runtime answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from edgeagent.pods.model.facts import Condition, ContainerFacts, PodFacts, Termination
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.model.view import Live, Moment, PodView, Trouble, Wanted
from edgeagent.pods.planning.absorbing import absorb
from edgeagent.pods.status import podstatus
from edgeagent.runtime.port import Container, ContainerState, Sandbox, SandboxState
from edgeagent.runtime.users import ContainerUser
from shared.objects import Json
from tests.edge_pods.world import a_container, a_pod

SANDBOX = "sandbox"
NODE = NodeFacts("edge-1")


def ran(name: str, **how: Any) -> Container:
    running = ContainerState.RUNNING
    base: Json = {"attempt": 0, "state": running, "image": "i", "image_ref": "i", "created_at": 1}
    return Container(f"id-{name}", SANDBOX, name, **{**base, **how})


def ended(name: str, **how: Any) -> Container:
    return ran(name, state=ContainerState.EXITED, finished_at=2, **how)


def told(
    pod: Json,
    *containers: Container,
    ips: tuple[str, ...] = (),
    known: Mapping[str, ContainerFacts] | None = None,
    node: NodeFacts = NODE,
    resizing: int = 0,
    troubles: Mapping[str, Trouble] | None = None,
    conditions: Mapping[str, Condition] | None = None,
) -> Json:
    """The pod's status after one look at the runtime."""
    names = {"name": "web", "namespace": "default", "uid": pod["metadata"]["uid"], "attempt": 0}
    ready = SandboxState.READY
    sandbox = Sandbox(SANDBOX, **names, state=ready, created_at=1, ips=ips, containers=containers)
    facts = PodFacts(pod, started_at=1.0, admitted=True, containers=known or {}, resizing=resizing)
    facts = replace(facts, conditions=conditions or {})
    live = Live(troubles=troubles or {})
    view = PodView(pod, Wanted.RUN, facts, (sandbox,), live=live, node=node)
    now = Moment(wall=3.0, monotonic=3.0)
    return podstatus.current(replace(view, facts=absorb(view)), now)[0]


def test_of_many_addresses_one_of_each_family_is_said() -> None:
    """The API server refuses the whole status for two of one family."""
    many = ("10.0.0.5", "192.168.7.5", "fd00::5")
    said = told(a_pod(), ran("main"), ips=many)
    assert said["podIP"] == "10.0.0.5"
    assert said["podIPs"] == [{"ip": "10.0.0.5"}, {"ip": "fd00::5"}]


def test_the_primary_address_goes_by_the_settings_and_not_by_the_uplink_of_the_moment() -> None:
    both, on_lte = ("10.0.0.5", "fd00::5"), replace(NODE, ips=("2001:db8::7",))
    named = replace(NODE, named_ips=("2001:db8::7",))
    told_by = [told(a_pod(), ran("main"), ips=both, node=one) for one in (NODE, on_lte, named)]
    assert [one["podIP"] for one in told_by] == ["10.0.0.5", "10.0.0.5", "fd00::5"]


def test_on_the_hosts_network_the_address_is_known_before_there_is_a_sandbox() -> None:
    def first(**spec: object) -> Json:
        pod = a_pod(**spec)
        node = replace(NODE, ips=("192.0.2.7", "fd00::7"))
        view = PodView(pod, Wanted.RUN, PodFacts(pod, started_at=1.0, admitted=True), node=node)
        return podstatus.current(view, Moment(wall=3.0, monotonic=3.0))[0]

    said = first(hostNetwork=True)
    assert said["podIP"] == "192.0.2.7"
    assert said["podIPs"] == [{"ip": "192.0.2.7"}, {"ip": "fd00::7"}]
    assert "podIP" not in first()


def test_containers_are_listed_by_name_and_init_containers_in_the_order_they_run() -> None:
    pod = a_pod(
        *("web", a_container("web"), a_container("app"), a_container("log")),
        initContainers=[a_container("second"), a_container("first")],
        ephemeralContainers=[a_container("look"), a_container("debug")],
    )
    said = told(pod)
    for kind, names in (
        ("containerStatuses", ["app", "log", "web"]),
        ("initContainerStatuses", ["second", "first"]),
        ("ephemeralContainerStatuses", ["debug", "look"]),
    ):
        assert [one["name"] for one in said[kind]] == names


def test_a_pod_that_was_initialized_once_stays_so() -> None:
    """Its init container runs again: in a new sandbox, before any container has ever begun."""

    def initialized(before: Mapping[str, Condition]) -> Json:
        pod = a_pod(initContainers=[a_container("init")])
        said = told(pod, ran("init", attempt=1), conditions=before)
        assert said["phase"] == "Pending"
        return next(one for one in said["conditions"] if one["type"] == "Initialized")

    once = initialized({"Initialized": Condition(status=True, since=2)})
    assert (once["status"], once["lastTransitionTime"]) == ("True", "1970-01-01T00:00:02Z")
    for before in ({}, {"Initialized": Condition(status=False, since=2)}):
        assert initialized(before)["status"] == "False"


def test_what_the_pod_was_granted_is_what_its_containers_ask_for_at_their_hungriest() -> None:
    def sized(name: str, cpu: str) -> Json:
        return {**a_container(name), "resources": {"requests": {"cpu": cpu, "memory": "8Mi"}}}

    pod = a_pod("web", sized("main", "100m"), initContainers=[sized("init", "1500m")])
    said = told(pod, ran("main"))
    assert said["allocatedResources"] == {"cpu": "1500m", "memory": "8Mi"}
    assert "resources" not in said, "its containers say what they have"
    assert "allocatedResources" not in told(a_pod(), ran("main"))


def test_an_ephemeral_container_is_never_called_started() -> None:
    """It can have no probes, so nobody waits for that."""
    pod = a_pod(ephemeralContainers=[a_container("debug")])
    said = told(pod, ran("main"), ran("debug"))
    assert "started" not in said["ephemeralContainerStatuses"][0]
    assert "started" in said["containerStatuses"][0]


def test_the_user_that_a_container_began_as_is_said_as_long_as_it_is_known() -> None:
    """A list of the runtime does not name it, and an old runtime never does."""
    pod = a_pod(
        "web", *(a_container(name) for name in ("app", "log", "old")), restartPolicy="Never"
    )
    known = {"log": ContainerFacts(0, "id-log", SANDBOX, user={"uid": 0, "gid": 0})}
    said = told(
        pod,
        ran("app", user=ContainerUser(1000, 100, (100, 4000))),
        ended("log"),
        ran("old"),
        known=known,
    )
    assert [one.get("user") for one in said["containerStatuses"]] == [
        {"linux": {"uid": 1000, "gid": 100, "supplementalGroups": [100, 4000]}},
        {"linux": {"uid": 0, "gid": 0}},
        None,
    ]


def test_the_stop_signal_is_said_of_a_container_that_asks_for_one() -> None:
    asks = {"lifecycle": {"stopSignal": "SIGUSR1"}}
    pod = a_pod("web", a_container("app", **asks), a_container("log"), restartPolicy="Never")
    seen = ran("app", stop_signal="SIGUSR1"), ran("log", stop_signal="SIGTERM")
    said = told(pod, *seen)["containerStatuses"]
    assert [one.get("stopSignal") for one in said] == ["SIGUSR1", None]


def messages(said: Json) -> list[str]:
    every = [*said["initContainerStatuses"], *said["containerStatuses"]]
    return [
        state["terminated"]["message"]
        for one in every
        for state in (one["state"], one["lastState"])
        if "terminated" in state
    ]


def test_of_many_containers_each_has_its_share_of_12_kib_for_its_last_words() -> None:
    names = ["a", "b", "c", "d", "e"]
    pod = a_pod(
        *("web", *(a_container(name) for name in names)),
        initContainers=[a_container("init")],
        ephemeralContainers=[a_container("debug")],
        restartPolicy="Never",
    )
    containers = [ended(name, message="x" * 4096) for name in (*names, "init")]
    assert messages(told(pod, *containers)) == ["x" * (12 * 1024 // 7)] * 6


def test_up_to_three_containers_say_their_last_words_whole() -> None:
    pod = a_pod(
        "web", a_container("a"), initContainers=[a_container("init")], restartPolicy="Never"
    )
    containers = [ended(name, message="x" * 4096) for name in ("a", "init")]
    assert messages(told(pod, *containers)) == ["x" * 4096] * 2


def test_last_words_are_counted_in_bytes_and_cut_between_letters() -> None:
    pod = a_pod("web", *(a_container(name) for name in "abcd"), restartPolicy="Never")
    said = told(pod, ended("a", message="x" + "\N{SNOWMAN}" * 1024))
    assert said["containerStatuses"][0]["state"]["terminated"]["message"] == (
        "x" + "\N{SNOWMAN}" * 1023
    )


def test_the_end_before_a_restart_has_the_same_share() -> None:
    pod = a_pod("web", *(a_container(name) for name in "abcd"))
    before = Termination(1, "Error", "x" * 4096, finished_at=1)
    known = {"a": ContainerFacts(attempt=1, id="id-a", sandbox=SANDBOX, previous=before)}
    said = told(pod, ran("a", attempt=1), known=known)["containerStatuses"][0]
    assert said["lastState"]["terminated"]["message"] == "x" * 3072


def test_a_resize_is_in_trouble_only_over_the_container_that_waits_for_it() -> None:
    """What an earlier start of it did not get, or one that ended since, is over."""
    pod = a_pod("web", a_container("main", resources={"limits": {"memory": "64Mi"}}))
    before = {"limits": {"memory": "32Mi"}}
    known = {"main": ContainerFacts(0, "id-main", SANDBOX, resources=before)}

    def progress(*slots: str) -> tuple[str, str]:
        troubles = {one: Trouble("", f"no {one}", 0.0) for one in slots}
        said = told(pod, ran("main"), known=known, resizing=2, troubles=troubles)
        found = [one for one in said["conditions"] if one["type"] == "PodResizeInProgress"]
        return found[0].get("reason", ""), found[0].get("message", "")

    assert progress() == ("", "")
    assert progress("resize/id-main") == ("Error", "no resize/id-main")
    assert progress("resize/id-before", "resize/pod") == ("", "")
