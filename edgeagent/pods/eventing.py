"""The Events of one pod that no report has carried yet: counted, bounded, seldom repeated.

A repeated Event is one Event with a higher count, as everywhere in Kubernetes; what was handed
over is counted further by whoever takes the reports. A repetition is not worth a message of its
own more often than every few minutes: it goes along with the next report that goes anyway.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from edgeagent.pods.podevents import PodEvent
from shared.clock import Clock
from shared.messages import MAX_EVENTS, ReportedEvent

_LONGEST = 1024
"""Characters of one message: what the API takes."""
REPEAT_SECONDS = 300.0


class EventLog:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._events: dict[PodEvent, ReportedEvent] = {}
        self._told: dict[PodEvent, float] = {}

    def record(self, event: PodEvent) -> bool:
        """Whether it is worth a report of its own."""
        event = replace(event, message=event.message[:_LONGEST])
        now = max(int(self._clock.now()), 0)
        known = self._events.pop(event, None)
        if known is not None:
            self._events[event] = replace(known, last=max(now, known.first), count=known.count + 1)
        else:
            self._make_room()
            self._events[event] = ReportedEvent(
                event.type,
                event.reason,
                event.message,
                first=now,
                last=now,
                field_path=event.field_path,
            )
        return self._is_news(event)

    @property
    def has_news(self) -> bool:
        return any(map(self._is_news, self._events))

    def pending(self) -> tuple[ReportedEvent, ...]:
        """Oldest first."""
        return tuple(self._events.values())

    def told(self, events: Iterable[ReportedEvent]) -> None:
        """A report has them; what happened again since then stays."""
        carried = list(events)
        now = self._clock.monotonic()
        for what, one in list(self._events.items()):
            if one in carried:
                del self._events[what]
                self._told[what] = now
        self._told = {what: at for what, at in self._told.items() if at > now - REPEAT_SECONDS}

    def _is_news(self, event: PodEvent) -> bool:
        told = self._told.get(event)
        return told is None or self._clock.monotonic() - told >= REPEAT_SECONDS

    def _make_room(self) -> None:
        if len(self._events) >= MAX_EVENTS:
            del self._events[next(iter(self._events))]
