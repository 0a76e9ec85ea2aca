"""Requests and limits as a kernel understands them: shares, quotas, QoS class, OOM score.

Pure; the formulas are a kubelet's, so that a pod fares under pressure as on any other node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction

from edgeagent.pods import quantities, specs
from edgeagent.pods.nodefacts import NodeFacts
from edgeagent.runtime.port import Resources
from shared.objects import Json

PERIOD = 100_000
_LEAST_QUOTA = 1_000
_LEAST_SHARES, _MOST_SHARES = 2, 262_144
_HUGEPAGES = "hugepages-"
CRITICAL_PRIORITY = 2_000_000_000
_GUARANTEED_SCORE = -997
_BEST_EFFORT_SCORE = 1000

Amounts = Mapping[str, Fraction]


def amounts(container: Json, kind: str) -> dict[str, Fraction]:
    """``requests`` or ``limits`` of a container (or of a whole pod spec)."""
    written = (container.get("resources") or {}).get(kind) or {}
    return {name: quantities.parse(value) for name, value in written.items()}


def requested(container: Json) -> dict[str, Fraction]:
    """Requests; for what has none, its limit."""
    return {**amounts(container, "limits"), **amounts(container, "requests")}


def container_resources(pod: Json, container: Json, node: NodeFacts) -> Resources:
    limits, requests = amounts(container, "limits"), requested(container)
    return Resources(
        cpu_period=PERIOD,
        cpu_quota=quota(limits.get("cpu", Fraction(0))),
        cpu_shares=shares(requests.get("cpu", Fraction(0))),
        memory_limit_bytes=quantities.whole(limits.get("memory", Fraction(0))),
        oom_score_adj=oom_score_adj(pod, container, node),
        unified={"memory.oom.group": "1"} if node.cgroup_version == 2 else {},
        hugepages=_hugepages(limits, node),
    )


def _hugepages(limits: Amounts, node: NodeFacts) -> dict[str, int]:
    """Of each size that the device has set aside: what the container may have, else nothing."""
    return {
        f"{name.removeprefix(_HUGEPAGES).removesuffix('i')}B": quantities.whole(
            limits.get(name, Fraction(0))
        )
        for name, amount in node.allocatable.items()
        if name.startswith(_HUGEPAGES) and amount > 0
    }


def shares(cpu: Fraction) -> int:
    return min(max(quantities.milli(cpu) * 1024 // 1000, _LEAST_SHARES), _MOST_SHARES)


def quota(cpu: Fraction) -> int:
    return max(quantities.milli(cpu) * PERIOD // 1000, _LEAST_QUOTA) if cpu > 0 else 0


def qos_class(pod: Json) -> str:
    """Guaranteed, Burstable or BestEffort, from cpu and memory of all containers."""
    if (pod["spec"].get("resources") or {}).get("limits"):
        return _class_of([pod["spec"]])
    return _class_of([*specs.inits(pod), *specs.mains(pod)])


def _class_of(containers: Iterable[Json]) -> str:
    exact, anything = True, False
    for one in containers:
        limits, requests = amounts(one, "limits"), requested(one)
        for name in ("cpu", "memory"):
            limit, request = limits.get(name, Fraction(0)), requests.get(name, Fraction(0))
            anything = anything or limit > 0 or request > 0
            exact = exact and limit > 0 and limit == request
    if not anything:
        return "BestEffort"
    return "Guaranteed" if exact else "Burstable"


def oom_score_adj(pod: Json, container: Json, node: NodeFacts) -> int:
    """-997 is killed last, 1000 first; between them by the share of memory that was asked for."""
    if is_critical(pod):
        return _GUARANTEED_SCORE
    quality = qos_class(pod)
    if quality == "Guaranteed":
        return _GUARANTEED_SCORE
    if quality == "BestEffort" or not node.memory_capacity:
        return _BEST_EFFORT_SCORE
    score = _burstable_score(container, node)
    if specs.is_sidecar(container):
        mains = [_burstable_score(one, node) for one in specs.mains(pod)]
        score = min(score, max(mains, default=score))
    least = _BEST_EFFORT_SCORE + _GUARANTEED_SCORE
    return min(max(score, least), _BEST_EFFORT_SCORE - 1)


def _burstable_score(container: Json, node: NodeFacts) -> int:
    memory = quantities.whole(amounts(container, "requests").get("memory", Fraction(0)))
    return _BEST_EFFORT_SCORE - 1000 * memory // node.memory_capacity


def is_critical(pod: Json) -> bool:
    """Static, or of a priority that is reserved for the system."""
    source = (pod["metadata"].get("annotations") or {}).get("kubernetes.io/config.source", "api")
    return source != "api" or (pod["spec"].get("priority") or 0) >= CRITICAL_PRIORITY


def pod_total(pod: Json, kind: str = "requests") -> dict[str, Fraction]:
    """What the pod needs at its hungriest moment: init containers run before the others.

    Sidecars go on running, so they count with every init container after them.
    """
    of = requested if kind == "requests" else lambda one: amounts(one, "limits")
    sidecars: dict[str, Fraction] = {}
    peak: dict[str, Fraction] = {}
    for init in specs.inits(pod):
        need = dict(sidecars)
        _add(need, of(init))
        if specs.is_sidecar(init):
            sidecars = need
        peak = _largest(peak, need)
    running = dict(sidecars)
    for main in specs.mains(pod):
        _add(running, of(main))
    total = {**_largest(peak, running), **amounts(pod["spec"], kind)}
    overhead = pod["spec"].get("overhead") or {}
    _add(total, {name: quantities.parse(value) for name, value in overhead.items()})
    return total


def _add(total: dict[str, Fraction], more: Amounts) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, Fraction(0)) + amount


def _largest(one: Amounts, other: Amounts) -> dict[str, Fraction]:
    names = {*one, *other}
    return {name: max(one.get(name, Fraction(0)), other.get(name, Fraction(0))) for name in names}


def memory_limit(pod: Json) -> int:
    """Bytes that the pod as a whole may use; 0 when some container has no limit."""
    containers = [*specs.mains(pod), *specs.sidecars(pod)]
    limits = [amounts(one, "limits").get("memory") for one in containers]
    known = [limit for limit in limits if limit]
    return quantities.whole(sum(known, Fraction(0))) if len(known) == len(limits) else 0
