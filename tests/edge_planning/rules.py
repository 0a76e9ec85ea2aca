"""The judge: what holds of every plan, one sentence per function.

Called by ``device.py`` with each plan, before anything of it is done. A rule looks at the view
that the plan was made from and at the ledger of what truly happened; it never takes a plan's own
facts for an excuse. ``mutants.py`` shows of each kind of rule that it can fail. What may start is
judged by ``starting_rules.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from edgeagent.pods.model.actions import (
    Action,
    EnsureImage,
    Forget,
    RefreshVolumes,
    RemoveContainer,
    RemoveSandbox,
    RemoveVolumes,
    ResizeContainer,
    ResizePod,
    RunPreStop,
    StartContainer,
    StartSandbox,
    StopContainer,
    StopSandbox,
)
from edgeagent.pods.model.facts import PodFacts
from edgeagent.pods.model.view import Wanted, is_running
from edgeagent.pods.planning import planner
from edgeagent.pods.planning.draft import MINIMUM_GRACE
from edgeagent.runtime.port import Container, ContainerState, SandboxState
from shared.objects import Json
from tests.edge_planning import ledger as truth
from tests.edge_planning.ledger import Life
from tests.edge_planning.passes import Pass, rule

# The planner itself


@rule
def the_same_view_gives_the_same_plan(one: Pass) -> None:
    assert planner.plan(one.view, one.now) == one.plan


@rule
def the_facts_survive_being_stored(one: Pass) -> None:
    stored = json.loads(json.dumps(one.plan.facts.to_json()))
    assert PodFacts.from_json(stored) == one.plan.facts


@rule
def while_nobody_knows_what_is_wanted_nothing_is_done(one: Pass) -> None:
    if one.view.wanted is Wanted.UNKNOWN and not one.view.halted:
        assert not one.plan.actions and not one.plan.abandon
        assert one.plan.facts == one.view.facts


# Contradictions


@rule
def of_actions_about_one_thing_at_most_one_is_under_way(one: Pass) -> None:
    slots = [action.slot for action in one.doing]
    assert len(slots) == len(set(slots)), f"contradiction: {one.doing}"


@rule
def no_two_actions_undo_each_other(one: Pass) -> None:
    for first in one.doing:
        for second in one.doing:
            assert not _contradict(one, first, second), f"{first} and {second}"


@rule
def nothing_is_given_up_and_asked_for_in_one_plan(one: Pass) -> None:
    assert not set(one.plan.abandon) & set(one.plan.actions)


@rule
def what_is_forgotten_is_left_alone(one: Pass) -> None:
    if Forget() in one.doing:
        assert one.doing == [Forget()], f"{one.doing}"
        assert not one.view.sandboxes


def _contradict(one: Pass, first: Action, second: Action) -> bool:
    match first, second:
        case StopContainer(), (ResizeContainer() | RemoveContainer()):
            return first.container_id == second.container_id
        case StartContainer(), StopContainer():
            return first.name == second.name and second.container_id in one.alive()
        case StartContainer(), (StopSandbox() | RemoveSandbox()):
            return first.sandbox_id == second.sandbox_id
        case RemoveVolumes(), (StartSandbox() | StartContainer()):
            return True
    return False


@rule
def what_failed_waits_for_its_turn(one: Pass) -> None:
    for action in one.begun:
        trouble = one.view.live.troubles.get(action.slot)
        assert trouble is None or trouble.retry_at <= one.now.monotonic, f"{action} in a hurry"


# Stopping


@rule
def a_container_is_stopped_only_for_a_cause_that_was_there_before(one: Pass) -> None:
    for action, container in one.stops():
        causes = set(_causes(one, container))
        assert causes, f"{action}: nothing is wrong with it"
        expected = {"pod"} if one.pod_stops else {"shutdown"} if one.view.halted else causes
        assert action.cause in expected, f"{action}, but {expected}"


@rule
def a_pod_stops_only_for_a_cause(one: Pass) -> None:
    if one.plan.facts.stopping is not None and one.view.facts.stopping is None:
        assert one.ledger.pod_causes or one.view.refusal is not None


@rule
def a_pod_that_was_taken_up_is_not_refused(one: Pass) -> None:
    if one.plan.facts.final is not None and one.view.facts.final is None:
        refused = one.plan.facts.final.get("reason") == "OutOfcpu"
        assert not (refused and one.view.sandboxes)
        assert refused or one.view.refusal is None or one.ledger.pod_causes


@rule
def what_must_not_go_on_is_stopped_at_once(one: Pass) -> None:
    """Unless its own start or stop is under way, or an earlier try waits for its turn."""
    if one.all_stop or one.view.wanted is Wanted.UNKNOWN:
        return
    stopping = {one.container_id for one in one.doing if isinstance(one, StopContainer)}
    for container in one.view.running():
        starts = f"start/{container.name}" in one.view.live.slots
        waits = f"stop/{container.id}" in one.view.live.troubles
        causes = list(_certain_causes(one, container))
        if causes and not (starts or waits) and _newest(one, container):
            assert container.id in stopping, f"{container} runs on in spite of {causes}"


@rule
def nothing_that_runs_is_taken_away(one: Pass) -> None:
    for action in one.begun:
        match action:
            case RemoveContainer():
                assert action.container_id not in one.alive()
            case StopSandbox() | RemoveSandbox():
                assert not truth.lives_in(one.view, action.sandbox_id), f"{action}"
            case RemoveVolumes():
                assert not one.alive() and not one.view.sandbox


@rule
def sidecars_stop_after_the_containers_and_in_reverse(one: Pass) -> None:
    """Until the grace period is over: then whatever still runs is stopped together."""
    if not one.all_stop or one.now.monotonic >= one.stop_end() - 1e-3:
        return
    order = truth.names(one.view.pod, "initContainers")
    mains = truth.names(one.view.pod, "containers")
    for action, _ in one.stops():
        if not truth.is_sidecar(one.view.pod, action.name):
            continue
        for other in one.view.running():
            assert other.name not in mains, f"{action} before {other.name}"
            if truth.is_sidecar(one.view.pod, other.name):
                assert order.index(other.name) <= order.index(action.name), f"{action}"


@rule
def a_grace_period_is_neither_cut_short_nor_exceeded(one: Pass) -> None:
    if not one.trusted:
        return
    for action, container in one.stops():
        left = action.deadline - one.now.monotonic
        if not one.all_stop:
            own = _own_grace(one, action, container)
            assert left == (max(own, MINIMUM_GRACE) if own else 0.0)
            continue
        due = one.stop_end() - one.now.monotonic
        assert left <= max(due, MINIMUM_GRACE) + 1e-3, f"{action}: too late"
        assert left >= due - 1e-3, f"{action}: too soon"


@rule
def what_begins_anew_with_all_others_is_stopped_without_its_hook(one: Pass) -> None:
    for action, _ in one.stops():
        assert action.cause != "all" or not action.hook


@rule
def what_stops_gets_no_more_time_than_before(one: Pass) -> None:
    before, after = one.view.facts.stopping, one.plan.facts.stopping
    if before is not None and before.gone and one.view.wanted is Wanted.RUN:
        return  # Taken back; what stops it now, an eviction for one, is another stop.
    if before is not None and after is not None:
        assert after.grace <= before.grace
    if before is not None and not before.gone:
        assert after is not None, "a stop is not taken back"


@rule
def what_is_given_up_has_lost_its_purpose(one: Pass) -> None:
    asked = {a.container_id: a for a in one.plan.actions if isinstance(a, StopContainer)}
    for action in one.plan.abandon:
        match action:
            case StopContainer():
                sooner = asked.get(action.container_id)
                dead = action.container_id not in one.alive()
                assert dead or (sooner is not None and sooner.deadline < action.deadline)
            case StartContainer():
                stopped = {stop.name for stop, _ in one.stops()}
                began = {(life.name, life.attempt) for life in one.ledger.lives.values()}
                assert (action.name, action.attempt) in began, "only its hook is given up"
                home = [box for box in one.view.sandboxes if box.id == action.sandbox_id]
                left = [box for box in home if box.state is SandboxState.NOT_READY]
                assert one.all_end or action.name in stopped or left
            case EnsureImage():
                spec = truth.container_spec(one.view.pod, action.name)
                assert one.all_end or (spec and spec["image"] != action.image)
            case ResizeContainer():
                ids = {stop.container_id for stop, _ in one.stops()}
                assert one.all_end or action.container_id in ids
            case ResizePod():
                assert one.all_end
            case RunPreStop():
                assert action.container_id not in one.alive()
            case _:
                raise AssertionError(f"{action} is never given up")


def _newest(one: Pass, container: Container) -> bool:
    newest = one.view.newest(container.name)
    return newest is not None and newest.id == container.id


def _causes(one: Pass, container: Container) -> Iterator[str]:
    """Everything that may stop this container."""
    if one.ledger.pod_causes:
        yield "pod"
    yield from _certain_causes(one, container)
    life = one.ledger.lives.get(container.id)
    if life is not None:
        yield from life.causes
        yield from {"shutdown", "sandbox"} & life.asked
    if one.view.halted:
        yield "shutdown"


def _certain_causes(one: Pass, container: Container) -> Iterator[str]:
    """What is wrong with it at this moment."""
    if container.state is ContainerState.UNKNOWN:
        yield "unknown"
    yield from filter(None, [one.view.live.unhealthy.get(container.id)])
    life = one.ledger.lives.get(container.id)
    if one.ledger.all_begin_anew and container.name in truth.members(one.view.pod):
        yield "all"
    spec = truth.container_spec(one.view.pod, container.name)
    if life is not None and spec and not truth.runs_once(one.view.pod, container.name):
        if life.spec["image"] != spec["image"]:
            yield "spec"
        elif truth.resized_by_restart(life.spec["resources"], spec):
            yield "resize"
    home = next(box for box in one.view.sandboxes if box.id == container.sandbox_id)
    ready = [box for box in one.view.sandboxes if box.state is SandboxState.READY]
    newer = [box for box in ready if box.attempt > home.attempt]
    if home.state is not SandboxState.READY or any(
        truth.lives_in(one.view, box.id) for box in newer
    ):
        yield "sandbox"


def _own_grace(one: Pass, action: StopContainer, container: Container) -> float:
    """The probe's, where it has one and is the cause; else the pod's, if not all begin anew."""
    if action.cause == "all":
        return MINIMUM_GRACE
    spec = truth.container_spec(one.view.pod, container.name) or {}
    probe = spec.get(f"{action.cause}Probe") or {}
    return float(
        probe.get(
            "terminationGracePeriodSeconds", one.view.pod["spec"]["terminationGracePeriodSeconds"]
        )
    )


# Resizes


@rule
def the_pod_as_a_whole_is_resized_after_its_containers(one: Pass) -> None:
    """And not beside a start, which could still give it what it had before."""
    if ResizePod() not in one.begun:
        return
    assert not [a for a in one.kept if isinstance(a, StartContainer) and one.view.is_starting(a)]
    for container in one.view.running():
        spec = truth.container_spec(one.view.pod, container.name)
        life = one.ledger.lives.get(container.id)
        if spec and life and not life.doubtful and container.name in truth.members(one.view.pod):
            assert life.spec["resources"] == (spec.get("resources") or {}), f"before {life}"


# The end


@rule
def an_ended_pod_has_nothing_that_lives(one: Pass) -> None:
    if one.plan.facts.final is not None and one.view.facts.final is None:
        starting = [a for a in one.kept if isinstance(a, (StartContainer, StartSandbox))]
        assert not starting and not one.alive()


@rule
def a_pod_that_rests_has_nothing_that_lives(one: Pass) -> None:
    if one.plan.rests and one.plan.facts.final is None:
        assert not one.alive() or not one.view.halted
        assert not [a for a in one.begun if isinstance(a, (StartContainer, StartSandbox))]


@rule
def the_last_status_stays(one: Pass) -> None:
    before = one.view.facts
    if before.final is None or one.view.wanted is Wanted.UNKNOWN:
        return
    wanted_again = before.stopping is not None and before.stopping.gone
    if not (wanted_again and one.view.wanted is Wanted.RUN):
        assert one.plan.facts.final == before.final == one.plan.status


# The status


@rule
def the_status_tells_of_every_container_what_is_so(one: Pass) -> None:
    if one.plan.status is None or one.plan.facts.final is not None:
        return
    if not one.view.taken_up:
        return
    listed = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
    told = {row["name"]: row for group in listed for row in one.plan.status.get(group, ())}
    assert list(told) == [
        *truth.names(one.view.pod, "initContainers"),
        *sorted(truth.names(one.view.pod, "containers")),
        *sorted(truth.names(one.view.pod, "ephemeralContainers")),
    ]
    for name, row in told.items():
        _judge_row(row, one.view.newest(name), one.ledger.newest(name))


def _judge_row(row: Json, seen: Container | None, life: Life | None) -> None:
    assert len(row["state"]) == 1
    if seen is not None and life is not None and seen.id == life.id:
        assert row["restartCount"] == seen.attempt
        if "running" in row["state"]:
            assert is_running(seen) and row["containerID"].endswith(seen.id)
        elif is_running(seen):
            assert row["state"]["waiting"], "its postStart hook is under way"
        if "terminated" in row["state"]:
            assert row["state"]["terminated"]["exitCode"] == life.code
    if row["ready"] and "running" not in row["state"]:
        assert row["state"]["terminated"]["exitCode"] == 0, "an init container that is done"


@rule
def refreshed_volumes_are_there_already(one: Pass) -> None:
    for action in one.begun:
        if isinstance(action, RefreshVolumes):
            assert one.view.live.volumes_ready
