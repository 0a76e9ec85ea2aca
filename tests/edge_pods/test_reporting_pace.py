"""How long a report of a pod may wait for company."""

from __future__ import annotations

from edgeagent.pods.reporting.urgency import AT_ONCE, BEGINNING, SOON, within
from shared.objects import Json


def a_status(phase: str, *states: Json, inits: tuple[Json, ...] = ()) -> Json:
    return {
        "phase": phase,
        "initContainerStatuses": [{"state": one, "restartCount": 0} for one in inits],
        "containerStatuses": [{"state": one, "restartCount": 0} for one in states],
    }


def waiting(reason: str) -> Json:
    return {"waiting": {"reason": reason}}


RUNS: Json = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
BEGINS = a_status("Pending", waiting("ContainerCreating"))


def pace(after: Json, *, before: Json | None = None, deleting: bool = False) -> float:
    return within(before, after, deleting=deleting, finished=False)


def test_that_a_pod_runs_goes_at_once() -> None:
    assert pace(a_status("Running", RUNS), before=BEGINS) == AT_ONCE


def test_that_a_pod_is_being_created_waits_until_most_pods_run() -> None:
    assert pace(BEGINS) == BEGINNING
    assert pace(a_status("Pending", waiting("PodInitializing"))) == BEGINNING


def test_a_pod_that_waits_for_the_next_boot_says_so_soon() -> None:
    assert pace({"phase": "Pending"}) == SOON
    assert pace({**BEGINS, "reason": "Waiting"}) == SOON


def test_what_is_wrong_does_not_wait_as_long() -> None:
    assert pace(a_status("Pending", waiting("ErrImagePull"))) == SOON
    both = a_status("Pending", waiting("ContainerCreating"), waiting("CreateContainerError"))
    assert pace(both) == SOON


def test_an_init_container_that_runs_is_told_soon() -> None:
    status = a_status("Pending", waiting("PodInitializing"), inits=(RUNS,))
    assert pace(status) == SOON


def test_before_the_end_of_a_deletion_there_is_time_and_then_none() -> None:
    assert pace(BEGINS, deleting=True) == SOON
    assert within(BEGINS, BEGINS, deleting=True, finished=True) == AT_ONCE
