"""How much containers and whole pods ask for, and how it adds up: requests and limits. Pure.

A pod can ask as a whole (``spec.resources``); what it names there stands in place of the sum of its
containers, and is the limit of each container that has none of its own. Called by everything that
counts: admission, preemption, eviction, resizes, QoS classes and cgroups.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

from edgeagent.pods.model import specs
from edgeagent.pods.resources import quantities
from shared.objects import Json

Amounts = Mapping[str, Fraction]

HUGEPAGES = "hugepages-"
_OF_PODS = ("cpu", "memory")
"""What a pod can ask for as a whole, beside huge pages."""
_NOTHING = (None, "", "0", 0)


def of(owner: Json, kind: str) -> dict[str, Fraction]:
    """``requests`` or ``limits`` of a container (or of a whole pod spec), as they are written."""
    written = (owner.get("resources") or {}).get(kind) or {}
    return {name: quantities.parse(value) for name, value in written.items()}


def requested(container: Json) -> dict[str, Fraction]:
    """Requests; for what has none, its limit."""
    return {**of(container, "limits"), **of(container, "requests")}


def limits(pod: Json, container: Json) -> dict[str, Fraction]:
    """Of one container: for what has none, the pod's."""
    return of({"resources": given(pod, container)}, "limits")


def given(pod: Json, container: Json) -> Json:
    """The resources that a container gets: its own, with the limits of the pod that it lacks."""
    own = container.get("resources") or {}
    has = own.get("limits") or {}
    of_pod = (pod["spec"].get("resources") or {}).get("limits") or {}
    lacking = {
        name: amount
        for name, amount in of_pod.items()
        if is_of_pods(name) and has.get(name) in _NOTHING and not (name in has and _is_huge(name))
    }
    return {**own, "limits": {**has, **lacking}} if lacking else own


def is_of_pods(name: str) -> bool:
    return name in _OF_PODS or _is_huge(name)


def asks_as_a_whole(pod: Json) -> bool:
    """Whether the pod's own level counts: it does also where it says nothing."""
    return pod["spec"].get("resources") is not None


def of_pod(pod: Json, kind: str) -> dict[str, Fraction]:
    """What ``spec.resources`` says; a request that it leaves out as the API server fills it in:
    what the containers ask for, or the limit when none of them does."""
    named = {name: one for name, one in of(pod["spec"], kind).items() if is_of_pods(name)}
    if kind == "limits" or not asks_as_a_whole(pod):
        return named
    summed = containers_requests(pod)
    filled_in = {
        name: limit if _is_huge(name) else summed.get(name, limit)
        for name, limit in of_pod(pod, "limits").items()
    }
    return {**filled_in, **named}


def pod_requests(pod: Json) -> dict[str, Fraction]:
    """What the pod needs at its hungriest moment, unless it says so itself; with its overhead."""
    total = requested_inside(pod)
    _add(total, overhead(pod))
    return total


def requested_inside(pod: Json) -> dict[str, Fraction]:
    """The same without the overhead: what its containers can have of it."""
    return {**containers_requests(pod), **of_pod(pod, "requests")}


def pod_limits(pod: Json) -> dict[str, Fraction]:
    """The limits that there are, of a pod as a whole; overhead counts where there is one."""
    total = limits_inside(pod)
    _add(total, {name: one for name, one in overhead(pod).items() if total.get(name)})
    return total


def limits_inside(pod: Json) -> dict[str, Fraction]:
    """The same without the overhead."""
    return {**_of_containers(pod, lambda one: of(one, "limits")), **of_pod(pod, "limits")}


def whole_limit(pod: Json, name: str) -> Fraction:
    """What all of the pod together may use; 0 when it has no limit of its own, nor every container
    has one."""
    containers = [*specs.inits(pod), *specs.mains(pod)]
    bound = all(of(one, "limits").get(name) for one in containers)
    if not bound and not of_pod(pod, "limits").get(name):
        return Fraction(0)
    return pod_limits(pod).get(name, Fraction(0))


def as_json(found: Amounts) -> dict[str, str]:
    """``cpu`` is counted in thousandths, the others are bytes or pieces."""
    return {name: quantities.text(found[name], binary=name != "cpu") for name in sorted(found)}


def containers_requests(pod: Json) -> dict[str, Fraction]:
    """What the containers ask for together, whatever the pod says as a whole."""
    return _of_containers(pod, requested)


def _of_containers(pod: Json, of_one: Callable[[Json], Amounts]) -> dict[str, Fraction]:
    """Init containers run before the others, each with the sidecars that came before it."""
    sidecars: dict[str, Fraction] = {}
    peak: dict[str, Fraction] = {}
    for init in specs.inits(pod):
        need = dict(sidecars)
        _add(need, of_one(init))
        if specs.is_sidecar(init):
            sidecars = need
        peak = _largest(peak, need)
    running = dict(sidecars)
    for main in specs.mains(pod):
        _add(running, of_one(main))
    return _largest(peak, running)


def overhead(pod: Json) -> dict[str, Fraction]:
    """What running the pod takes beside its containers, by its RuntimeClass."""
    written = pod["spec"].get("overhead") or {}
    return {name: quantities.parse(value) for name, value in written.items()}


def _add(total: dict[str, Fraction], more: Amounts) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, Fraction(0)) + amount


def _largest(one: Amounts, other: Amounts) -> dict[str, Fraction]:
    names = {*one, *other}
    return {name: max(one.get(name, Fraction(0)), other.get(name, Fraction(0))) for name in names}


def _is_huge(name: str) -> bool:
    return name.startswith(HUGEPAGES)
