"""Which pods must go so that a critical one can be taken up. Pure.

Critical are static pods and those of a priority that is reserved for the system; everybody else
makes room for them, and they for one of higher priority. Chosen are as few as possible, those of a
lower class first, and of those the ones that asked for little: the choice is a kubelet's. Called by
``podmaterials.py`` for a pod that waits at the door, again and again until it fits.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from fractions import Fraction

from edgeagent.pods.admission import refusals
from edgeagent.pods.model import specs
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.model.view import Eviction, Refusal
from edgeagent.pods.resources import amounts, kernel, quantities
from edgeagent.pods.resources.amounts import Amounts
from shared.objects import Json

REASON = "Preempting"
EVICTION = Eviction(
    "Preempted in order to admit critical pod",
    reason=REASON,
    condition="Pod was preempted by Kubelet to accommodate a critical pod.",
    hurried=False,
)


def in_the_way(
    pod: Json, others: Collection[Json], leaving: Collection[str], node: NodeFacts
) -> set[str]:
    """Uids of the pods that must have ended before this one fits; empty when it fits, and when
    nobody can make the room. Those that are ``leaving`` anyway are counted on first."""
    if not kernel.is_critical(pod) or not refusals.shortage(pod, others, node):
        return set()
    staying = [one for one in others if specs.uid_of(one) not in leaving]
    chosen = _chosen(pod, staying, refusals.shortage(pod, staying, node))
    if chosen is None:
        return set()
    going = {specs.uid_of(one) for one in others} & set(leaving)
    return going | {specs.uid_of(one) for one in chosen}


def refusal(pod: Json, others: Collection[Json], node: NodeFacts) -> Refusal | None:
    """Why a critical pod cannot be taken up though everybody would make room for it."""
    missing = refusals.shortage(pod, others, node)
    if not missing:
        return None
    left = _less(missing, [one for one in others if preemptable(pod, one)]) or missing
    listed = "".join(f"(res: {name}, q: {_shown(name, left[name])}), " for name in left)
    words = (
        "Unexpected error while attempting to recover from admission failure: preemption: error"
        " finding a set of pods to preempt: no set of running pods found to reclaim resources:"
        f" [{listed}]"
    )
    return Refusal("UnexpectedAdmissionError", words)


def preemptable(pod: Json, other: Json) -> bool:
    if kernel.is_critical(pod) and not kernel.is_critical(other):
        return True
    its, others = pod["spec"].get("priority"), other["spec"].get("priority")
    return its is not None and others is not None and its > others


def _chosen(pod: Json, others: list[Json], missing: Amounts) -> list[Json] | None:
    """None when all of them together do not have what is missing."""
    by_class: dict[str, list[Json]] = {"BestEffort": [], "Burstable": [], "Guaranteed": []}
    for one in others:
        if preemptable(pod, one):
            by_class[kernel.qos_class(one)].append(one)
    least, middle, best = by_class.values()
    if _less(missing, [*least, *middle, *best]):
        return None
    # Of each class only what the others together cannot give.
    best = _fewest(best, _less(missing, [*least, *middle]))
    middle = _fewest(middle, _less(missing, [*least, *best]))
    return [*_fewest(least, _less(missing, [*middle, *best])), *middle, *best]


def _fewest(pods: list[Json], missing: Amounts) -> list[Json]:
    """Greedily: each time the one that comes nearest to all that is missing."""
    left, chosen = list(pods), []
    while missing:
        nearest = min(left, key=lambda one: (_distance(one, missing), *_size(one)))
        left.remove(nearest)
        chosen.append(nearest)
        missing = _less(missing, [nearest])
    return chosen


def _distance(pod: Json, missing: Amounts) -> Fraction:
    has = _requests(pod)
    parts = [
        max(need - has.get(name, Fraction(0)), Fraction(0)) / need for name, need in missing.items()
    ]
    return sum((part**2 for part in parts), Fraction(0))


def _size(pod: Json) -> tuple[Fraction, Fraction]:
    has = _requests(pod)
    return has.get("memory", Fraction(0)), has.get("cpu", Fraction(0))


def _less(missing: Amounts, pods: Iterable[Json]) -> dict[str, Fraction]:
    """What is still missing when these pods are gone."""
    left = dict(missing)
    for one in pods:
        for name, amount in _requests(one).items():
            if name in left:
                left[name] -= amount
    return {name: amount for name, amount in left.items() if amount > 0}


def _requests(pod: Json) -> dict[str, Fraction]:
    return {**amounts.pod_requests(pod), "pods": Fraction(1)}


def _shown(name: str, amount: Fraction) -> int:
    return quantities.milli(amount) if name == "cpu" else quantities.whole(amount)
