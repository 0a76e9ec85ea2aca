"""The outbox alone: what is kept of events, under which sequence, and how a report gets smaller."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeagent.outbox import EVENT_SECONDS, MAX_TEXT, News, Outbox, coalesce, smaller
from shared.messages import COMBINED, MAX_EVENTS, Report, ReportedEvent
from tests.edge_session.rig import NOW, event, pod_key

WEB = pod_key("web")


def test_events_are_counted_bounded_and_grow_old() -> None:
    many = [event(f"Reason{number}") for number in range(MAX_EVENTS + 5)]
    kept = coalesce((), many, now=NOW)
    assert [one.reason for one in kept] == [one.reason for one in many[5:]]
    assert coalesce(kept, [event("Reason9", count=2)], now=NOW)[-1].count == 3
    assert not coalesce(kept, (), now=NOW + EVENT_SECONDS)
    long = ReportedEvent("Normal", "Long", "x" * 5000, int(NOW), int(NOW))
    assert len(coalesce((), [long], now=NOW)[0].message) == MAX_TEXT


def test_a_repeated_event_keeps_the_place_of_its_beginning() -> None:
    begun = [replace(event(reason), order=place) for place, reason in enumerate("abc")]
    again = replace(event("a", at=NOW + 9), order=0)
    kept = coalesce(begun, [again], now=NOW)
    assert [(one.reason, one.first, one.order) for one in kept] == [
        *(("b", NOW, 1), ("c", NOW, 2)),
        ("a", NOW, 0),
    ]
    assert (kept[-1].last, kept[-1].count) == (NOW + 9, 2)


def test_similar_events_are_one_with_the_newest_words() -> None:
    old = replace(event(), message=f"{COMBINED}at 10:01")
    new = replace(event(at=NOW + 9), message=f"{COMBINED}at 10:02", count=4)
    (one,) = coalesce([old], [new], now=NOW)
    assert (one.message, one.count, one.first) == (f"{COMBINED}at 10:02", 5, NOW)


def test_another_uid_under_a_key_starts_anew() -> None:
    outbox = Outbox()
    outbox.put(WEB, uid="u1", status={"a": 1}, events=[event()], now=NOW)
    assert outbox.put(WEB, uid="u2", status={"a": 1}, now=NOW) is News.NEW
    row = outbox.get(WEB)
    assert row is not None
    assert row.events == ()


def test_an_acknowledgement_of_an_older_report_marks_nothing() -> None:
    outbox = Outbox()
    outbox.put(WEB, uid="u1", status={"a": 1}, now=NOW)
    (first,) = outbox.seal([WEB], applied=1, now=NOW)
    outbox.put(WEB, uid="u1", status={"a": 2}, now=NOW)
    assert not outbox.mark_sent(WEB, first.sequence)
    assert outbox.seal([WEB], applied=1, now=NOW)[0].sequence > first.sequence
    assert len(outbox.waiting()) == 1


@pytest.mark.parametrize("clock", [0.0, 5e9, NOW])
def test_the_sequence_follows_only_a_clock_that_can_be_right(clock: float) -> None:
    outbox = Outbox(sequence=41)
    outbox.put(WEB, uid="u1", status={}, now=clock)
    (row,) = outbox.seal([WEB], applied=1, now=clock)
    assert row.sequence == (int(NOW * 1000) + 1 if clock == NOW else 42)


def test_every_smaller_form_is_a_report_and_the_last_is_tiny() -> None:
    status = {"phase": "Failed", "conditions": [{"message": "x" * 9000}] * 20}
    report = Report(WEB, "u", 1, 1, status, events=(event(),))
    forms = [Report.decode(one.encode()) for one in smaller(report)]
    assert forms[0] == report
    assert not forms[1].events
    assert [one.status["phase"] for one in forms] == ["Failed"] * 4
    assert len(forms[-1].encode()) < 200
