"""Rendezvous hashing: complete, balanced, and moving as little as possible."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cloudhub.replicas import owned_slots
from shared.topics import SLOTS

names = st.sets(st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True), min_size=1, max_size=8)


def shares(replicas: set[str]) -> dict[str, frozenset[int]]:
    return {name: owned_slots(name, replicas) for name in replicas}


@given(names)
def test_every_slot_has_exactly_one_owner(replicas: set[str]) -> None:
    owned = [slot for slots in shares(replicas).values() for slot in slots]
    assert sorted(owned) == list(range(SLOTS))


@given(names, st.data())
def test_who_leaves_moves_only_its_own_slots(replicas: set[str], data: st.DataObject) -> None:
    leaver = data.draw(st.sampled_from(sorted(replicas)))
    before, after = shares(replicas), shares(replicas - {leaver})
    for name, slots in after.items():
        assert before[name] <= slots


@given(names)
def test_shares_are_even(replicas: set[str]) -> None:
    even = SLOTS / len(replicas)
    for slots in shares(replicas).values():
        assert even / 2.6 <= len(slots) <= even * 1.9 + 1


def test_one_replica_owns_everything() -> None:
    assert owned_slots("a", ["a"]) == frozenset(range(SLOTS))


def test_who_is_not_there_owns_nothing() -> None:
    assert owned_slots("b", ["a"]) == frozenset()
