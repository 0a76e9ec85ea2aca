"""How long a shutdown of the device waits is a setting; with 0 it does not wait."""

from __future__ import annotations

from typing import Any

import pytest

from edgeagent.__main__ import run
from edgeagent.settings import Settings, settings_from
from shared.errors import SettingsError


def settings(*arguments: str) -> Settings:
    """As ``edgeagent run`` with these."""
    required = ["--mqtt", "mqtt://broker", "--runtime", "process"]
    context = run.make_context("run", [*required, *arguments])
    options: dict[str, Any] = {"config": None, **context.params}
    return settings_from(options)


def test_thirty_seconds_of_which_ten_are_for_critical_pods() -> None:
    found = settings()
    assert (found.shutdown_grace, found.shutdown_grace_critical) == (30, 10)


def test_both_can_be_set() -> None:
    found = settings(
        "--shutdown-grace-period", "120", "--shutdown-grace-period-critical-pods", "120"
    )
    assert (found.shutdown_grace, found.shutdown_grace_critical) == (120, 120)


def test_zero_switches_it_off_whatever_critical_pods_would_get() -> None:
    found = settings("--shutdown-grace-period", "0")
    assert (found.shutdown_grace, found.shutdown_grace_critical) == (0, 0)


def test_a_part_that_is_more_than_the_whole_is_refused_with_the_way_out() -> None:
    with pytest.raises(SettingsError) as refused:
        settings("--shutdown-grace-period", "5")
    said = str(refused.value)
    assert "shutdown-grace-period-critical-pods: 10 is more than shutdown-grace-period (5)" in said
    assert "make it smaller or that one larger" in said
