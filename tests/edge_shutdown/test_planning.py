"""Whose turn it is, and for how long: properties of the course of a shutdown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgeagent.pods.held import HeldPod
from edgeagent.shutdown.planning import Course, Shares, is_critical, most_grace
from shared.objects import Json

SECONDS = st.integers(0, 3600)
PRIORITIES = st.one_of(
    st.none(),
    st.integers(-(2**31), 2**31 - 1),
    st.sampled_from([1_999_999_999, 2_000_000_000, 2_000_001_000]),
)


def a_pod(priority: int | None) -> Json:
    spec = {} if priority is None else {"priority": priority}
    return {"metadata": {"name": "p"}, "spec": {"containers": [], **spec}}


@st.composite
def shares(draw: st.DrawFn) -> Shares:
    total = draw(SECONDS)
    critical = draw(st.integers(0, total))
    return Shares(total - critical, critical)


def test_the_shares_of_the_defaults() -> None:
    asked = Shares(regular=20, critical=10)
    assert (most_grace(asked.regular), most_grace(asked.critical)) == (19, 9)
    assert asked.within(60) == asked
    assert asked.within(15) == Shares(regular=10, critical=5)
    five = asked.within(5.0)
    assert (most_grace(five.regular), most_grace(five.critical)) == (2, 1)


@given(shares(), st.floats(0, 10_000))
def test_what_is_given_is_never_more_than_what_is_allowed(asked: Shares, allowed: float) -> None:
    given_ = asked.within(allowed)
    assert given_.total <= min(asked.total, allowed) + 1e-6
    assert 0 <= given_.regular <= asked.regular
    assert 0 <= given_.critical <= asked.critical
    if asked.total <= allowed:
        assert given_ == asked
    else:
        parts = given_.critical * asked.total, asked.critical * given_.total
        assert abs(parts[0] - parts[1]) < 1e-6, "both shrink alike"


@given(st.floats(0, 10_000))
def test_a_pod_gets_whole_seconds_and_leaves_one_to_tell_its_end(share: float) -> None:
    grace = most_grace(share)
    assert isinstance(grace, int)
    assert grace <= max(share - 1, 1)
    assert (grace == 0) == (share == 0)


@given(PRIORITIES, shares())
def test_a_critical_pod_runs_on_until_the_others_had_their_turn(
    priority: int | None, some: Shares
) -> None:
    pod = a_pod(priority)
    assert is_critical(pod) == (priority is not None and priority >= 2_000_000_000)
    first, second = Course(some, 5.0), Course(some, 5.0, 9.0)
    if is_critical(pod):
        assert first(pod).grace is None
        assert (second(pod).grace, second(pod).since) == (most_grace(some.critical), 9.0)
    else:
        assert first(pod) == second(pod)
        assert (first(pod).grace, first(pod).since) == (most_grace(some.regular), 5.0)


@given(st.lists(st.tuples(PRIORITIES, st.booleans())))
def test_a_turn_waits_for_its_own_pods_and_the_last_one_for_all(
    pods: list[tuple[int | None, bool]],
) -> None:
    held = [
        HeldPod(f"uid-{number}", a_pod(priority), rests=rests)
        for number, (priority, rests) in enumerate(pods)
    ]
    awake = {one.uid for one in held if not one.rests}
    regular = {one.uid for one in held if not is_critical(one.pod)}
    first = Course(Shares(20, 10), 0.0)
    assert {one.uid for one in first.waits_for(held)} == awake & regular
    last = Course(Shares(20, 10), 0.0, 20.0)
    assert {one.uid for one in last.waits_for(held)} == awake
