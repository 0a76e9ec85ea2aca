"""What becomes of a device's report, and that nothing is written that is there already."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudhub.kube.model_rules import patched
from cloudhub.nodes.node_status import (
    BY_ABILITY,
    MANAGED,
    Ready,
    accepted,
    is_foreign,
    labels_of,
    metadata_patch,
    new_node,
    quantity,
    ready_of,
    status_patch,
)
from cloudhub.nodes.presence import Standing
from shared.objects import Json

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"

REPORT: Json = {
    "capacity": {"cpu": "4", "memory": "16384000Ki", "pods": "110"},
    "allocatable": {"cpu": "3800m", "memory": "15Gi", "pods": "110"},
    "addresses": [
        {"type": "InternalIP", "address": "10.0.0.7"},
        {"type": "Hostname", "address": "edge-7"},
    ],
    "nodeInfo": {
        "kubeletVersion": "v1.33.0-kubetide.0.1.0",
        "architecture": "arm64",
        "containerRuntimeVersion": "containerd://2.1.0",
        "operatingSystem": "linux",
    },
    "images": [{"names": ["docker.io/library/busybox:1"], "sizeBytes": 4000000}],
    "features": {"supplementalGroupsPolicy": True},
    "runtimeHandlers": [
        {"name": "", "features": {"recursiveReadOnlyMounts": True, "userNamespaces": False}},
        {"name": "kata", "features": {}},
    ],
    "declaredFeatures": ["InPlacePodVerticalScalingInitContainers", "Some/Part"],
    "conditions": [
        {"type": "Ready", "status": "True", "reason": "RuntimeReady", "message": "ok"},
        {"type": "DiskPressure", "status": "False", "reason": "Enough", "message": "12 GiB free"},
    ],
}
READY = Ready("True", "AgentConnected", "connected")


def nested(depth: int) -> Any:
    value: Any = "deep"
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("message", [nested(1020), {"a": 1}, 7, None])
def test_a_message_that_is_no_text_is_none(message: Any) -> None:
    """Python cannot print every value that the wire can carry."""
    row = {"type": "Ready", "status": "True", "message": message}
    assert accepted({"conditions": [row]})["conditions"][0]["message"] == ""


def written(current: Json, patch: Json | None) -> Json:
    """The status after the API server took the patch."""
    assert patch is not None
    status: Json = patched({"status": current}, patch, "strategic")["status"]
    return status


def condition(status: Json, kind: str) -> Json:
    return next(row for row in status["conditions"] if row["type"] == kind)


def test_a_report_is_written_whole_and_then_not_again() -> None:
    status = written({}, status_patch({}, accepted(REPORT), READY, now=NOW))
    assert status["capacity"] == REPORT["capacity"]
    for part in ("images", *BY_ABILITY):
        assert status[part] == REPORT[part]
    assert condition(status, "Ready")["reason"] == "AgentConnected"
    assert condition(status, "DiskPressure")["lastTransitionTime"] == NOW
    assert status_patch(status, accepted(REPORT), READY, now=LATER) is None


def test_equal_quantities_are_equal_however_they_are_written() -> None:
    status = {**accepted(REPORT), "conditions": []}
    status["capacity"] = {"cpu": "4000m", "memory": "16000Mi", "pods": "110"}
    patch = status_patch(status, accepted({"capacity": REPORT["capacity"]}), None, now=NOW)
    assert patch is None


def test_only_what_differs_is_written() -> None:
    status = written({}, status_patch({}, accepted(REPORT), READY, now=NOW))
    more = {**REPORT, "capacity": {**REPORT["capacity"], "cpu": "8"}}
    patch = status_patch(status, accepted(more), READY, now=LATER)
    assert patch == {"status": {"capacity": {"cpu": "8"}}}


def test_what_a_device_no_longer_has_is_removed_but_not_what_others_added() -> None:
    current = {"capacity": {"cpu": "4", "hugepages-2Mi": "0", "example.com/dongle": "2"}}
    patch = status_patch(current, {"capacity": {"cpu": "4"}}, None, now=NOW)
    assert patch == {"status": {"capacity": {"hugepages-2Mi": None}}}


def test_an_extended_resource_that_somebody_advertises_becomes_allocatable() -> None:
    """As in the task "Advertise Extended Resources for a Node": capacity is patched by hand."""
    status = written({}, status_patch({}, accepted(REPORT), READY, now=NOW))
    status["capacity"]["example.com/dongle"] = "4"
    patch = status_patch(status, accepted(REPORT), READY, now=LATER)
    assert patch == {"status": {"allocatable": {"example.com/dongle": "4"}}}
    status = written(status, patch)
    assert status_patch(status, accepted(REPORT), READY, now=LATER) is None
    assert status_patch(status, {}, None, now=LATER) is None
    for amount in ("2", "1e3", "2e3"):
        status["capacity"]["example.com/dongle"] = amount
        status = written(status, status_patch(status, accepted(REPORT), READY, now=LATER))
        assert status["allocatable"]["example.com/dongle"] == amount, "however it is written"
    del status["capacity"]["example.com/dongle"]
    patch = status_patch(status, accepted(REPORT), READY, now=LATER)
    assert patch == {"status": {"allocatable": {"example.com/dongle": None}}}
    assert status_patch(status, {}, None, now=LATER) is None, "the node is away"


def test_what_a_runtime_no_longer_says_is_removed() -> None:
    status = written({}, status_patch({}, accepted(REPORT), READY, now=NOW))
    older = {k: v for k, v in REPORT.items() if k not in BY_ABILITY}
    patch = status_patch(status, accepted(older), READY, now=LATER)
    assert patch == {"status": dict.fromkeys(BY_ABILITY)}
    assert not {*BY_ABILITY} & written(status, patch).keys()
    assert status_patch(status, {}, None, now=LATER) is None, "nothing is known while it is away"


@pytest.mark.parametrize(
    "said",
    [
        {"images": [{"names": True, "sizeBytes": 1}]},
        {"features": {"supplementalGroupsPolicy": "yes", "more": True}},
        {"features": ["supplementalGroupsPolicy"]},
        {"runtimeHandlers": [{"name": 7}, {"features": {}}, "runc"]},
        {"runtimeHandlers": {"runc": {}}},
        {"runtimeHandlers": [{"name": "n" * 254}]},
        {"declaredFeatures": "RestartAllContainersOnContainerExits"},
        {"declaredFeatures": [7, None, ["A"], "lower", "A/", "/A", "A b", "A" * 254]},
    ],
)
def test_features_of_another_form_are_left_out(said: Json) -> None:
    assert accepted(said) == {}


def test_two_addresses_of_one_type_survive() -> None:
    old = {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}
    both = [{"type": "InternalIP", "address": a} for a in ("10.0.0.7", "fd00::7")]
    status = written(old, status_patch(old, {"addresses": both}, None, now=NOW))
    assert status["addresses"] == both


def test_ready_turns_with_its_own_time_and_leaves_the_other_conditions() -> None:
    status = written({}, status_patch({}, accepted(REPORT), READY, now=NOW))
    away = ready_of(Standing.OFFLINE, {}, status, LATER)
    patch = status_patch(status, {}, away, now=LATER)
    assert patch is not None and [row["type"] for row in patch["status"]["conditions"]] == ["Ready"]
    row = condition(written(status, patch), "Ready")
    assert (row["status"], row["reason"]) == ("Unknown", "AgentDisconnected")
    assert row["lastTransitionTime"] == LATER and LATER in row["message"]


def test_a_changed_message_keeps_the_time_of_the_turn() -> None:
    status = written({}, status_patch({}, accepted(REPORT), READY, now=NOW))
    other = Ready("True", "AgentConnected", "another text")
    row = condition(written(status, status_patch(status, {}, other, now=LATER)), "Ready")
    assert row["lastTransitionTime"] == NOW
    assert row["lastHeartbeatTime"] == LATER


def test_a_hub_that_starts_later_writes_nothing_about_a_node_that_is_still_away() -> None:
    away = ready_of(Standing.OFFLINE, {}, {}, NOW)
    status = written({}, status_patch({}, {}, away, now=NOW))
    again = ready_of(Standing.OFFLINE, {}, status, LATER)
    assert status_patch(status, {}, again, now=LATER) is None


def test_a_device_that_was_shut_down_is_said_to_be_and_stays_so() -> None:
    said = Ready("False", "KubeletNotReady", "node is shutting down")
    status = written({}, status_patch({}, accepted(REPORT), said, now=NOW))
    for _ in range(2):
        away = ready_of(Standing.OFFLINE, {}, status, LATER)
        assert away is not None and away.message.endswith("; the device was shut down")
        status = written(status, status_patch(status, {}, away, now=LATER) or {"status": {}})
    back = written(status, status_patch(status, accepted(REPORT), READY, now=LATER))
    again = ready_of(Standing.OFFLINE, {}, back, LATER)
    assert again is not None and again.message.endswith("; its pods go on")


def test_what_the_node_controller_says_of_an_absent_node_is_left_alone() -> None:
    rows = [
        {"type": kind, "status": "Unknown", "reason": "NodeStatusUnknown", "message": "m"}
        for kind in ("MemoryPressure", "DiskPressure")
    ]
    away = ready_of(Standing.OFFLINE, {}, {"conditions": rows}, NOW)
    patch = status_patch({"conditions": rows}, {}, away, now=NOW)
    assert patch is not None and [row["type"] for row in patch["status"]["conditions"]] == ["Ready"]


@pytest.mark.parametrize(
    ("standing", "report", "current", "status", "reason"),
    [
        (Standing.ONLINE, REPORT, {}, "True", "AgentConnected"),
        (Standing.ONLINE, {}, {}, "False", "AwaitingReport"),
        (Standing.ONLINE, {}, {"capacity": {"cpu": "1"}}, "True", "AgentConnected"),
        (Standing.OFFLINE, REPORT, {}, "Unknown", "AgentDisconnected"),
        (Standing.SILENT, REPORT, {}, "Unknown", "AgentSilent"),
    ],
)
def test_ready_follows_presence_and_report(
    standing: Standing, report: Json, current: Json, status: str, reason: str
) -> None:
    ready = ready_of(standing, report, current, NOW)
    assert ready is not None
    assert (ready.status, ready.reason) == (status, reason)


def test_an_agent_without_a_runtime_is_not_ready_in_its_own_words() -> None:
    row = {"type": "Ready", "status": "False", "reason": "RuntimeAway", "message": "no containerd"}
    ready = ready_of(Standing.ONLINE, accepted({"conditions": [row]}), {}, NOW)
    assert ready == Ready("False", "RuntimeAway", "no containerd")


def test_nothing_is_said_while_in_doubt() -> None:
    assert ready_of(Standing.IN_DOUBT, REPORT, {}, NOW) is None


def test_labels_come_from_the_report_and_skip_what_is_no_label() -> None:
    labels = labels_of("edge-7", accepted(REPORT))
    assert labels["kubernetes.io/arch"] == "arm64"
    assert labels["node-role.kubernetes.io/edge"] == ""
    bad = {"nodeInfo": {"architecture": "not a label!", "kubeletVersion": "kubetide"}}
    assert "kubernetes.io/arch" not in labels_of("edge-7", accepted(bad))
    assert "kubernetes.io/hostname" not in labels_of("x" * 70, {})


def test_labels_and_version_are_patched_only_where_they_differ() -> None:
    node = new_node("edge-7", accepted(REPORT), ())
    labels = labels_of("edge-7", accepted(REPORT))
    assert metadata_patch(node, labels, "") is None
    patch = metadata_patch(node, labels, "0.1.0")
    assert patch == {"metadata": {"annotations": {"kubetide.io/agent-version": "0.1.0"}}}


def test_taints_are_part_of_the_birth_only() -> None:
    taint = {"key": "edge", "effect": "NoSchedule"}
    assert new_node("edge-7", {}, (taint,))["spec"] == {"taints": [taint]}


def test_a_kubelets_node_is_foreign_and_ours_or_an_empty_one_is_not() -> None:
    def node(version: str, **labels: str) -> Json:
        info = {"nodeInfo": {"kubeletVersion": version}} if version else {}
        return {"metadata": {"name": "n", "labels": labels}, "status": info}

    assert is_foreign(node("v1.33.1"))
    assert not is_foreign(node("v1.33.1", **{MANAGED: "true"}))
    assert not is_foreign(node("v1.33.0-kubetide.0.1.0"))
    assert not is_foreign(node(""))


def test_a_version_always_says_whose_it_is() -> None:
    info = accepted({"nodeInfo": {"kubeletVersion": "v9"}})["nodeInfo"]
    assert info["kubeletVersion"] == "kubetide-v9"


@pytest.mark.parametrize(
    ("text", "amount"), [("500m", "0.5"), ("1Ki", "1024"), ("2k", "2000"), ("1.5Gi", "1610612736")]
)
def test_quantities(text: str, amount: str) -> None:
    assert quantity(text) == Decimal(amount)


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("type", "status", "names", "cpu", "reason", "sizeBytes", "address"),
                    *("name", "features", "userNamespaces", "supplementalGroupsPolicy"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def test_declared_features_are_sorted_and_each_is_there_once() -> None:
    """An API server refuses the whole status otherwise."""
    assert accepted({"declaredFeatures": ["B", "A/C", "B"]}) == {"declaredFeatures": ["A/C", "B"]}


@given(
    st.dictionaries(
        st.sampled_from(
            [
                *("capacity", "allocatable", "addresses", "nodeInfo", "images", "conditions"),
                *BY_ABILITY,
            ]
        ),
        junk,
    )
)
def test_any_report_is_survived_and_settles(report: dict[str, Any]) -> None:
    clean = accepted(report)
    patch = status_patch({}, clean, READY, now=NOW)
    status = written({}, patch)
    assert status_patch(status, clean, READY, now=LATER) is None
