"""When a maintenance window is open, by the device's local time."""

from __future__ import annotations

from datetime import datetime

import pytest

from edgeagent.windows import LONGEST_LOOK, is_open, next_look, parse_window
from shared.errors import SettingsError


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


WEEKEND = parse_window("Sat,Sun 02:00-04:00")
NIGHT = parse_window("22:30-1:15")
FRIDAY_NIGHT = parse_window("fri 23:00-02:00")


@pytest.mark.parametrize(
    ("window", "moment", "opened"),
    [
        (WEEKEND, "2026-11-21T02:00", True),
        (WEEKEND, "2026-11-21T03:59:59", True),
        (WEEKEND, "2026-11-21T04:00", False),
        (WEEKEND, "2026-11-20T03:00", False),
        (NIGHT, "2026-11-20T22:30", True),
        (NIGHT, "2026-11-20T01:14", True),
        (NIGHT, "2026-11-20T01:15", False),
        (FRIDAY_NIGHT, "2026-11-21T01:00", True),
        (FRIDAY_NIGHT, "2026-11-20T01:00", False),
    ],
)
def test_open_or_not(window: object, moment: str, opened: bool) -> None:
    assert is_open([window], at(moment)) is opened  # type: ignore[list-item]


def test_no_window_is_open_while_the_clock_was_never_set() -> None:
    assert not is_open([parse_window("00:00-00:00")], 3600.0)
    assert is_open([parse_window("00:00-00:00")], at("2026-11-20T12:00"))


def test_the_next_look_is_when_one_opens_and_within_the_hour() -> None:
    assert next_look([], at("2026-11-20T12:00")) is None
    assert next_look([WEEKEND], at("2026-11-21T01:50")) == 600
    assert next_look([WEEKEND], at("2026-11-17T12:00")) == LONGEST_LOOK
    assert next_look([WEEKEND], 0.0) == LONGEST_LOOK


@pytest.mark.parametrize("text", ["", "Sat", "02:00", "Xyz 02:00-03:00", "25:00-26:00", "2-4"])
def test_a_wrong_window_is_one_clear_line(text: str) -> None:
    with pytest.raises(SettingsError, match=r"maintenance-window: .* such as"):
        parse_window(text)
