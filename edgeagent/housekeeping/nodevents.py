"""Events about the Node itself: counted like a pod's, and sent with the Node's own reports."""

from __future__ import annotations

from edgeagent.pods.eventing import EventLog
from edgeagent.pods.podevents import PodEvent
from edgeagent.pods.ports import Reports
from shared.clock import Clock
from shared.objects import NO_NAMESPACE, ObjectKey

_WITHIN = 1.0
_LOOK_SECONDS = 5.0


class NodeEvents:
    def __init__(self, node: str, reports: Reports, clock: Clock) -> None:
        self._key = ObjectKey("Node", NO_NAMESPACE, node)
        self._reports = reports
        self._clock = clock
        self._log = EventLog(clock)

    def record(self, event: PodEvent) -> None:
        self._log.record(event)

    async def run(self) -> None:
        while True:
            if self._log.has_news:
                events = self._log.pending()
                await self._reports.put(
                    self._key, uid="", status=None, events=events, finished=False, within=_WITHIN
                )
                self._log.told(events)
            await self._clock.sleep(_LOOK_SECONDS)
