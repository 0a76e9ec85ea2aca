"""Merging what the runtime shows into the facts: who ran, how it ended, what probes said.

Pure. Called only with a successful look at the runtime: a container that was started and is not
there any more is then certainly lost, and counts as ended with an unknown status.
"""

from __future__ import annotations

from dataclasses import replace

from edgeagent.pods.materials.origins import HASH, made_with
from edgeagent.pods.model import addresses, specs
from edgeagent.pods.model.causes import Cause
from edgeagent.pods.model.facts import (
    LOST_CODE,
    LOST_REASON,
    ContainerFacts,
    PodFacts,
    Termination,
)
from edgeagent.pods.model.view import Live, PodView
from edgeagent.pods.resources import amounts
from edgeagent.pods.rules.restarting import next_backoff
from edgeagent.runtime.port import Container, ContainerState
from edgeagent.runtime.users import ContainerUser
from shared.objects import Json

_LOST_MESSAGE = (
    "The container could not be located when the pod was deleted.  The container used to be Running"
)
"""In a kubelet's words, with its two blanks."""


def absorb(view: PodView) -> PodFacts:
    """The facts after this look."""
    facts = view.facts
    for container in specs.every_container(view.pod):
        name = container["name"]
        observed = view.newest(name)
        if observed is not None and (said := view.live.words.get(observed.id)):
            observed = replace(observed, message=": ".join(filter(None, (observed.message, said))))
        known = _seen(facts.container(name), observed, pod=view.pod, spec=container)
        if known is not None:
            facts = facts.with_container(name, _probed(known, view.live, container))
    attempts = [one.attempt for one in view.sandboxes]
    sandbox = view.sandbox
    return replace(
        facts,
        sandbox_attempt=max([facts.sandbox_attempt, *attempts]),
        ips=addresses.of_pod(sandbox.ips, view.node.named_ips) if sandbox else facts.ips,
    )


def _seen(
    known: ContainerFacts | None, observed: Container | None, *, pod: Json, spec: Json
) -> ContainerFacts | None:
    if observed is None or (known and observed.attempt < known.attempt):
        return known and _with_end(known, _lost(known))
    if known is None or observed.attempt > known.attempt:
        known = _begun(known, observed, pod=pod, spec=spec)
    known = replace(known, image=observed.image, image_id=observed.image_ref or known.image_id)
    if observed.user is not None:
        known = replace(known, user=_user(observed.user))
    if observed.stop_signal:
        known = replace(known, stop_signal=observed.stop_signal)
    if observed.started_at:
        known = replace(known, started_at=observed.started_at)
    if observed.state is ContainerState.EXITED:
        return _with_end(known, termination(observed))
    return known


def _user(found: ContainerUser) -> Json:
    user: Json = {"uid": found.uid, "gid": found.gid}
    return {**user, "supplementalGroups": list(found.groups)} if found.groups else user


def _begun(
    known: ContainerFacts | None, observed: Container, *, pod: Json, spec: Json
) -> ContainerFacts:
    """A container that the facts have not seen yet."""
    same_sandbox = known is not None and known.sandbox == observed.sandbox_id
    return ContainerFacts(
        attempt=observed.attempt,
        id=observed.id,
        sandbox=observed.sandbox_id,
        started_at=observed.started_at,
        previous=(known.ended or _lost(known)) if known else None,
        backoff=next_backoff(pod, known, spec, same_sandbox=same_sandbox) if known else 0,
        started="startupProbe" not in spec,
        ready=False,
        resources=made_with(observed, amounts.given(pod, spec)),
        identity=observed.annotations.get(HASH, ""),
    )


def _with_end(known: ContainerFacts, end: Termination) -> ContainerFacts:
    """The first end that was learned stays, unless it was a guess and now is known."""
    guessed = known.ended is not None and known.ended.reason == LOST_REASON
    if known.ended is not None and not (guessed and end.reason != LOST_REASON):
        return known
    return replace(known, ended=end, ready=False, started=False)


def _probed(known: ContainerFacts, live: Live, spec: Json) -> ContainerFacts:
    """Before a probe's first verdict the last known one stays, also across agents. Whose postStart
    hook failed has not started, though it runs until it is killed."""
    if known.ended is not None:
        return known
    hook_failed = live.unhealthy.get(known.id) is Cause.HOOK
    started = live.startup.get(known.id, known.started) and not hook_failed
    ready = live.readiness.get(known.id, known.ready) if "readinessProbe" in spec else started
    return replace(known, started=started, ready=started and ready)


def termination(container: Container) -> Termination:
    return Termination(
        exit_code=container.exit_code,
        reason=_reason(container),
        message=container.message,
        started_at=container.started_at,
        finished_at=container.finished_at,
        container_id=container.id,
    )


def _reason(container: Container) -> str:
    if container.reason:
        return container.reason
    return "Completed" if container.exit_code == 0 else "Error"


def _lost(known: ContainerFacts) -> Termination:
    return Termination(
        LOST_CODE, LOST_REASON, _LOST_MESSAGE, started_at=known.started_at, container_id=known.id
    )
