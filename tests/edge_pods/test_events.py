"""Events of one pod as a kubelet records them: counted, combined, in order, seldom sent."""

from __future__ import annotations

import pytest

from edgeagent.pods.model.podevents import normal, warning
from edgeagent.pods.reporting.eventing import REPEAT_SECONDS, SIMILAR_SECONDS, EventLog
from shared.messages import COMBINED, MAX_EVENTS
from tests.edge_materials.making import SteppedClock


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def log(clock: SteppedClock) -> EventLog:
    return EventLog(clock)


def test_what_is_said_again_is_one_event_with_a_count(log: EventLog, clock: SteppedClock) -> None:
    for _ in range(3):
        log.record(normal("Pulled", "here", field_path="spec.containers{a}"))
        clock.pass_by(2)
    log.record(normal("Pulled", "here", field_path="spec.containers{b}"))
    first, other = log.pending()
    assert (first.count, first.last - first.first) == (3, 4)
    assert other.field_path == "spec.containers{b}"


def test_events_of_one_second_know_their_order(log: EventLog, clock: SteppedClock) -> None:
    for reason in ("Pulled", "Created", "Started"):
        log.record(normal(reason, "x"))
    log.record(normal("Pulled", "x"))
    clock.pass_by(1)
    log.record(normal("Killing", "x"))
    place = {one.reason: (one.first, one.order) for one in log.pending()}
    assert place["Pulled"] < place["Created"] < place["Started"] < place["Killing"]
    assert place["Killing"][1] == 0


def test_a_tenth_message_of_one_reason_stands_for_all_that_follow(
    log: EventLog, clock: SteppedClock
) -> None:
    for second in range(30):
        log.record(warning("Unhealthy", f"probe failed at {second}"))
        clock.pass_by(10)
    found = log.pending()
    assert [one.message for one in found[:9]] == [f"probe failed at {n}" for n in range(9)]
    (combined,) = found[9:]
    assert (combined.message, combined.count) == (f"{COMBINED}probe failed at 29", 21)
    log.record(warning("Unhealthy", "probe failed at 0"))
    log.record(warning("BackOff", "another reason"))
    assert {one.message: one.count for one in log.pending()}["probe failed at 0"] == 2
    assert log.pending()[-1].message == "another reason"


def test_after_ten_quiet_minutes_each_message_is_its_own_again(
    log: EventLog, clock: SteppedClock
) -> None:
    for second in range(15):
        log.record(warning("Unhealthy", f"at {second}"))
    clock.pass_by(SIMILAR_SECONDS + 1)
    log.record(warning("Unhealthy", "at last"))
    assert log.pending()[-1].message == "at last"


def test_a_repeat_and_what_only_differs_in_words_are_seldom_worth_a_message(
    log: EventLog, clock: SteppedClock
) -> None:
    worth = 0
    for second in range(60):
        if log.record(warning("Unhealthy", f"at {second}")):
            worth += 1
            log.told(log.pending())
        clock.pass_by(10)
    assert worth == 11, "nine, the combined one, and that once more after five minutes"
    clock.pass_by(REPEAT_SECONDS)
    assert log.record(warning("Unhealthy", "at 0"))


def test_a_pod_that_talks_too_much_keeps_its_newest_events(log: EventLog) -> None:
    for number in range(MAX_EVENTS + 5):
        log.record(normal(f"Reason{number}", "x"))
    assert [one.reason for one in log.pending()] == [f"Reason{n}" for n in range(5, MAX_EVENTS + 5)]


def test_a_clock_that_is_set_back_makes_no_event_end_before_it_began(
    log: EventLog, clock: SteppedClock
) -> None:
    log.record(normal("Pulled", "x"))
    clock.pass_by(-1000)
    log.record(normal("Pulled", "x"))
    (one,) = log.pending()
    assert one.first == one.last
