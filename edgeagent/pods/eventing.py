"""The Events of one pod that no report has carried yet: counted and bounded.

A repeated Event is one Event with a higher count, as everywhere in Kubernetes; what was handed
over is remembered and counted further by whoever takes the reports.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from edgeagent.pods.podevents import PodEvent
from shared.clock import Clock
from shared.messages import MAX_EVENTS, ReportedEvent

_LONGEST = 1024
"""Characters of one message: what the API takes."""


class EventLog:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._events: dict[PodEvent, ReportedEvent] = {}

    def record(self, event: PodEvent) -> None:
        event = replace(event, message=event.message[:_LONGEST])
        now = max(int(self._clock.now()), 0)
        known = self._events.pop(event, None)
        if known is not None:
            self._events[event] = replace(known, last=max(now, known.first), count=known.count + 1)
            return
        if len(self._events) >= MAX_EVENTS:
            del self._events[next(iter(self._events))]
        self._events[event] = ReportedEvent(
            event.type,
            event.reason,
            event.message,
            first=now,
            last=now,
            field_path=event.field_path,
        )

    def pending(self) -> tuple[ReportedEvent, ...]:
        """Oldest first."""
        return tuple(self._events.values())

    def told(self, events: Iterable[ReportedEvent]) -> None:
        """A report has them; what happened again since then stays."""
        carried = list(events)
        self._events = {what: one for what, one in self._events.items() if one not in carried}
