"""The Events of one pod that no report has carried yet: counted, bounded, seldom repeated.

A repeated Event is one Event with a higher count, as everywhere in Kubernetes; what was handed
over is counted further by whoever takes the reports. A repetition is not worth a message of its
own more often than every few minutes: it goes along with the next report that goes anyway. Events
that differ in their words only (a probe that prints the time) become one, as a kubelet's do: with
the tenth within ten minutes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from edgeagent.pods.model.podevents import PodEvent
from shared.clock import Clock
from shared.messages import COMBINED, MAX_EVENTS, ReportedEvent

_LONGEST = 1024
"""Characters of one message: what the API takes."""
REPEAT_SECONDS = 300.0
SIMILAR, SIMILAR_SECONDS = 10, 600.0
"""So many messages of one reason, none later than this after the one before, become one."""

Identity = tuple[str, ...]


@dataclass(slots=True)
class _Similar:
    """What was said for one reason; ``at`` is monotonic, of the last time."""

    at: float
    messages: set[int] = field(default_factory=set)
    """Their hashes: texts may be long, and devices have many pods."""


class EventLog:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._events: dict[Identity, ReportedEvent] = {}
        self._told: dict[Identity, float] = {}
        self._similar: dict[tuple[str, str], _Similar] = {}
        self._second, self._order = 0, 0

    def record(self, event: PodEvent) -> bool:
        """Whether it is worth a report of its own."""
        new = self._stamped(event, self._combined(event, event.message[:_LONGEST])[:_LONGEST])
        known = self._events.pop(new.identity, None)
        if known is not None:
            last, count = max(new.last, known.first), known.count + 1
            new = replace(known, message=new.message, last=last, count=count)
        else:
            self._make_room()
        self._events[new.identity] = new
        return self._is_news(new.identity)

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

    def _combined(self, event: PodEvent, message: str) -> str:
        """The message, or one that stands for all the different ones of its reason."""
        now = self._clock.monotonic()
        kind = (event.type, event.reason)
        seen = self._similar.get(kind)
        if seen is None or now - seen.at > SIMILAR_SECONDS:
            seen = self._similar[kind] = _Similar(now)
        seen.at = now
        if hash(message) not in seen.messages and len(seen.messages) >= SIMILAR - 1:
            return f"{COMBINED}{message}"
        seen.messages.add(hash(message))
        return message

    def _stamped(self, event: PodEvent, message: str) -> ReportedEvent:
        now = max(int(self._clock.now()), 0)
        self._order = min(self._order + 1, 255) if now == self._second else 0
        self._second = now
        return ReportedEvent(
            *(event.type, event.reason, message),
            first=now,
            last=now,
            field_path=event.field_path,
            order=self._order,
        )

    def _is_news(self, what: Identity) -> bool:
        told = self._told.get(what)
        return told is None or self._clock.monotonic() - told >= REPEAT_SECONDS

    def _make_room(self) -> None:
        if len(self._events) >= MAX_EVENTS:
            del self._events[next(iter(self._events))]
