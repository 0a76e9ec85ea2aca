"""Whether an ended container starts again, and after how long. Pure.

The kubelet's rules: restartPolicy of the pod, or of the container where it has one with its exit
code rules; back-off of 10 s doubling to 5 min, forgotten after 10 min of running and when the spec
asks for another image or size. What ended with its sandbox (a device that lost power) did not
crash and does not wait.
"""

from __future__ import annotations

from edgeagent.pods.model import specs
from edgeagent.pods.model.causes import ANEW, BY_PROBE, Cause
from edgeagent.pods.model.facts import ContainerFacts
from edgeagent.pods.model.view import PodView
from edgeagent.pods.resources import amounts
from shared.objects import Json

FIRST_BACKOFF = 10
MOST_BACKOFF = 300
GOOD_RUN_SECONDS = 600

RESTART_ALL = "RestartAllContainers"
"""The action of a rule by which the whole pod begins anew."""


def restarts(pod: Json, container: Json, known: ContainerFacts) -> bool:
    """Whether this container, which has ended, is to be started again."""
    assert known.ended is not None
    if any(container["name"] == one["name"] for one in specs.ephemerals(pod)):
        return False
    if known.killed in ANEW | {Cause.SOURCE, Cause.UNKNOWN}:
        return True
    not_its_own = known.killed in BY_PROBE | {Cause.SHUTDOWN, Cause.SANDBOX}
    if not_its_own and policy_of(pod, container) != "Never":
        return True
    if specs.runs_once(pod, container) and known.ended.failed_to_initialize:
        return rule_for(container, known.ended.exit_code) is not None or (
            policy_of(pod, container) != "Never"
        )
    return restarts_after(pod, container, known.ended.exit_code)


def restarts_after(pod: Json, container: Json, exit_code: int) -> bool:
    """Whether a container that ended by itself with this exit code is started again."""
    if specs.is_sidecar(container) and any(one is container for one in specs.inits(pod)):
        return True
    if rule_for(container, exit_code) is not None:
        return True
    policy = policy_of(pod, container)
    if policy == "Always" and not any(one is container for one in specs.inits(pod)):
        return True
    return policy != "Never" and exit_code != 0


def may_restart_all(pod: Json) -> bool:
    return any(
        rule.get("action") == RESTART_ALL
        for one in (*specs.inits(pod), *specs.mains(pod))
        for rule in one.get("restartPolicyRules") or ()
    )


def comes_back(pod: Json) -> bool:
    """Whether something of the pod is started again after a boot."""
    return any(policy_of(pod, one) != "Never" for one in specs.mains(pod))


def began_in(known: ContainerFacts | None, sandbox_id: str) -> bool:
    """Whether it began in this sandbox, and not before all containers were to begin anew."""
    return (
        known is not None
        and known.sandbox == sandbox_id
        and known.killed not in (Cause.ALL, Cause.SOURCE)
    )


def main_began_in(view: PodView, sandbox_id: str) -> bool:
    """Whether one of the containers did, so that all init containers had let them."""
    mains = specs.mains(view.pod)
    return any(began_in(view.facts.container(one["name"]), sandbox_id) for one in mains)


def policy_of(pod: Json, container: Json) -> str:
    """The container's own word, else the pod's."""
    return container.get("restartPolicy") or specs.restart_policy(pod)


def rule_for(container: Json, exit_code: int) -> Json | None:
    """The first rule that matches; all that there are start the container again."""
    for rule in container.get("restartPolicyRules") or ():
        codes = rule.get("exitCodes") or {}
        listed = exit_code in (codes.get("values") or ())
        if listed == (codes.get("operator") == "In"):
            return dict(rule)
    return None


def is_another(pod: Json, known: ContainerFacts, spec: Json) -> bool:
    """Whether the spec asks for another image or size than that which ran: it may do better."""
    resized = known.resources != amounts.given(pod, spec)
    return resized or known.identity not in ("", specs.identity(spec))


def delay_after(view: PodView, spec: Json, known: ContainerFacts) -> int:
    """Seconds between the end of the container and its next start."""
    sandbox = view.sandbox
    lost_with_sandbox = sandbox is None or sandbox.id != known.sandbox
    if lost_with_sandbox or known.killed in ANEW | {Cause.SHUTDOWN} or _ran_well(known):
        return 0
    return 0 if is_another(view.pod, known, spec) else known.backoff


def next_backoff(pod: Json, known: ContainerFacts, spec: Json, *, same_sandbox: bool) -> int:
    """The back-off of the container that follows ``known``: what its own end will wait for."""
    if known.killed in ANEW:
        return 0
    if not same_sandbox or known.killed is Cause.SHUTDOWN:
        return known.backoff
    if known.backoff == 0 or _ran_well(known) or is_another(pod, known, spec):
        return FIRST_BACKOFF
    return min(known.backoff * 2, MOST_BACKOFF)


def due_at(view: PodView, spec: Json, known: ContainerFacts, now: float) -> float:
    """Monotonic moment at which the container may start again."""
    return view.live.exits.get(known.id, now) + delay_after(view, spec, known)


def _ran_well(known: ContainerFacts) -> bool:
    ended = known.ended
    if ended is None or not ended.started_at or not ended.finished_at:
        return False
    return ended.finished_at - ended.started_at >= GOOD_RUN_SECONDS * 10**9
