"""When a pod as a whole stops running, and when it has ended. Pure.

Owns the list of legitimate causes: refused at admission, being deleted, certainly not desired any
more, evicted, past its deadline, done by its own restart policy, or never started again on a device
that shuts down. Nothing else ever stops a pod.
"""

from __future__ import annotations

from dataclasses import replace

from edgeagent.pods.model import specs
from edgeagent.pods.model.facts import ContainerFacts, PodFacts, Stopping
from edgeagent.pods.model.view import Moment, PodView, Wanted
from edgeagent.pods.rules import restarting
from edgeagent.pods.status import podstatus
from shared.objects import Json

EVICTED_GRACE = 1
"""Seconds, of a pod that must go in a hurry."""
DEADLINE_REASON = "DeadlineExceeded"
DEADLINE_MESSAGE = "Pod was active on the node longer than the specified deadline"


def decided(view: PodView, now: Moment) -> PodFacts:
    """The facts with a stop begun or shortened, or with the final status, when it is time."""
    facts = view.facts
    if facts.stopping and facts.stopping.gone and view.wanted is Wanted.RUN:
        facts = replace(facts, stopping=None, final=None)
        view = replace(view, facts=facts)
    if facts.final is not None:
        return facts
    if view.refusal is not None and not view.taken_up:
        return _refused(view, now)
    facts = replace(facts, admitted=facts.admitted or view.wanted is Wanted.RUN)
    stopping = _stopping(replace(view, facts=facts), now)
    facts = replace(facts, stopping=_hurried(stopping, view, now))
    if facts.stopping is None or something_lives(view):
        return facts
    final = podstatus.final_status(replace(view, facts=facts), now, facts.stopping)
    return replace(facts, final=final)


def _refused(view: PodView, now: Moment) -> PodFacts:
    assert view.refusal is not None
    stopping = Stopping(0, now.wall, "Failed", view.refusal.reason, view.refusal.message)
    refused = replace(view.facts, stopping=stopping)
    return replace(refused, final=podstatus.refused_status(view, now, stopping))


def _stopping(view: PodView, now: Moment) -> Stopping | None:
    before = view.facts.stopping
    if view.wanted in (Wanted.DELETE, Wanted.GONE):
        grace = specs.grace_of(view.pod) if view.grace is None else view.grace
        if before is None:
            return Stopping(grace, now.wall, gone=view.wanted is Wanted.GONE)
        return replace(before, grace=grace, at=now.wall) if grace < before.grace else before
    if before is not None:
        return before
    if evicted := view.live.eviction:
        grace = EVICTED_GRACE if evicted.hurried else specs.grace_of(view.pod)
        stopping = Stopping(grace, now.wall, "Failed", evicted.reason, evicted.message)
        return replace(stopping, disruption=evicted.disruption, condition=evicted.condition)
    if _overdue(view, now):
        grace = specs.grace_of(view.pod)
        return Stopping(grace, now.wall, "Failed", DEADLINE_REASON, DEADLINE_MESSAGE)
    # While all are stopped to begin anew, how one of them ends decides nothing.
    if not view.facts.restarting_all:
        if _init_failed(view):
            return Stopping(specs.grace_of(view.pod), now.wall, "Failed")
        if all(_is_done(view, one) for one in specs.mains(view.pod)):
            return Stopping(specs.grace_of(view.pod), now.wall)
    if view.halted and _began(view) and not restarting.comes_back(view.pod):
        grace = specs.grace_of(view.pod)
        words = podstatus.TERMINATED_REASON, podstatus.TERMINATED_MESSAGE
        return Stopping(grace, now.wall, "Failed", *words, disruption=True)
    return None


def _hurried(stopping: Stopping | None, view: PodView, now: Moment) -> Stopping | None:
    """A stop, whatever for, gets no longer than a device that shuts down has left for it."""
    most = view.live.shutdown.grace if view.live.shutdown else None
    if stopping is None or most is None or stopping.grace <= most:
        return stopping
    return replace(stopping, grace=most, at=now.wall)


def _overdue(view: PodView, now: Moment) -> bool:
    deadline = specs.deadline_of(view.pod)
    return deadline is not None and now.monotonic >= view.live.since + deadline


def _is_done(view: PodView, container: Json) -> bool:
    known = view.facts.container(container["name"])
    if known is None or known.ended is None:
        return False
    return not restarting.restarts(view.pod, container, known)


def _init_failed(view: PodView) -> bool:
    return any(
        known is not None
        and known.ended is not None
        and known.ended.failed_to_initialize
        and not restarting.restarts(view.pod, one, known)
        and not _main_began_after(view, known)
        for one in specs.inits(view.pod)
        for known in (view.facts.container(one["name"]),)
    )


def _began(view: PodView) -> bool:
    return any(view.facts.container(one["name"]) for one in specs.every_container(view.pod))


def _main_began_after(view: PodView, init: ContainerFacts) -> bool:
    """What ran in the sandbox before, or before all began anew, says nothing about this start."""
    return restarting.main_began_in(view, init.sandbox)


def something_lives(view: PodView) -> bool:
    """Whatever is being started counts: it must be seen and stopped before the end."""
    return any(map(view.is_starting, view.live.under_way)) or bool(view.running())
