"""Bugs planted on purpose, which the properties must find: each is a patch of the real planner.

Several are bugs that the properties once found in it; the others are what a tired engineer might
write. A mutant may name what happens in the histories that hunt for it, so that it is met soon.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from edgeagent.pods.live import LivePod
from edgeagent.pods.model import specs
from edgeagent.pods.model.causes import Cause
from edgeagent.pods.model.facts import PodFacts
from edgeagent.pods.model.view import PodView, Wanted
from edgeagent.pods.planning import absorbing, endings, planner, restarting_all, starting, stopping
from edgeagent.pods.planning.draft import Draft
from edgeagent.pods.rules import resizing, restarting
from shared.objects import Json
from tests.edge_planning.happenings import Happening
from tests.edge_planning.histories import deaths, lives
from tests.edge_planning.properties import (
    PROPERTIES,
    a_wanted_pod_comes_to_rest_with_all_running_that_should,
    an_unwanted_pod_ends,
)
from tests.edge_planning.random_pods import pods

Plant = Callable[[ExitStack], None]
Property = Callable[[Json, list[Happening], list[Happening]], None]
EXAMPLES = 4_000


@dataclass(frozen=True)
class Mutant:
    plant: Plant
    kinds: tuple[str, ...]
    by: Property | None


MUTANTS: dict[str, Mutant] = {}


def mutant(*kinds: str, by: Property | None = None) -> Callable[[Plant], Plant]:
    """``by`` is the property that is to find it; left out, any of them may."""

    def register(plant: Plant) -> Plant:
        MUTANTS[plant.__name__] = Mutant(plant, kinds, by)
        return plant

    return register


def patch(stack: ExitStack, where: Any, name: str, value: Any) -> None:
    stack.enter_context(mock.patch.object(where, name, value))


def hunt(name: str) -> str:
    """How the first history that shows the bug breaks a property; empty when none does."""
    found: list[str] = []
    planted = MUTANTS[name]
    properties = PROPERTIES if planted.by is None else (planted.by,)
    wanted = pods(anew=ANEW in planted.kinds)
    with ExitStack() as stack:
        planted.plant(stack)

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            report_multiple_bugs=False,
        )
        @given(st.sampled_from(properties), wanted, lives(*planted.kinds, longest=20), deaths())
        def look_for_it(
            holds: Property, pod: Json, life: list[Happening], death: list[Happening]
        ) -> None:
            try:
                holds(pod, life, death)
            except Exception as error:
                found.append(
                    f"{getattr(holds, '__name__', holds)}: {type(error).__name__}: {error}"
                )
                raise

        with suppress(Exception):
            look_for_it()
    return found[0] if found else ""


# Stopping


@mutant("a_readiness_probe_changes_its_mind")
def what_is_not_ready_is_restarted(stack: ExitStack) -> None:
    decide = starting._cause_to_stop

    def hasty(view: PodView, observed: Any, *, spec: Json, known: Any) -> Cause:
        unready = view.live.readiness.get(observed.id) is False
        return Cause.LIVENESS if unready else decide(view, observed, spec=spec, known=known)

    patch(stack, starting, "_cause_to_stop", hasty)


@mutant("a_resize")
def every_resize_restarts(stack: ExitStack) -> None:
    patch(stack, starting, "_resize_restarts", lambda pod, spec, known: True)


@mutant("a_liveness_probe_fails")
def a_failed_probe_stops_nothing(stack: ExitStack) -> None:
    decide = starting._cause_to_stop

    def patient(view: PodView, observed: Any, *, spec: Json, known: Any) -> str:
        view = replace(view, live=replace(view.live, unhealthy={}))
        return decide(view, observed, spec=spec, known=known)

    patch(stack, starting, "_cause_to_stop", patient)


@mutant()
def sidecars_stop_first(stack: ExitStack) -> None:
    patch(stack, stopping, "_is_its_turn", lambda view, one, running: True)


@mutant("time_passes", by=an_unwanted_pod_ends)
def a_grace_period_begins_anew_at_every_look(stack: ExitStack) -> None:
    stop = Draft.stop

    def again(self: Draft, one: Any, *, since: float, **how: Any) -> None:
        stop(self, one, since=self.now.monotonic, **how)

    patch(stack, Draft, "stop", again)


@mutant()
def what_nobody_knows_counts_as_gone(stack: ExitStack) -> None:
    plan = planner.plan

    def rash(view: PodView, now: Any) -> Any:
        gone = view.wanted is Wanted.UNKNOWN
        return plan(replace(view, wanted=Wanted.GONE) if gone else view, now)

    patch(stack, planner, "plan", rash)


@mutant()
def a_pod_ends_before_its_containers(stack: ExitStack) -> None:
    patch(stack, endings, "something_lives", lambda view: False)


@mutant("a_container_exits")
def a_hook_that_hangs_holds_up_the_end(stack: ExitStack) -> None:
    patch(stack, PodView, "is_in_hook", lambda self, start: False)


# All containers begin anew

ANEW = "a_container_ends_so_that_all_may_begin_anew"


@mutant(ANEW)
def only_what_ended_begins_anew(stack: ExitStack) -> None:
    patch(stack, restarting_all, "decided", lambda view: view.facts)


@mutant(ANEW)
def only_what_has_ended_already_begins_anew(stack: ExitStack) -> None:
    patch(stack, restarting_all, "_something_lives", lambda view: False)


@mutant(ANEW)
def init_containers_do_not_run_again(stack: ExitStack) -> None:
    def began(view: PodView, container: Json) -> bool:
        known, sandbox = view.facts.container(container["name"]), view.sandbox
        return known is not None and sandbox is not None and known.sandbox == sandbox.id

    patch(stack, starting, "_began_here", began)


@mutant(ANEW)
def all_begin_anew_twice(stack: ExitStack) -> None:
    """What was the cause is not remembered until it starts again."""
    killed = restarting_all._killed

    def forgetful(facts: PodFacts, name: str, cause: Cause) -> PodFacts:
        return facts if cause is Cause.SOURCE else killed(facts, name, cause)

    patch(stack, restarting_all, "_killed", forgetful)


@mutant(ANEW, "a_container_succeeds", by=a_wanted_pod_comes_to_rest_with_all_running_that_should)
def what_had_ended_for_good_does_not_begin_anew(stack: ExitStack) -> None:
    killed = restarting_all._killed

    def choosy(facts: PodFacts, name: str, cause: Cause) -> PodFacts:
        known = facts.container(name)
        well = known is not None and known.ended is not None and known.ended.exit_code == 0
        return facts if well and cause is Cause.ALL else killed(facts, name, cause)

    patch(stack, restarting_all, "_killed", choosy)


@mutant(ANEW, "somebody_debugs")
def a_debug_container_begins_anew_too(stack: ExitStack) -> None:
    patch(stack, restarting_all, "_living", lambda view: view.running())


@mutant(ANEW)
def something_starts_while_all_are_stopped(stack: ExitStack) -> None:
    def stop(draft: Draft) -> None:
        starting.start(draft)
        halt(draft)

    halt = restarting_all.stop
    patch(stack, restarting_all, "stop", stop)


# Starting


@mutant("a_container_exits")
def what_ended_always_starts_again(stack: ExitStack) -> None:
    patch(stack, restarting, "restarts", lambda pod, container, known: True)


@mutant("a_container_crashes_twice")
def a_crash_does_not_wait(stack: ExitStack) -> None:
    patch(stack, restarting, "delay_after", lambda view, spec, known: 0)


@mutant("a_container_exits")
def a_failed_init_container_counts_as_done(stack: ExitStack) -> None:
    patch(stack, starting, "_succeeded_here", starting._began_here)


@mutant(
    "an_init_container_fails_in_another_sandbox",
    by=a_wanted_pod_comes_to_rest_with_all_running_that_should,
)
def a_failed_init_container_is_forgiven_where_a_container_has_ever_run(stack: ExitStack) -> None:
    patch(stack, endings, "_main_began_after", _any_main)


@mutant(
    ANEW,
    "an_init_container_fails_after_all_began_anew",
    by=a_wanted_pod_comes_to_rest_with_all_running_that_should,
)
def a_failed_init_container_is_forgiven_where_all_have_begun_anew(stack: ExitStack) -> None:
    patch(stack, endings, "_main_began_after", _any_main)


def _any_main(view: PodView, init: Any) -> bool:
    return any(view.facts.container(one["name"]) for one in specs.mains(view.pod))


@mutant("a_new_image", "an_operation_fails")
def an_image_is_at_hand_whatever_the_spec_names_now(stack: ExitStack) -> None:
    def has_image(draft: Draft, container: Json) -> bool:
        if container["name"] in draft.view.live.images:
            return True
        return has(draft, container)

    has = starting._has_image
    patch(stack, starting, "_has_image", has_image)


@mutant(
    "a_resize_of_the_pod_as_a_whole",
    by=a_wanted_pod_comes_to_rest_with_all_running_that_should,
)
def only_containers_are_resized(stack: ExitStack) -> None:
    patch(stack, resizing, "only_the_pod_is_left", lambda view: False)


@mutant("a_resize_of_the_pod_as_a_whole")
def the_pod_as_a_whole_is_resized_first(stack: ExitStack) -> None:
    patch(stack, resizing, "_resized_containers", lambda view: False)


@mutant("a_resize_of_the_pod_as_a_whole", "a_container_exits")
def the_pod_as_a_whole_is_resized_beside_a_start(stack: ExitStack) -> None:
    patch(stack, resizing, "_is_being_started", lambda view: False)


@mutant("a_resize", "a_resize", by=a_wanted_pod_comes_to_rest_with_all_running_that_should)
def a_container_has_the_resources_of_the_spec_that_is_there_when_it_is_seen(
    stack: ExitStack,
) -> None:
    patch(stack, absorbing, "made_with", lambda made, otherwise: otherwise)


@mutant(
    "the_runtime_loses_a_container",
    "a_container_crashes_twice",
    by=a_wanted_pod_comes_to_rest_with_all_running_that_should,
)
def the_back_off_of_what_was_lost_never_ends(stack: ExitStack) -> None:
    patch(stack, LivePod, "_ended_by_the_facts", lambda self: {})


@mutant("the_power_is_cut", "the_pause_container_dies")
def two_sandboxes_have_one_number(stack: ExitStack) -> None:
    act = Draft.act

    def same(self: Draft, action: Any) -> bool:
        if isinstance(action, starting.StartSandbox):
            action = replace(action, attempt=0)
        return act(self, action)

    patch(stack, Draft, "act", same)


@mutant("an_operation_fails")
def what_failed_is_tried_again_at_once(stack: ExitStack) -> None:
    act = Draft.act

    def eager(self: Draft, action: Any) -> bool:
        live = replace(self.view.live, troubles={})
        calm, self.view = self.view, replace(self.view, live=live)
        try:
            return act(self, action)
        finally:
            self.view = calm

    patch(stack, Draft, "act", eager)


@mutant()
def a_sandbox_waits_for_no_volumes(stack: ExitStack) -> None:
    prepare = starting._prepare

    def hasty(draft: Draft) -> None:
        prepare(draft)
        if draft.view.sandbox is None:
            draft.act(starting.StartSandbox(draft.view.facts.sandbox_attempt + 1))

    patch(stack, starting, "_prepare", hasty)


@mutant()
def images_wait_for_no_volumes(stack: ExitStack) -> None:
    begin = starting._begin

    def hasty(draft: Draft, container: Json, *, attempt: int) -> None:
        starting._has_image(draft, container)
        begin(draft, container, attempt=attempt)

    patch(stack, starting, "_begin", hasty)


# The planner itself


@mutant("an_operation_succeeds", by=an_unwanted_pod_ends)
def one_slot_takes_several_actions(stack: ExitStack) -> None:
    patch(stack, Draft, "slots", lambda self: set())


@mutant("an_operation_fails", "a_container_crashes_twice")
def nobody_says_when_to_look_again(stack: ExitStack) -> None:
    patch(stack, Draft, "at", lambda self, monotonic: None)


@mutant()
def a_plan_depends_on_how_often_it_was_asked_for(stack: ExitStack) -> None:
    asked = itertools.count()
    grace_of = specs.grace_of
    patch(stack, specs, "grace_of", lambda pod: grace_of(pod) + next(asked) % 2)


@mutant("a_container_crashes_twice")
def dead_containers_pile_up(stack: ExitStack) -> None:
    patch(stack, starting, "_collect_dead", lambda draft: None)
