"""Probes of running containers: when each is due, and what a row of outcomes means.

One task per container and kind of probe, alive as long as there is something to decide: the
startup probe until it decided, then liveness and readiness. Of a container that is to be killed,
or whose pod stops, only readiness is probed, until it has ended: who drains its connections wants
to know. Verdicts go into the ``LivePod``; what follows from them is the planner's.
"""

from __future__ import annotations

import asyncio

import structlog

from edgeagent.pods.live import LivePod, on_monotonic
from edgeagent.pods.model import specs
from edgeagent.pods.model.causes import Cause
from edgeagent.pods.model.facts import ContainerFacts
from edgeagent.pods.model.podevents import warning
from edgeagent.pods.model.view import Moment
from edgeagent.pods.probing.checking import Outcome, Result, check
from edgeagent.pods.probing.executing import Executes
from edgeagent.pods.probing.handlers import Target
from shared.clock import Clock
from shared.objects import Json
from shared.tasks import alone, stop

log = structlog.get_logger()

_NANO = 1e9

Key = tuple[str, str]
"""Container id and kind of probe."""


class Prober:
    """The probes of one pod."""

    def __init__(self, pod: LivePod, *, runtime: Executes, clock: Clock, began: float) -> None:
        """``began``: when this agent began, on the monotonic clock."""
        self._pod = pod
        self._runtime = runtime
        self._clock = clock
        self._began = began
        self._node_ips: tuple[str, ...] = ()
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._errors: dict[Key, str] = {}
        """The last that were logged."""
        self._since: dict[str, float] = {}
        """By container id: when it started, on the monotonic clock."""

    def follow(self, node_ips: tuple[str, ...]) -> None:
        """Begin and end tasks, after the pod's facts or the device's addresses have changed."""
        self._node_ips = node_ips
        self._note_starts()
        due = self._due()
        for key in [key for key in self._tasks if key not in due]:
            self._tasks.pop(key).cancel()
            self._errors.pop(key, None)
        for key, (spec, known) in due.items():
            if key not in self._tasks:
                probing = self._probe(key[1], spec, known)
                name = f"{key[1]} probe of {spec['name']} in {self._pod.uid}"
                self._tasks[key] = alone(probing, name=name)

    async def close(self) -> None:
        await stop(*self._tasks.values())
        self._tasks.clear()

    def _note_starts(self) -> None:
        """Once, when a container is seen first: a clock that is set later changes nothing."""
        now = Moment(self._clock.now(), self._clock.monotonic())
        known = self._pod.facts.containers.values()
        started = {one.id: one.started_at / _NANO for one in known if one.started_at}
        new = {one: on_monotonic(wall, now) for one, wall in started.items()}
        self._since = {one: self._since.get(one, moment) for one, moment in new.items()}

    def _due(self) -> dict[Key, tuple[Json, ContainerFacts]]:
        if self._pod.facts.final is not None:
            return {}
        being_started = {one.slot for one in self._pod.operations.under_way()}
        found = {}
        for spec in specs.every_container(self._pod.pod):
            known = self._pod.facts.container(spec["name"])
            running = known is not None and known.ended is None
            if known is None or not running or f"start/{spec['name']}" in being_started:
                continue
            for kind in self._kinds(known):
                if spec.get(f"{kind}Probe"):
                    found[known.id, kind] = spec, known
        return found

    def _kinds(self, known: ContainerFacts) -> tuple[str, ...]:
        facts = self._pod.facts
        doomed = facts.stopping or self._pod.unhealthy.get(known.id) or known.killed
        if not known.started:
            return () if doomed else ("startup",)
        return ("readiness",) if doomed else ("liveness", "readiness")

    async def _probe(self, kind: str, spec: Json, known: ContainerFacts) -> None:
        """At even intervals, however long a check takes."""
        probe = spec[f"{kind}Probe"]
        period = float(probe.get("periodSeconds") or 10)
        await self._clock.sleep(self._first_delay(kind, probe, period, known))
        row, last = 0, None
        while True:
            began = self._clock.monotonic()
            outcome = await self._check(kind, spec, known)
            if outcome is not None:
                self._tell(kind, spec, outcome)
            if outcome is not None and outcome.result is not Result.UNKNOWN:
                row, last = (row + 1 if outcome.good == last else 1), outcome.good
                if row >= _threshold(probe, outcome) and self._decide(kind, known.id, outcome.good):
                    return
            await self._clock.sleep(max(began + period - self._clock.monotonic(), 0.0))

    async def _check(self, kind: str, spec: Json, known: ContainerFacts) -> Outcome | None:
        """An error of our own decides nothing and ends nothing; it is logged when it is new."""
        try:
            return await check(spec[f"{kind}Probe"], self._target(spec, known), self._runtime)
        except Exception as error:
            words = f"internal error: {error!r}"
            if self._errors.get((known.id, kind)) != words:
                self._errors[known.id, kind] = words
                ids = {"pod_uid": self._pod.uid, "container": spec["name"], "probe": kind}
                log.exception("probe failed unexpectedly", **ids)
            return Outcome(Result.UNKNOWN, words)

    def _target(self, spec: Json, known: ContainerFacts) -> Target:
        """Where the container is now: the address of a device on DHCP is not for ever."""
        on_host = specs.on_host_network(self._pod.pod)
        return Target(spec, known.id, self._node_ips if on_host else self._pod.facts.ips)

    def _first_delay(self, kind: str, probe: Json, period: float, known: ContainerFacts) -> float:
        """What is left of the initial delay. What was well before this agent began goes on in the
        rhythm of its start: else all that is on the device would be probed at the same moments."""
        well = known.ready if kind == "readiness" else known.started
        now = self._clock.monotonic()
        since = self._since.get(known.id, now)
        left = since + float(probe.get("initialDelaySeconds") or 0) - now
        if left > 0 or not well or since >= self._began or now - self._began >= period:
            return max(left, 0.0)
        return left % period

    def _decide(self, kind: str, container_id: str, good: bool) -> bool:
        """Write the verdict down; True when this probe has nothing more to say."""
        if kind == "readiness":
            verdicts, verdict = self._pod.readiness, good
        elif kind == "startup" and good:
            verdicts, verdict = self._pod.startup, True
        elif good:
            return False
        else:
            self._pod.unhealthy[container_id] = Cause(kind)
            self._pod.wake()
            return True
        if verdicts.get(container_id) != verdict:
            verdicts[container_id] = verdict
            self._pod.wake()
        return kind == "startup"

    def _tell(self, kind: str, spec: Json, outcome: Outcome) -> None:
        if outcome.result is Result.SUCCESS:
            return
        reason = "ProbeWarning" if outcome.result is Result.WARNING else "Unhealthy"
        words = f"{kind.capitalize()} probe {_said(outcome)}"
        path = specs.field_path(self._pod.pod, spec["name"])
        if self._pod.events.record(warning(reason, words, field_path=path)):
            self._pod.wake()


def _said(outcome: Outcome) -> str:
    if outcome.result is Result.WARNING:
        return f"warning: {outcome.words}"
    if outcome.result is Result.UNKNOWN:
        return f"errored and resulted in {outcome.state} state: {outcome.words}"
    return f"failed: {outcome.words}"


def _threshold(probe: Json, outcome: Outcome) -> int:
    if outcome.good:
        return int(probe.get("successThreshold") or 1)
    return int(probe.get("failureThreshold") or 3)
