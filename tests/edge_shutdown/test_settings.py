"""How long a shutdown of the device waits is a setting; with 0 it does not wait."""

from __future__ import annotations

from typing import Any

import pytest

from edgeagent.__main__ import run
from edgeagent.pods.model.specs import CRITICAL_PRIORITY
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
    assert found.shutdown_grace == {0: 20, CRITICAL_PRIORITY: 10}


def test_both_can_be_set() -> None:
    found = settings(
        "--shutdown-grace-period", "120", "--shutdown-grace-period-critical-pods", "120"
    )
    assert found.shutdown_grace == {0: 0, CRITICAL_PRIORITY: 120}


def test_zero_switches_it_off_whatever_critical_pods_would_get() -> None:
    found = settings("--shutdown-grace-period", "0")
    assert found.shutdown_grace == {0: 0, CRITICAL_PRIORITY: 0}


def test_a_part_that_is_more_than_the_whole_is_refused_with_the_way_out() -> None:
    with pytest.raises(SettingsError) as refused:
        settings("--shutdown-grace-period", "5")
    said = str(refused.value)
    assert "shutdown-grace-period-critical-pods: 10 is more than shutdown-grace-period (5)" in said
    assert "make it smaller or that one larger" in said


def test_each_class_of_priority_can_have_a_time_of_its_own() -> None:
    key = "--shutdown-grace-period-by-pod-priority"
    found = settings(key, "100000=10", key, "0=60", key, "-5=7", "--shutdown-grace-period", "5")
    assert found.shutdown_grace == {100_000: 10, 0: 60, -5: 7}


@pytest.mark.parametrize("wrong", ["10", "a=1", "1=-1", "1=2=3", "=5", "1= ", "1.5=2"])
def test_a_class_that_is_not_one_is_refused_with_an_example(wrong: str) -> None:
    with pytest.raises(SettingsError, match="write PRIORITY=SECONDS, for instance 1000=30") as said:
        settings("--shutdown-grace-period-by-pod-priority", wrong)
    assert repr(wrong) in str(said.value)


def test_two_times_for_one_class_are_refused() -> None:
    key = "--shutdown-grace-period-by-pod-priority"
    with pytest.raises(SettingsError, match="0 has two times"):
        settings(key, "0=10", key, "0=20")
