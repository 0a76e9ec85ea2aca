"""The restart rule action RestartAllContainers: every container of the pod begins anew. Pure.

A container that ends with such a code is the source. All others are stopped, without hooks and
with no more than the least grace; then the pod starts as for the first time, init containers
first, in the same sandbox and on the same volumes. Ephemeral containers are left alone. Only the
source waits for its back-off. Called by ``planner.py`` for a pod that should run.
"""

from __future__ import annotations

from dataclasses import replace

from edgeagent.pods.model import specs
from edgeagent.pods.model.actions import StartContainer
from edgeagent.pods.model.causes import BY_PROBE, REMEMBERED, Cause
from edgeagent.pods.model.facts import PodFacts
from edgeagent.pods.model.view import PodView
from edgeagent.pods.planning import stopping
from edgeagent.pods.planning.draft import MINIMUM_GRACE, Draft
from edgeagent.pods.rules import restarting
from edgeagent.pods.rules.restarting import RESTART_ALL
from edgeagent.runtime.port import Container
from shared.objects import Json


def decided(view: PodView) -> PodFacts:
    """The facts with the restart begun, or with everything ready to start anew."""
    facts = view.facts
    sources = [one["name"] for one in _members(view.pod) if _is_source(view, one)]
    for name in sources:
        facts = _killed(facts, name, Cause.SOURCE)
    facts = replace(facts, restarting_all=facts.restarting_all or bool(sources))
    if not facts.restarting_all or _something_lives(view):
        return facts
    for one in _members(view.pod):
        known = facts.container(one["name"])
        if known is not None and known.killed is not Cause.SOURCE:
            facts = _killed(facts, one["name"], Cause.ALL)
    return replace(facts, restarting_all=False)


def stop(draft: Draft) -> None:
    stopping.give_up_starting(draft)
    for one in _living(draft.view):
        since = draft.now.monotonic
        draft.stop(one, since=since, grace=MINIMUM_GRACE, cause=Cause.ALL, hook=False)


def _members(pod: Json) -> list[Json]:
    return [*specs.inits(pod), *specs.mains(pod)]


def _is_source(view: PodView, container: Json) -> bool:
    """Ended by itself, or killed for its probe, in this sandbox, with a code of such a rule."""
    known, sandbox = view.facts.container(container["name"]), view.sandbox
    if known is None or known.ended is None or sandbox is None or known.sandbox != sandbox.id:
        return False
    if known.killed in REMEMBERED - BY_PROBE - {Cause.HOOK}:
        return False
    rule = restarting.rule_for(container, known.ended.exit_code)
    return rule is not None and rule.get("action") == RESTART_ALL


def _killed(facts: PodFacts, name: str, cause: Cause) -> PodFacts:
    known = facts.container(name)
    return facts if known is None else facts.with_container(name, replace(known, killed=cause))


def _living(view: PodView) -> list[Container]:
    names = {one["name"] for one in _members(view.pod)}
    return [one for one in view.running() if one.name in names]


def _something_lives(view: PodView) -> bool:
    """Of a start whose container has ended meanwhile, only a postStart hook is left."""
    starts = [one for one in view.live.under_way if isinstance(one, StartContainer)]
    return any(map(view.is_starting, starts)) or bool(_living(view))
