"""What is wanted of each pod: by the desired set, less what its owner has put on hold.

Also brings the pod's body up to date, and takes that of a pod which nobody remembers from the
runtime. Absence is a wish only if the desired set is newer than the pod and may stop it; all else
is not knowing. Called by ``workers.py`` before each plan.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import structlog

from edgeagent.pods.admission import preemption
from edgeagent.pods.adoption import made_under, pod_of
from edgeagent.pods.live import LivePod
from edgeagent.pods.model.facts import PodFacts
from edgeagent.pods.model.view import Eviction, Wanted
from edgeagent.pods.ports import Desired, Materials
from edgeagent.pods.rules import holding
from edgeagent.windows import Window, is_open, next_look
from shared.clock import Clock
from shared.objects import Json, ObjectKey

log = structlog.get_logger()


class Wanting:
    def __init__(
        self,
        *,
        desired: Desired,
        materials: Materials,
        windows: tuple[Window, ...],
        clock: Clock,
        facts: Callable[[], Mapping[str, PodFacts]],
        evicted: Callable[[], Collection[str]],
        evict: Callable[[str, Eviction], None],
    ) -> None:
        """``facts`` are those of every pod that is known here, by uid; ``evicted`` those that were
        told to go, also where nobody has begun with it."""
        self._desired = desired
        self._materials = materials
        self._windows = windows
        self._clock = clock
        self._facts = facts
        self._evicted = evicted
        self._evict = evict
        self.at_the_door: dict[str, Json] = {}
        """Critical pods that wait until others have made room for them; it is theirs already."""

    def opens(self, pod: LivePod) -> float | None:
        """Seconds until what is on hold may go on by itself; None when nothing is."""
        return next_look(self._windows, self._clock.now()) if pod.facts.on_hold else None

    def of(self, pod: LivePod) -> tuple[Wanted, int | None]:
        """What, and the grace period of a deletion. The body of a pod that is gone from the
        desired set is kept for stopping it well."""
        desired = self._desired.pods().get(pod.uid)
        self.at_the_door.pop(pod.uid, None)
        if desired is not None:
            waits = holding.waits(pod.uid, desired.key, self._facts())
            if waits and not pod.sandboxes:
                return Wanted.UNKNOWN, None
            asked = Wanted.RUN if desired.grace is None else Wanted.DELETE
            if asked is Wanted.RUN and self._waits_for_room(pod, desired.pod):
                return Wanted.UNKNOWN, None
            held = self._holds(pod, desired.pod, asked)
            if not held or not pod.pod:
                pod.take_body(desired.pod, self._materials)
            return (Wanted.RUN, None) if held else (asked, desired.grace)
        if not pod.pod and pod.sandboxes:
            pod.pod = pod_of(pod.sandboxes)
        if not pod.pod:
            return Wanted.UNKNOWN, None
        key = ObjectKey.of("Pod", pod.pod)
        newer = self._desired.revision >= made_under(pod.sandboxes)
        gone = newer and self._desired.may_stop(pod.uid, key)
        if gone and self._holds(pod, None, Wanted.GONE):
            return Wanted.RUN, None
        return (Wanted.GONE if gone else Wanted.UNKNOWN), None

    def _holds(self, pod: LivePod, newest: Json | None, asked: Wanted) -> bool:
        """Whether the pod stays as it is, whatever is asked for it; kept in its facts."""
        before = pod.facts.on_hold
        pod.facts = holding.kept(
            pod.facts,
            holding.pending(pod.pod or newest or {}, newest, asked, pod.facts),
            taken_up=pod.facts.admitted or bool(pod.sandboxes),
            window_open=is_open(self._windows, self._clock.now()),
        )
        held = pod.facts.on_hold
        if held != before:
            pod.events.record(holding.event(before, held))
            log.info("pod on hold" if held else "pod released", pod_uid=pod.uid, what=held)
        return bool(held)

    def _waits_for_room(self, pod: LivePod, body: Json) -> bool:
        """Whether pods must go for a critical one that is new here; they are told to, but for those
        that leave anyway: what is told stays, and they may come back."""
        if pod.facts.admitted or pod.facts.final is not None or pod.sandboxes:
            return False
        stopping = {uid for uid, facts in self._facts().items() if facts.stopping is not None}
        leaving = stopping.union(self._evicted())
        others = self._materials.in_the_way(body, leaving)
        for uid in sorted(set(others) - leaving):
            self._evict(uid, preemption.EVICTION)
        if others:
            self.at_the_door[pod.uid] = body
        return bool(others)
