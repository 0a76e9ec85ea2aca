"""Whose turn it is, and for how long: properties of the course of a shutdown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgeagent.pods.held import HeldPod
from edgeagent.shutdown.planning import Course, Turns, most_grace, turns_of
from shared.objects import Json

CRITICAL = 2_000_000_000
NUMBERS = st.integers(-(2**31), 2**31 - 1) | st.sampled_from([0, CRITICAL - 1, CRITICAL])
PRIORITIES = st.none() | NUMBERS
SECONDS = st.integers(0, 3600)
TURNS = st.dictionaries(NUMBERS, SECONDS, min_size=1, max_size=5).map(turns_of)


def a_pod(priority: int | None) -> Json:
    spec = {} if priority is None else {"priority": priority}
    return {"metadata": {"name": "p"}, "spec": {"containers": [], **spec}}


def test_the_shares_of_the_defaults() -> None:
    asked = turns_of({0: 20, CRITICAL: 10})
    assert [most_grace(share) for share in asked.shares] == [19, 9]
    assert asked.within(60) == asked
    assert asked.within(15).shares == (10, 5)
    assert [most_grace(share) for share in asked.within(5.0).shares] == [2, 1]


def test_a_pod_belongs_to_the_highest_class_that_it_reaches() -> None:
    turns = turns_of({100_000: 10, 0: 60, 1_000: 120, 10_000: 180})
    assert turns.shares == (60, 120, 180, 10), "the least important first"
    found = {one: turns.of(a_pod(one)) for one in (-5, None, 0, 999, 1_000, 99_999, 100_000)}
    assert found == {-5: 0, None: 0, 0: 0, 999: 0, 1_000: 1, 99_999: 2, 100_000: 3}


@given(TURNS, st.floats(0, 10_000))
def test_what_is_given_is_never_more_than_what_is_allowed(asked: Turns, allowed: float) -> None:
    given_ = asked.within(allowed)
    assert given_.total <= min(asked.total, allowed) + 1e-6
    assert given_.priorities == asked.priorities
    if asked.total <= allowed:
        assert given_ == asked
    for mine, wished in zip(given_.shares, asked.shares, strict=True):
        assert 0 <= mine <= wished
        assert abs(mine * asked.total - wished * given_.total) < 1e-3, "all shrink alike"


@given(st.floats(0, 10_000))
def test_a_pod_gets_whole_seconds_and_leaves_one_to_tell_its_end(share: float) -> None:
    grace = most_grace(share)
    assert isinstance(grace, int)
    assert grace <= max(share - 1, 1)
    assert (grace == 0) == (share == 0)


@given(TURNS, PRIORITIES, PRIORITIES)
def test_a_pod_never_stops_before_one_that_is_less_important(
    turns: Turns, one: int | None, other: int | None
) -> None:
    less, more = sorted((a_pod(one), a_pod(other)), key=lambda pod: pod["spec"].get("priority", 0))
    assert turns.of(less) <= turns.of(more)


@given(TURNS, PRIORITIES, st.data())
def test_a_pod_runs_on_until_its_turn_has_come(
    turns: Turns, priority: int | None, data: st.DataObject
) -> None:
    begun = data.draw(st.integers(0, len(turns.shares)))
    since = tuple(float(10 * turn) for turn in range(begun))
    pod = a_pod(priority)
    turn, told = turns.of(pod), Course(turns, since)(pod)
    if turn >= begun:
        assert told.grace is None
    else:
        assert (told.grace, told.since) == (most_grace(turns.shares[turn]), since[turn])


@given(TURNS, st.lists(st.tuples(PRIORITIES, st.booleans())))
def test_a_turn_waits_for_its_own_pods_and_those_before_and_the_last_one_for_all(
    turns: Turns, pods: list[tuple[int | None, bool]]
) -> None:
    held = [
        HeldPod(f"uid-{number}", a_pod(priority), rests=rests)
        for number, (priority, rests) in enumerate(pods)
    ]
    for begun in range(1, len(turns.shares) + 1):
        course = Course(turns, (0.0,) * begun)
        expected = [one for one in held if not one.rests and turns.of(one.pod) < begun]
        assert course.waits_for(held) == expected
    assert expected == [one for one in held if not one.rests]
