"""Reports pods whose body cannot be used: Failed, with the reason, so that nothing fails silently.

A pod that has not even a uid cannot be reported; it is in the log. Deleting such a pod is done at
once: nothing of it is here. What runs under its name is left alone (``DesiredSet.may_stop``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog

from edgeagent.desired import DesiredSet
from edgeagent.podshape import RejectedPod
from edgeagent.session.reporting import Reports
from shared.clock import Clock
from shared.messages import ReportedEvent
from shared.objects import Json, ObjectKey

log = structlog.get_logger()

REASON = "InvalidPod"


class Refusing:
    def __init__(self, desired: DesiredSet, reports: Reports, *, clock: Clock) -> None:
        self._desired = desired
        self._reports = reports
        self._clock = clock
        self._told: dict[ObjectKey, RejectedPod] = {}
        self._changed = asyncio.Event()
        self._changed.set()

    def changed(self, keys: Iterable[ObjectKey]) -> None:
        self._changed.set()

    async def run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            rejected = dict(self._desired.rejected())
            for key, pod in rejected.items():
                if self._told.get(key) != pod:
                    await self._tell(pod)
            self._told = rejected

    async def _tell(self, pod: RejectedPod) -> None:
        log.error("pod cannot be used", pod=str(pod.key), reason=pod.message)
        if not pod.uid:
            return
        await self._reports.put(
            pod.key,
            uid=pod.uid,
            status=_failed(pod),
            events=[_event(pod, int(self._clock.now()))],
            finished=pod.grace is not None,
            within=0.02,
        )


def _failed(pod: RejectedPod) -> Json:
    return {"phase": "Failed", "reason": REASON, "message": pod.message}


def _event(pod: RejectedPod, now: int) -> ReportedEvent:
    return ReportedEvent("Warning", REASON, pod.message, first=max(now, 0), last=max(now, 0))
