"""A pod with readiness gates is Ready when its containers are and every condition is True."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudhub.kube.model_rules import copied, patched
from cloudhub.kube.port import PODS
from cloudhub.reporting.pod_status import status_patch
from cloudhub.reporting.readiness import gated
from cloudhub.stamps import stamp
from shared.objects import Json
from tests.hub_delivery.world import NODE, World, in_world, pod_key

GATE = "example.com/wired"
OTHER = "example.com/warm"
NOW = 1_900_000_000.0
BEFORE, THEN = stamp(NOW - 500), stamp(NOW - 100)


def reported(containers: str, since: str = THEN, **words: str) -> Json:
    """As a device says it: of the gates it knows nothing."""
    row = {"status": containers, "lastTransitionTime": since, **words}
    return {
        "phase": "Running",
        "conditions": [{"type": "Ready", **row}, {"type": "ContainersReady", **row}],
    }


def api(**conditions: str) -> Json:
    names = {"gate": GATE, "other": OTHER, "containers": "ContainersReady", "ready": "Ready"}
    return {
        "phase": "Running",
        "conditions": [
            {"type": names[name], "status": status, "lastTransitionTime": BEFORE}
            for name, status in conditions.items()
        ],
    }


def ready_of(status: Json) -> Json:
    return next(row for row in status["conditions"] if row["type"] == "Ready")


def judged(report: Json, current: Json, *gates: str) -> Json:
    return ready_of(gated(report, current, gates=gates or (GATE,), now=NOW))


def test_a_gate_without_its_condition_keeps_the_pod_from_being_ready() -> None:
    assert judged(reported("True"), api()) == {
        "type": "Ready",
        "status": "False",
        "reason": "ReadinessGatesNotReady",
        "message": f'corresponding condition of pod readiness gate "{GATE}" does not exist.',
        "lastTransitionTime": THEN,
    }


@pytest.mark.parametrize("status", ["False", "Unknown"])
def test_a_gate_that_is_not_true_keeps_the_pod_from_being_ready(status: str) -> None:
    row = judged(reported("True"), api(gate=status))
    assert (row["status"], row["reason"]) == ("False", "ReadinessGatesNotReady")
    assert row["message"] == (
        f'the status of pod readiness gate "{GATE}" is not "True", but {status}'
    )


def test_every_gate_that_is_not_met_is_named() -> None:
    message = judged(reported("True"), api(other="False"), GATE, OTHER)["message"]
    assert message == (
        f'corresponding condition of pod readiness gate "{GATE}" does not exist.,'
        f' the status of pod readiness gate "{OTHER}" is not "True", but False'
    )


def test_with_all_gates_true_the_pod_is_ready() -> None:
    row = judged(reported("True"), api(gate="True", other="True"), GATE, OTHER)
    assert row == {"type": "Ready", "status": "True", "lastTransitionTime": THEN}


def test_a_pod_whose_containers_are_not_ready_says_that_and_nothing_of_gates() -> None:
    words = {"reason": "ContainersNotReady", "message": "containers with unready status: [main]"}
    row = judged(reported("False", **words), api(gate="True"))
    assert row == {"type": "Ready", "status": "False", "lastTransitionTime": THEN, **words}


def test_a_pod_without_gates_is_ready_when_its_device_says_so() -> None:
    report = reported("True")
    assert gated(report, api(), gates=(), now=NOW) is report


def test_the_transition_time_is_now_when_a_gate_makes_the_difference() -> None:
    before = api(gate="True", containers="True", ready="False")
    assert judged(reported("True"), before)["lastTransitionTime"] == stamp(NOW)


def test_the_transition_time_is_the_devices_when_the_device_makes_the_difference() -> None:
    before = api(gate="True", containers="True", ready="True")
    assert judged(reported("False"), before)["lastTransitionTime"] == THEN


def test_the_transition_time_stays_while_only_the_reason_changes() -> None:
    before = api(gate="False", containers="False", ready="False")
    row = judged(reported("True"), before)
    assert (row["reason"], row["lastTransitionTime"]) == ("ReadinessGatesNotReady", BEFORE)


statuses = st.sampled_from(["True", "False", "Unknown"])
foreign = st.dictionaries(
    st.sampled_from([GATE, OTHER, "PodScheduled", "ContainersReady", "Ready"]),
    st.fixed_dictionaries({"status": statuses}, optional={"lastTransitionTime": st.just(BEFORE)}),
)


@given(foreign, statuses, st.lists(st.sampled_from([GATE, OTHER, "ContainersReady"]), max_size=3))
def test_writing_it_comes_to_an_end_and_takes_nothing_from_others(
    rows: Any, containers: str, gates: list[str]
) -> None:
    """Two rounds at most, when a gate is one of the node's own conditions; then nothing is left."""
    status = {"phase": "Running", "conditions": [{"type": k, **row} for k, row in rows.items()]}
    others = [row for row in status["conditions"] if "Ready" not in row["type"]]
    for later in range(3):
        report = gated(reported(containers), status, gates=gates, now=NOW + later)
        patch = status_patch(status, report, online=True)
        if patch is None:
            break
        status = patched({"status": copied(status)}, {"status": patch}, "strategic")["status"]
    assert patch is None
    assert [row for row in status["conditions"] if "Ready" not in row["type"]] == others


def writes(world: World) -> list[tuple[str, str, str]]:
    return [one for one in world.kube.requests if one[0] != "list"]


async def set_gate(world: World, status: str) -> None:
    row = {"type": GATE, "status": status}
    await world.kube.patch(
        *(PODS, "default", "web", {"status": {"conditions": [row]}}),
        subresource="status",
        patch_type="strategic",
    )


async def ready(world: World) -> str:
    found = await world.kube.get(PODS, "default", "web")
    assert found is not None
    return str(ready_of(found["status"])["status"])


def test_the_hub_looks_again_when_somebody_changes_a_gate() -> None:
    """One write for each change, none of them over the link, and none when nothing changes."""

    async def story(world: World) -> None:
        world.hub()
        world.device()
        pod = await world.pod("web", readinessGates=[{"conditionType": GATE}])
        await world.quiet()
        world.devices[NODE].report(pod_key("web"), pod["metadata"]["uid"], reported("True"))
        await world.quiet()
        assert await ready(world) == "False"
        for status in ("True", "False", "True"):
            await set_gate(world, status)
            world.kube.requests.clear()
            assert await world.quiet() == []
            assert writes(world) == [("patch", "pods/status", "web")]
            assert await ready(world) == status
        world.kube.requests.clear()
        await set_gate(world, "True")
        world.hub("hub-b")
        await world.quiet()
        assert [one for one in writes(world) if one[0] == "patch"] == [
            ("patch", "pods/status", "web")
        ], "the test's own write is the only one"

    in_world(story)
