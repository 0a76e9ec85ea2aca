"""A list has the higher number, the more its maker knows; beside hubs and agents of any age."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from cloudhub.fleet.fleet import Wanted
from cloudhub.fleet.publishing import Applied, Facts, Known, plan
from cloudhub.fleet.revisions import EXACT_BITS, FIRST, HIGHEST, Reached, revision_at
from edgeagent.desired import Desired
from edgeagent.session.inbox import Accept, Ignore, on_inventory
from shared.messages import Inventory
from tests.hub_fleet.broker_store import entries_of
from tests.hub_fleet.test_publishing import KEYS

WANTED = Wanted(entries_of({KEYS[0]: (1, None)}), frozenset())
YEARS_10 = 10 * 366 * 86_400_000


def milliseconds(year: int) -> int:
    return int(datetime(year, 1, 1, tzinfo=UTC).timestamp() * 1000)


# -- the order of versions


@given(st.integers(0, 2**126), st.integers(0, 2**126))
def test_a_greater_version_never_has_a_lower_revision(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert FIRST <= revision_at(str(low)) <= revision_at(str(high)) < HIGHEST


@given(st.integers(0, 2**EXACT_BITS - 2))
def test_every_version_of_an_ordinary_cluster_has_its_own(version: int) -> None:
    assert revision_at(str(version + 1)) == revision_at(str(version)) + 1


def test_versions_that_are_nanoseconds_are_told_apart_by_the_second() -> None:
    """Some stores behind an API server number by time."""
    now = 1_795_000_000_000_000_000
    assert revision_at(str(now + 10**9)) > revision_at(str(now))


def test_what_is_no_number_has_the_first_revision() -> None:
    for version in ("", "v12", "12a", "-1", "1.5", "1_000", "\u0663\u0664", "9" * 39):
        assert revision_at(version) == FIRST


# -- how far a hub has followed the pods


def test_a_watch_that_tells_of_any_pod_brings_every_node_further() -> None:
    reached = Reached()
    reached.listed("120")
    assert reached.of("edge-1") == revision_at("120")
    reached.told("123")
    assert reached.of("edge-1") == revision_at("123")


def test_a_list_of_one_nodes_pods_knows_what_the_watch_has_still_to_tell() -> None:
    reached = Reached()
    reached.listed("120")
    reached.listed_alone("edge-1", ["7", "140", "130"])
    reached.listed_alone("edge-2", [])
    assert reached.of("edge-1") == revision_at("140")
    assert reached.of("edge-2") == revision_at("120")
    reached.told("150")
    assert reached.of("edge-1") == revision_at("150")


def test_a_list_of_all_pods_from_a_restored_backup_knows_no_more_than_that() -> None:
    reached = Reached()
    reached.told("120")
    reached.listed_alone("edge-1", ["140"])
    reached.listed("30")
    assert reached.of("edge-1") == revision_at("30")


# -- beside hubs that number by the clock, and agents that know no other


def older_hub(previous: int, now_ms: int) -> int:
    """What a hub gave until it went by the API's versions."""
    return max(previous + 1, now_ms)


def older_hub_takes(revision: int, now_ms: int) -> bool:
    return revision <= now_ms + YEARS_10


def next_list(previous: int, knowing: int) -> Inventory:
    facts = Facts(Known(Inventory(previous, {}), None), Applied(previous, b""), previous)
    found = plan(WANTED, facts, lambda key: None, knowing)
    assert found is not None and found.inventory is not None
    return found.inventory


@given(st.integers(0, 2**64), st.integers(milliseconds(2024), milliseconds(2030)))
def test_hubs_of_both_ages_go_on_above_each_other(version: int, now_ms: int) -> None:
    """Also the other way round: a hub may be set back to its older release."""
    knowing = revision_at(str(version))
    first = older_hub(0, now_ms)
    second = next_list(first, knowing).revision
    assert second == knowing > first
    third = older_hub(second, now_ms + 1000)
    assert third > second
    assert next_list(third, knowing).revision > third


@given(st.integers(0, 2**64))
def test_an_older_hub_takes_what_is_numbered_by_the_api(version: int) -> None:
    """It refuses revisions that are ten years ahead of its clock."""
    assert older_hub_takes(revision_at(str(version)), milliseconds(2026))


@given(st.integers(0, 2**64), st.integers(milliseconds(2024), milliseconds(2030)))
def test_an_agent_takes_lists_of_hubs_of_both_ages(version: int, now_ms: int) -> None:
    by_clock = Inventory(older_hub(0, now_ms), WANTED.entries)
    desired = _accepted(Desired(), by_clock)
    by_api = next_list(by_clock.revision, revision_at(str(version)))
    desired = _accepted(desired, by_api)
    again = Inventory(older_hub(by_api.revision, now_ms), WANTED.entries)
    desired = _accepted(desired, again)
    assert isinstance(on_inventory(desired, by_clock), Ignore)


def _accepted(desired: Desired, inventory: Inventory) -> Desired:
    decision = on_inventory(desired, inventory)
    assert isinstance(decision, Accept)
    return decision.desired
