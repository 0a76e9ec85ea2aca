"""The pod machine's mind: what to do next for one pod. Pure.

``plan`` looks at everything that is known about a pod at one moment and answers with the facts
as they are now, the actions that should be under way, those that must be given up, and when to
look again though nothing happens. It never acts, never waits, and may be asked any number of
times: the same view gives the same plan.

A pod moves one way only: it runs (``starting``), then it stops (``stopping``), then it
has ended and is cleaned up (``cleaning``). What is not known for certain stops nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgeagent.pods.model.actions import Action, StopContainer
from edgeagent.pods.model.causes import REMEMBERED
from edgeagent.pods.model.facts import PodFacts
from edgeagent.pods.model.view import Moment, PodView, Wanted
from edgeagent.pods.planning import cleaning, endings, restarting_all, starting, stopping
from edgeagent.pods.planning.absorbing import absorb
from edgeagent.pods.planning.draft import Draft
from edgeagent.pods.rules import resizing
from edgeagent.pods.status.podstatus import current, waiting_status
from shared.objects import Json


@dataclass(frozen=True, slots=True)
class Plan:
    facts: PodFacts
    """To be stored before any of the actions is begun."""
    actions: tuple[Action, ...] = ()
    """To be begun unless they are under way."""
    abandon: tuple[Action, ...] = ()
    """Under way, and to be given up."""
    due: float | None = None
    """Monotonic moment of the next look; None = only when something happens."""
    status: Json | None = None
    """v1.PodStatus at this moment; None when nothing can be said."""
    rests: bool = False
    """Nothing of the pod runs, and nothing will be started while things stand as they do."""


def plan(view: PodView, now: Moment) -> Plan:
    if view.wanted is Wanted.UNKNOWN and not view.halted:
        return Plan(view.facts)
    if view.live.shutdown is not None and not view.taken_up and view.facts.final is None:
        return Plan(view.facts, status=waiting_status(view), rests=True)
    facts = absorb(view)
    view = replace(view, facts=replace(facts, started_at=facts.started_at or now.wall))
    if view.wanted is not Wanted.UNKNOWN:
        view = _with(view, endings.decided(view, now), now)
        if view.facts.stopping is None and view.facts.final is None and not view.halted:
            view = replace(view, facts=restarting_all.decided(view))
    draft = Draft(view, now)
    if view.facts.final is not None:
        cleaning.clean(draft)
    elif view.facts.stopping is not None:
        stopping.stop(draft)
    elif view.halted:
        stopping.halt(draft)
    elif view.facts.restarting_all:
        restarting_all.stop(draft)
    else:
        starting.start(draft)
    view = replace(view, facts=resizing.settled(view))
    facts, status = _with_status(view, now)
    facts = _with_causes(facts, draft.actions)
    rests = facts.final is not None or (view.halted and not endings.something_lives(view))
    return Plan(facts, tuple(draft.actions), tuple(draft.abandon), draft.due, status, rests)


def _with_status(view: PodView, now: Moment) -> tuple[PodFacts, Json]:
    if view.facts.final is not None:
        return view.facts, view.facts.final
    status, conditions = current(view, now)
    return replace(view.facts, conditions=conditions), status


def _with(view: PodView, facts: PodFacts, now: Moment) -> PodView:
    """The view after a decision; the clock of a stop starts when the stop was decided."""
    if facts.stopping is None or facts.stopping == view.facts.stopping:
        return replace(view, facts=facts)
    return replace(view, facts=facts, live=replace(view.live, stopping_since=now.monotonic))


def _with_causes(facts: PodFacts, actions: list[Action]) -> PodFacts:
    """Why a container is stopped decides later whether it is started again."""
    for action in actions:
        if isinstance(action, StopContainer) and action.cause in REMEMBERED:
            known = facts.container(action.name)
            if known is not None and known.id == action.container_id:
                facts = facts.with_container(action.name, replace(known, killed=action.cause))
    return facts
