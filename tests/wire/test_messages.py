"""Every message kind: round trips, and hostile fields refused at the door."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import codec
from shared.errors import WireError
from shared.messages import (
    MAX_EVENTS,
    Change,
    DesiredObject,
    HubPresence,
    Inventory,
    Report,
    ReportedEvent,
    Session,
)
from shared.objects import ObjectKey
from tests.wire.strategies import (
    bodies,
    desired,
    inventory_of,
    json_objects,
    keys,
    names,
    revisions,
)

KINDS: list[Any] = [Inventory, Change, DesiredObject, Session, Report, HubPresence]
events = st.builds(
    ReportedEvent,
    type=st.sampled_from(["Normal", "Warning"]),
    reason=st.text(min_size=1, max_size=20),
    message=st.text(max_size=50),
    first=st.integers(0, 2**40),
    last=st.just(2**41),
    count=st.integers(1, 1000),
    field_path=st.text(max_size=20),
    order=st.integers(0, 255),
)


@given(revisions, desired)
def test_an_inventory_comes_back(revision: int, wanted: Any) -> None:
    inventory = inventory_of(revision, wanted)
    assert Inventory.decode(inventory.encode()) == inventory


@given(desired, desired, st.sets(keys))
def test_a_change_leads_from_the_old_list_to_the_new_one(
    old: Any, new: Any, without_body: set[ObjectKey]
) -> None:
    before, after = inventory_of(1, old), inventory_of(2, new)
    riding = {key: body for key, (body, _) in new.items() if key not in without_body}
    change = Change.decode(Change.between(before, after, riding).encode())
    assert change.apply_to(before.entries) == after
    assert set(change.bodies) <= set(change.put)
    for key, body in change.bodies.items():
        assert codec.digest(body) == after.entries[key].digest


@given(desired, desired, desired)
def test_a_change_is_refused_by_any_other_list(old: Any, new: Any, other: Any) -> None:
    change = Change.between(inventory_of(1, old), inventory_of(2, new), {})
    wrong = inventory_of(1, other)
    try:
        assert change.apply_to(wrong.entries).digest == inventory_of(2, new).digest
    except WireError as error:
        assert error.reason == "out-of-step"


@given(keys, bodies)
def test_an_object_comes_back_with_its_digest(key: ObjectKey, body: bytes) -> None:
    sent = DesiredObject(key, body)
    assert DesiredObject.decode(sent.encode()) == sent


def test_an_object_whose_body_is_not_what_its_digest_says_is_refused() -> None:
    body = codec.pack({"a": 1})
    forged = codec.encode({"k": "Pod/default/web", "d": codec.digest(b"other"), "b": body})
    with pytest.raises(WireError, match="bad-digest"):
        DesiredObject.decode(forged)


def test_an_inventory_whose_list_is_not_what_its_digest_says_is_refused() -> None:
    row = ["Pod", "default", "web", b"0" * 16, None]
    with pytest.raises(WireError, match="bad-digest"):
        Inventory.decode(codec.encode({"r": 1, "e": [row], "d": b"1" * 16}))


@given(names, st.integers(0, 2**50), st.lists(keys, max_size=5))
def test_a_birth_and_its_death_are_of_one_connection(
    instance: str, counter: int, missing: list[ObjectKey]
) -> None:
    birth = Session(
        *(True, instance, counter),
        boot="b",
        version="0.1.0",
        revision=7,
        digest=b"d" * 16,
        missing=tuple(missing),
    )
    assert Session.decode(birth.encode()) == birth
    death = Session.decode(Session(False, instance, counter).encode())
    assert not death.online
    assert death.same_connection(birth)
    assert not Session(False, instance, counter + 1).same_connection(birth)


@given(names, st.integers(0, 2**50), st.integers(1, 2**32))
def test_a_question_is_no_death_and_its_answer_is_a_birth(
    instance: str, counter: int, number: int
) -> None:
    question = Session(False, instance, counter, boot="b", question=number)
    assert Session.decode(question.encode()) == question
    assert question.asks
    assert not Session(False, instance, counter).asks
    answer = Session(True, instance, counter, boot="b", version="0.1.0", question=number)
    assert Session.decode(answer.encode()) == answer
    assert not answer.asks
    assert "q" not in codec.decode(replace(answer, question=0).encode())


def test_a_report_of_an_agent_that_knows_no_order_of_events_is_taken() -> None:
    said = (
        ReportedEvent("Normal", "Pulled", "x", 1, 1),
        ReportedEvent("Normal", "Made", "x", 1, 1),
    )
    report = Report(ObjectKey("Pod", "default", "web"), "u", 1, 1, {}, events=said)
    ordered = replace(report, events=(said[0], replace(said[1], order=1)))
    assert "o" not in codec.decode(report.encode()), "and costs nothing where there is none"
    assert Report.decode(report.encode()) == report
    assert Report.decode(ordered.encode()) == ordered
    older = codec.decode(ordered.encode())
    del older["o"]
    assert Report.decode(codec.encode(older)) == report


@given(keys, revisions, json_objects, st.lists(events, max_size=MAX_EVENTS), st.booleans())
def test_a_report_comes_back(
    key: ObjectKey, sequence: int, status: Any, said: list[ReportedEvent], finished: bool
) -> None:
    report = Report(key, "uid-1", sequence, 5, status, tuple(said), finished)
    assert Report.decode(report.encode()) == report


@given(st.booleans(), names, revisions)
def test_the_presence_of_a_hub_comes_back(online: bool, replica: str, since: int) -> None:
    assert HubPresence.decode(HubPresence(online, replica, since).encode()).replica == replica


@pytest.mark.parametrize("kind", KINDS)
@given(message=json_objects)
def test_a_foreign_map_is_a_wire_error_for_every_kind(kind: Any, message: Any) -> None:
    with pytest.raises(WireError):
        kind.decode(codec.encode(message))


@pytest.mark.parametrize("kind", KINDS)
@given(values=st.lists(st.none() | st.integers() | st.text() | st.binary(), min_size=8, max_size=8))
def test_mistyped_fields_are_a_wire_error_for_every_kind(kind: Any, values: Any) -> None:
    message = dict(zip("bdekoprx", values, strict=True))
    message |= dict(zip("acfimnst", reversed(values), strict=True))
    try:
        kind.decode(codec.encode(message))
    except (WireError, OverflowError):
        return
    assert kind is HubPresence or kind is Session


@pytest.mark.parametrize(
    "key",
    [
        *("Pod/default", "Pod/default/web/x", "Pod/../web", "Pod/default/A", "/default/web"),
        *("pod/default/web", "+/default/web", "P#/default/web", f"P{'o' * 63}/default/web"),
    ],
)
def test_a_key_that_is_no_name_is_refused(key: str) -> None:
    with pytest.raises(WireError, match="bad-key"):
        ObjectKey.parse(key)
