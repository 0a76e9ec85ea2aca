"""Requests and limits as a kernel understands them: shares, quotas, QoS class, OOM score.

Pure; the formulas are a kubelet's, so that a pod fares under pressure as on any other node.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from edgeagent.pods.model import specs
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.resources import amounts, quantities
from edgeagent.pods.resources.amounts import HUGEPAGES, Amounts
from edgeagent.runtime.limits import UNLIMITED, Resources
from shared.objects import Json

PERIOD = 100_000
_LEAST_QUOTA, _MOST_QUOTA = 1_000, 2**44 - 1
"""The kernel takes no more; nobody could use it up either."""
LEAST_SHARES, MOST_SHARES = 2, 262_144
_NODE_CRITICAL_PRIORITY = 2_000_001_000
_GUARANTEED_SCORE = -997
_BEST_EFFORT_SCORE = 1000


def container_resources(pod: Json, container: Json, node: NodeFacts) -> Resources:
    """A container without a request has its limit's share, also where that is the pod's."""
    limits = amounts.limits(pod, container)
    requests = {**limits, **amounts.of(container, "requests")}
    memory = quantities.whole(limits.get("memory", Fraction(0)))
    return Resources(
        cpu_period=PERIOD,
        cpu_quota=quota(limits.get("cpu", Fraction(0))),
        cpu_shares=shares(requests.get("cpu", Fraction(0))),
        memory_limit_bytes=memory,
        memory_swap_limit_bytes=memory if node.swap_limits and node.cgroup_version == 1 else 0,
        oom_score_adj=oom_score_adj(pod, container, node),
        unified=_unified(node),
        hugepages=hugepages(limits, node),
    )


def sandbox_resources(pod: Json) -> Resources:
    """Of all containers together: a runtime that makes a machine for each pod goes by it."""
    return _together(amounts.requested_inside(pod), amounts.limits_inside(pod))


def sandbox_overhead(pod: Json) -> Resources:
    """What such a machine takes beside them."""
    overhead = amounts.overhead(pod)
    return _together(overhead, overhead) if overhead else UNLIMITED


def _together(requests: Amounts, limits: Amounts) -> Resources:
    return Resources(
        cpu_period=PERIOD,
        cpu_quota=quota(limits.get("cpu", Fraction(0))),
        cpu_shares=shares(requests.get("cpu", Fraction(0))),
        memory_limit_bytes=quantities.whole(limits.get("memory", Fraction(0))),
    )


def _unified(node: NodeFacts) -> dict[str, str]:
    """Nothing of a pod is swapped: what it holds in memory, a Secret perhaps, reaches no disk.

    On version 1 only what has a memory limit can be kept from it.
    """
    if node.cgroup_version == 1:
        return {}
    swap = {"memory.swap.max": "0"} if node.swap_limits else {}
    return {"memory.oom.group": "1", **swap}


def hugepages(limits: Amounts, node: NodeFacts) -> dict[str, int]:
    """Of each size that the device has set aside: what may be had of it, else nothing."""
    return {
        page_size(name): quantities.whole(limits.get(name, Fraction(0)))
        for name, amount in node.allocatable.items()
        if name.startswith(HUGEPAGES) and amount > 0
    }


def page_size(name: str) -> str:
    """``hugepages-2Mi`` as the kernel names it: ``2MB``."""
    return f"{name.removeprefix(HUGEPAGES).removesuffix('i')}B"


def shares(cpu: Fraction) -> int:
    return min(max(quantities.milli(cpu) * 1024 // 1000, LEAST_SHARES), MOST_SHARES)


def quota(cpu: Fraction) -> int:
    """0 = no limit."""
    if cpu <= 0:
        return 0
    amount = max(quantities.milli(cpu) * PERIOD // 1000, _LEAST_QUOTA)
    return amount if amount <= _MOST_QUOTA else 0


def qos_class(pod: Json) -> str:
    """Guaranteed, Burstable or BestEffort, from cpu and memory of the pod as a whole, if it asks
    for any as a whole; else of all its containers."""
    if amounts.asks_as_a_whole(pod):
        return _class_of([(amounts.of_pod(pod, "requests"), amounts.of_pod(pod, "limits"))])
    containers = (*specs.inits(pod), *specs.mains(pod))
    return _class_of([(amounts.requested(one), amounts.of(one, "limits")) for one in containers])


def _class_of(asked: Iterable[tuple[Amounts, Amounts]]) -> str:
    """By requests and limits of each."""
    exact, anything = True, False
    for requests, limits in asked:
        for name in ("cpu", "memory"):
            limit, request = limits.get(name, Fraction(0)), requests.get(name, Fraction(0))
            anything = anything or limit > 0 or request > 0
            exact = exact and limit > 0 and limit == request
    if not anything:
        return "BestEffort"
    return "Guaranteed" if exact else "Burstable"


def oom_score_adj(pod: Json, container: Json, node: NodeFacts) -> int:
    """-997 is killed last, 1000 first; between them by the share of memory that was asked for."""
    if is_node_critical(pod):
        return _GUARANTEED_SCORE
    quality = qos_class(pod)
    if quality == "Guaranteed":
        return _GUARANTEED_SCORE
    if quality == "BestEffort" or not node.memory_capacity:
        return _BEST_EFFORT_SCORE
    score = _burstable_score(pod, container, node)
    if specs.is_sidecar(container):
        mains = [_burstable_score(pod, one, node) for one in specs.mains(pod)]
        score = min(score, max(mains, default=score))
    least = _BEST_EFFORT_SCORE + _GUARANTEED_SCORE
    return min(max(score, least), _BEST_EFFORT_SCORE - 1)


def _burstable_score(pod: Json, container: Json, node: NodeFacts) -> int:
    own = quantities.whole(amounts.requested(container).get("memory", Fraction(0)))
    memory = own + _memory_left_over(pod)
    return _BEST_EFFORT_SCORE - 1000 * memory // node.memory_capacity


def _memory_left_over(pod: Json) -> int:
    """What the pod asks for as a whole beyond its containers, by container."""
    whole = quantities.whole(amounts.of_pod(pod, "requests").get("memory", Fraction(0)))
    if not whole:
        return 0
    summed = quantities.whole(amounts.containers_requests(pod).get("memory", Fraction(0)))
    return max(whole - summed, 0) // len([*specs.mains(pod), *specs.inits(pod)])


def is_node_critical(pod: Json) -> bool:
    """Of the priority class system-node-critical: killed last when memory is out."""
    return _priority(pod) >= _NODE_CRITICAL_PRIORITY


def is_critical(pod: Json) -> bool:
    """Static, or of a priority that is reserved for the system."""
    source = (pod["metadata"].get("annotations") or {}).get("kubernetes.io/config.source", "api")
    return source != "api" or _priority(pod) >= specs.CRITICAL_PRIORITY


def _priority(pod: Json) -> int:
    """Asked before anybody has looked whether it is a number."""
    priority = pod["spec"].get("priority")
    return priority if isinstance(priority, int) else 0
