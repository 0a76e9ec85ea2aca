"""Maintenance windows: when a device may be worked on, by its own clock and time zone. Pure.

A window is ``[DAYS ]HH:MM-HH:MM``; without days it is every day, and one that ends before it
begins ends on the next day. While the clock was never set no window is open: a device that
believes in 1970 does not know what day it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from shared.clock import CLOCK_WAS_SET
from shared.errors import SettingsError

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
LONGEST_LOOK = 3600.0
"""Seconds until the clock is looked at again at the latest: it may have been set, or jumped."""

_FORM = re.compile(r"(?:([A-Za-z,]+) +)?(\d\d?):(\d\d)-(\d\d?):(\d\d)")


@dataclass(frozen=True, slots=True)
class Window:
    days: frozenset[int]
    """On which it begins; Monday is 0."""
    start: time
    end: time

    def on(self, day: datetime) -> tuple[datetime, datetime] | None:
        """The window that begins on this day, if one does."""
        if day.weekday() not in self.days:
            return None
        begins = datetime.combine(day, self.start)
        ends = datetime.combine(day, self.end)
        return begins, ends if ends > begins else ends + timedelta(days=1)


def parse_window(text: str) -> Window:
    found = _FORM.fullmatch(text.strip())
    try:
        if found is None:
            raise ValueError
        names, *numbers = found.groups()
        days = [DAYS.index(name.capitalize()) for name in names.split(",")] if names else range(7)
        hour, minute, end_hour, end_minute = map(int, numbers)
        return Window(frozenset(days), time(hour, minute), time(end_hour, end_minute))
    except ValueError as error:
        raise SettingsError(
            f"maintenance-window: {text!r} is not a window such as 'Sat,Sun 02:00-04:00'"
        ) from error


def is_open(windows: Iterable[Window], wall: float) -> bool:
    if wall < CLOCK_WAS_SET:
        return False
    now = datetime.fromtimestamp(wall)
    spans = _spans(windows, now)
    return any(begins <= now < ends for begins, ends in spans)


def next_look(windows: Iterable[Window], wall: float) -> float | None:
    """Seconds until a window may have opened; None when there are none."""
    windows = tuple(windows)
    if not windows:
        return None
    now = datetime.fromtimestamp(max(wall, 0.0))
    waits = [(begins - now).total_seconds() for begins, _ in _spans(windows, now)]
    return min([LONGEST_LOOK, *(wait for wait in waits if wait > 0)])


def _spans(windows: Iterable[Window], now: datetime) -> list[tuple[datetime, datetime]]:
    """Those that began yesterday, begin today or tomorrow."""
    days = [now + timedelta(days=offset) for offset in (-1, 0, 1)]
    found = [window.on(day) for window in windows for day in days]
    return [span for span in found if span is not None]
