"""Probes of running containers: when each is due, and what a row of outcomes means.

One task per container and kind of probe, alive as long as there is something to decide: the
startup probe until it decided, then liveness and readiness until the container ends or its pod
stops. Verdicts go into the ``LivePod``; what follows from them is the planner's.
"""

from __future__ import annotations

import asyncio

from edgeagent.pods import specs
from edgeagent.pods.checking import Outcome, check
from edgeagent.pods.facts import ContainerFacts
from edgeagent.pods.handlers import Target
from edgeagent.pods.live import LivePod
from edgeagent.pods.podevents import warning
from edgeagent.runtime.port import Runtime
from shared.clock import Clock
from shared.objects import Json
from shared.tasks import stop

Key = tuple[str, str]
"""Container id and kind of probe."""


class Prober:
    """The probes of one pod."""

    def __init__(self, pod: LivePod, *, runtime: Runtime, clock: Clock) -> None:
        self._pod = pod
        self._runtime = runtime
        self._clock = clock
        self._tasks: dict[Key, asyncio.Task[None]] = {}

    def follow(self, node_ips: tuple[str, ...]) -> None:
        """Begin and end tasks, after the pod's facts have changed."""
        due = self._due()
        for key in [key for key in self._tasks if key not in due]:
            self._tasks.pop(key).cancel()
        for key, (spec, known) in due.items():
            if key not in self._tasks:
                ips = node_ips if specs.on_host_network(self._pod.pod) else self._pod.facts.ips
                probing = self._probe(key[1], spec, known, Target(spec, known.id, ips))
                self._tasks[key] = asyncio.create_task(probing, name=f"{key[1]} probe")

    async def close(self) -> None:
        await stop(*self._tasks.values())

    def _due(self) -> dict[Key, tuple[Json, ContainerFacts]]:
        if self._pod.facts.stopping is not None or self._pod.facts.final is not None:
            return {}
        being_started = {one.slot for one in self._pod.operations.under_way()}
        found = {}
        for spec in specs.every_container(self._pod.pod):
            known = self._pod.facts.container(spec["name"])
            running = known is not None and known.ended is None
            if known is None or not running or f"start/{spec['name']}" in being_started:
                continue
            if self._pod.unhealthy.get(known.id) or known.killed:
                continue
            for kind in ("liveness", "readiness") if known.started else ("startup",):
                if spec.get(f"{kind}Probe"):
                    found[known.id, kind] = spec, known
        return found

    async def _probe(self, kind: str, spec: Json, known: ContainerFacts, target: Target) -> None:
        probe = spec[f"{kind}Probe"]
        await self._clock.sleep(self._initial_delay(probe, known))
        row, last = 0, None
        while True:
            outcome = await check(probe, target, self._runtime)
            if outcome is not None:
                row, last = (row + 1 if outcome.good == last else 1), outcome.good
                if not outcome.good:
                    self._tell(kind, spec, outcome)
                if row >= _threshold(probe, outcome) and self._decide(kind, known.id, outcome.good):
                    return
            await self._clock.sleep(float(probe.get("periodSeconds") or 10))

    def _initial_delay(self, probe: Json, known: ContainerFacts) -> float:
        """What is left of it: a container that was adopted has run for a while."""
        ran = max(self._clock.now() - known.started_at / 1e9, 0.0) if known.started_at else 0.0
        return max(float(probe.get("initialDelaySeconds") or 0) - ran, 0.0)

    def _decide(self, kind: str, container_id: str, good: bool) -> bool:
        """Write the verdict down; True when this probe has nothing more to say."""
        if kind == "readiness":
            verdicts, verdict = self._pod.readiness, good
        elif kind == "startup" and good:
            verdicts, verdict = self._pod.startup, True
        elif good:
            return False
        else:
            self._pod.unhealthy[container_id] = kind
            self._pod.wake()
            return True
        if verdicts.get(container_id) != verdict:
            verdicts[container_id] = verdict
            self._pod.wake()
        return kind == "startup"

    def _tell(self, kind: str, spec: Json, outcome: Outcome) -> None:
        words = f"{kind.capitalize()} probe failed: {outcome.words}"
        path = specs.field_path(self._pod.pod, spec["name"])
        if self._pod.events.record(warning("Unhealthy", words, field_path=path)):
            self._pod.wake()


def _threshold(probe: Json, outcome: Outcome) -> int:
    if outcome.good:
        return int(probe.get("successThreshold") or 1)
    return int(probe.get("failureThreshold") or 3)
