"""v1.PodStatus exactly as a kubelet would report it. Pure.

Owns how the parts go together; container states, phase and conditions have modules of their own.
``PodScheduled`` and ``nominatedNodeName`` are not a kubelet's to write and never appear.
"""

from __future__ import annotations

from dataclasses import replace

from edgeagent.pods.model import specs, stamps
from edgeagent.pods.model.facts import Condition, Stopping
from edgeagent.pods.model.view import Moment, PodView
from edgeagent.pods.resources import amounts
from edgeagent.pods.resources.kernel import qos_class
from edgeagent.pods.rules import restarting
from edgeagent.pods.status import never_started
from edgeagent.pods.status.conditions import as_json, tracked, verdicts
from edgeagent.pods.status.container_states import container_statuses
from edgeagent.pods.status.phases import phase_of
from shared.objects import Json

TERMINATED_REASON = "Terminated"
TERMINATED_MESSAGE = "Pod was terminated in response to imminent node shutdown."


def current(view: PodView, now: Moment) -> tuple[Json, dict[str, Condition]]:
    """The status now, and its conditions for the facts."""
    return _status(view, now, stopping=view.facts.stopping, terminal=False)


def final_status(view: PodView, now: Moment, stopping: Stopping) -> Json:
    """The last status of a pod in which nothing runs any more, and nothing ever will."""
    view = replace(view, facts=replace(view.facts, stopping=stopping))
    return _status(view, now, stopping=stopping, terminal=True)[0]


def refused_status(view: PodView, now: Moment, stopping: Stopping) -> Json:
    """Of a pod that was never admitted: it has no containers and no conditions."""
    message = f"Pod was rejected: {stopping.message}"
    return {**_head(view, now, stopping, terminal=True), "phase": "Failed", "message": message}


def waiting_status(view: PodView) -> Json:
    """Of a pod that came while the device shuts down: it waits for the next boot."""
    return {
        "phase": "Pending",
        "reason": "NodeShutdown",
        "message": "Pod waits for the next boot: the node is shutting down",
        "qosClass": qos_class(view.pod),
    }


def _status(
    view: PodView, now: Moment, *, stopping: Stopping | None, terminal: bool
) -> tuple[Json, dict[str, Condition]]:
    pod = view.pod
    inits = container_statuses(view, specs.inits(pod), now)
    mains = _by_name(container_statuses(view, specs.mains(pod), now))
    ephemerals = _by_name(container_statuses(view, specs.ephemerals(pod), now))
    by_name = {one["name"]: one for one in (*inits, *mains)}
    # What ran in a sandbox before this one says nothing of this start.
    initialized = view.sandbox is not None and restarting.main_began_in(view, view.sandbox.id)
    phase = (stopping.phase if stopping and terminal else "") or phase_of(
        pod, by_name, initialized=initialized, terminal=terminal
    )
    found = verdicts(view, by_name, phase)
    times = tracked(view.facts.conditions, found, now)
    if terminal:
        inits, mains = never_started.settled(view, inits, mains)
    status = {
        **_head(view, now, stopping, terminal=terminal),
        "phase": phase,
        "conditions": as_json(found, times, view.facts),
        **_addresses(view),
        "containerStatuses": mains,
    }
    if allocated := amounts.as_json(amounts.pod_requests(pod)):
        status["allocatedResources"] = allocated
    if amounts.asks_as_a_whole(pod):
        status["resources"] = _as_a_whole(view)
    if inits:
        status["initContainerStatuses"] = inits
    if ephemerals:
        status["ephemeralContainerStatuses"] = ephemerals
    return status, times


def _by_name(statuses: list[Json]) -> list[Json]:
    """As a kubelet lists all but init containers: those stand in the order in which they run."""
    return sorted(statuses, key=lambda one: one["name"])


def _as_a_whole(view: PodView) -> Json:
    """What the pod's cgroup has: something else than what the pod was granted while a resize is
    carried out. Of a pod that asks as a whole only; of others the containers say it."""
    pod = view.pod
    has = {**pod, "spec": {**pod["spec"], "resources": view.facts.resources}}
    limits = {
        name: amount
        for name, amount in amounts.pod_limits(has).items()
        if name not in ("cpu", "memory") or amounts.whole_limit(has, name)
    }
    resources = {
        "requests": amounts.as_json(amounts.pod_requests(has)),
        "limits": amounts.as_json(limits),
    }
    return {kind: found for kind, found in resources.items() if found}


def _head(view: PodView, now: Moment, stopping: Stopping | None, *, terminal: bool) -> Json:
    """Why a pod failed is said with the phase, not while its containers are still being stopped."""
    head: Json = {
        "startTime": stamps.of_seconds(view.facts.started_at or now.wall),
        "qosClass": qos_class(view.pod),
    }
    if generation := view.pod["metadata"].get("generation"):
        head["observedGeneration"] = generation
    if terminal and stopping and stopping.reason:
        head.update(reason=stopping.reason, message=stopping.message)
    elif view.halted and stopping is None:
        head.update(reason=TERMINATED_REASON, message=TERMINATED_MESSAGE)
    return head


def _addresses(view: PodView) -> Json:
    addresses: Json = {}
    ips = view.node.ips if specs.on_host_network(view.pod) else view.facts.ips
    if view.node.ips:
        addresses["hostIP"] = view.node.ips[0]
        addresses["hostIPs"] = [{"ip": ip} for ip in view.node.ips]
    if ips and (specs.on_host_network(view.pod) or view.facts.sandbox_attempt >= 0):
        addresses["podIP"] = ips[0]
        addresses["podIPs"] = [{"ip": ip} for ip in ips]
    return addresses
