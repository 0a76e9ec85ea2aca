"""The patch plan: after it the API says what the device said, and others keep what is theirs."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cloudhub.kube.model_rules import copied, patched
from cloudhub.reporting.pod_status import OWNED, bare, status_patch

OWN = ["Initialized", "PodReadyToStartContainers", "ContainersReady", "Ready"]
FOREIGN = ["PodScheduled", "DisruptionTarget", "example.com/gate"]


def conditions(kinds: list[str]) -> Any:
    row = st.fixed_dictionaries(
        {"status": st.sampled_from(["True", "False"])},
        optional={"reason": st.sampled_from(["A", "B"]), "lastProbeTime": st.none()},
    )
    rows = st.dictionaries(st.sampled_from(kinds), row, max_size=4)
    return rows.map(lambda found: [{"type": kind, **row} for kind, row in found.items()])


texts = st.sampled_from(["", "a", "b"])
ips = st.lists(
    st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1"]).map(lambda ip: {"ip": ip}),
    max_size=2,
    unique_by=lambda row: row["ip"],
)
containers = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["a", "b"]), "ready": st.booleans(), "restartCount": st.just(0)},
        optional={"lastState": st.just({}), "state": st.just({"running": {"startedAt": "t"}})},
    ),
    max_size=2,
)
reports = st.fixed_dictionaries(
    {"phase": st.sampled_from(["Pending", "Running", "Succeeded", "Failed"])},
    optional={
        "reason": texts,
        "message": texts,
        "hostIP": texts,
        "podIPs": ips,
        "hostIPs": ips,
        "startTime": texts,
        "containerStatuses": containers,
        "resources": st.dictionaries(
            st.sampled_from(["limits", "requests"]), st.just({"cpu": "1"})
        ),
        "conditions": conditions(OWN),
        "qosClass": texts,
        "nominatedNodeName": texts,
        "observedGeneration": st.integers(1, 3),
    },
)
currents = st.tuples(reports, conditions(OWN + FOREIGN)).map(
    lambda pair: {**pair[0], "conditions": pair[1], "phase": "Running", "qosClass": "Burstable"}
)


def after(current: Any, patch: Any) -> Any:
    return patched({"status": copied(current)}, {"status": patch}, "strategic")["status"]


@given(currents, reports)
def test_after_the_patch_there_is_nothing_left_to_patch(current: Any, report: Any) -> None:
    patch = status_patch(current, report, online=True)
    if patch is not None:
        assert status_patch(after(current, patch), report, online=True) is None


def test_a_container_that_is_there_has_resources_that_may_be_empty() -> None:
    """Else an API server refuses to have the pod resized, whatever of it is to be resized."""
    runs, waits = {"running": {"startedAt": "t"}}, {"waiting": {"reason": "PodInitializing"}}
    sized = {"requests": {"cpu": "1"}}
    report: Any = {
        "phase": "Running",
        "initContainerStatuses": [{"name": "side", "state": runs, "containerID": "c://1"}],
        "containerStatuses": [
            {"name": "free", "state": runs, "containerID": "c://2", "resources": {}},
            {"name": "sized", "state": runs, "containerID": "c://3", "resources": sized},
            {"name": "waits", "state": waits},
            "nonsense",
        ],
    }
    patch = status_patch({"phase": "Running"}, report, online=True)
    assert patch is not None
    free, big, waiting, _ = patch["containerStatuses"]
    assert (free["resources"], big["resources"]) == ({}, sized)
    assert "resources" not in waiting
    assert patch["initContainerStatuses"][0]["resources"] == {}


@given(currents, reports)
def test_the_patch_makes_the_owned_fields_those_of_the_report(current: Any, report: Any) -> None:
    result = bare(after(current, status_patch(current, report, online=True) or {}))
    wanted = bare(report)
    assert {name: result.get(name) for name in OWNED} == {n: wanted.get(n) for n in OWNED}
    assert result["qosClass"] == "Burstable"
    assert result.get("nominatedNodeName") == bare(current).get("nominatedNodeName")


@given(currents, reports)
def test_the_conditions_of_others_are_left_alone(current: Any, report: Any) -> None:
    result = after(current, status_patch(current, report, online=True) or {})

    def foreign(status: Any) -> list:
        return [row for row in status["conditions"] if row["type"] in FOREIGN]

    assert foreign(result) == foreign(current)


@given(reports)
def test_an_equal_status_needs_no_patch(report: Any) -> None:
    current = {**copied(report), "qosClass": "Burstable"}
    generation = report.get("observedGeneration")
    own = [{**row, "observedGeneration": generation} for row in report.get("conditions", [])]
    current["conditions"] = [*own, {"type": "PodScheduled"}]
    for row in current.get("containerStatuses", []):
        row["lastState"] = {}
    assert status_patch(current, report, online=True) is None


def test_conditions_stand_in_a_kubelets_order_with_the_generation_they_were_made_of() -> None:
    current = {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]}
    own = [{"type": kind, "status": "True"} for kind in sorted(OWN)]
    report = {"phase": "Running", "observedGeneration": 3, "conditions": own}
    result = after(current, status_patch(current, report, online=True) or {})
    assert [row["type"] for row in result["conditions"]] == [
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
    ]
    assert [row.get("observedGeneration") for row in result["conditions"]] == [3, 3, 3, 3, None]
    assert status_patch(result, report, online=True) is None


def test_a_resize_says_itself_which_generation_asked_for_it() -> None:
    rows = [
        {"type": "PodResizeInProgress", "status": "True", "observedGeneration": 2},
        {"type": "Ready", "status": "True"},
    ]
    report = {"phase": "Running", "observedGeneration": 3, "conditions": rows}
    current = {"phase": "Running", "conditions": []}
    result = after(current, status_patch(current, report, online=True) or {})
    assert [row["observedGeneration"] for row in result["conditions"]] == [2, 3]
    over = {**report, "conditions": rows[1:]}
    result = after(result, status_patch(result, over, online=True) or {})
    assert [row["type"] for row in result["conditions"]] == ["Ready"]


def test_a_finished_phase_is_never_taken_back() -> None:
    assert status_patch({"phase": "Failed"}, {"phase": "Running"}, online=True) is None
    assert status_patch({"phase": "Failed"}, {"phase": "Succeeded"}, online=True) is None
    told = {"phase": "Failed", "reason": "Evicted"}
    assert status_patch({"phase": "Failed"}, told, online=True) == {"reason": "Evicted"}


def test_pods_of_a_node_that_is_away_are_not_called_ready_again() -> None:
    """Kubernetes itself says that they are not ready; everything else is still told."""
    current = {"phase": "Pending", "conditions": [{"type": "Ready", "status": "False"}]}
    report = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    assert status_patch(current, report, online=False) == {"phase": "Running"}
    assert "conditions" in (status_patch(current, report, online=True) or {})


def test_a_status_without_a_known_phase_is_no_status() -> None:
    for phase in (None, "Dancing", ["Running"], 7):
        assert status_patch({"phase": "Running"}, {"phase": phase}, online=True) is None


hostile = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*OWNED, "conditions", "x"]), hostile))
def test_a_hostile_status_never_breaks_the_plan(report: Any) -> None:
    status_patch(
        {"phase": "Running", "conditions": []}, {"phase": "Running", **report}, online=True
    )
