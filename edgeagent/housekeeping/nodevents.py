"""Events about the Node itself: counted like a pod's, and sent with the Node's own reports."""

from __future__ import annotations

import asyncio

from edgeagent.pods.model.podevents import PodEvent
from edgeagent.pods.ports import Reports
from edgeagent.pods.reporting.eventing import EventLog
from shared.clock import Clock
from shared.objects import NO_NAMESPACE, ObjectKey

_WITHIN = 1.0
"""Seconds that an Event may wait for others."""


class NodeEvents:
    def __init__(self, node: str, reports: Reports, clock: Clock) -> None:
        self._key = ObjectKey("Node", NO_NAMESPACE, node)
        self._reports = reports
        self._log = EventLog(clock)
        self._news = asyncio.Event()

    def record(self, event: PodEvent) -> None:
        if self._log.record(event):
            self._news.set()

    async def run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            events = self._log.pending()
            await self._reports.put(
                self._key, uid="", status=None, events=events, finished=False, within=_WITHIN
            )
            self._log.told(events)
