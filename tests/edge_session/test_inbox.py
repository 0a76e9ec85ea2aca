"""Whatever is lost, repeated, late or foreign: the applied list only moves to newer valid lists.

A history of the hub is a few lists with growing revisions; the agent sees an arbitrary mixture of
the messages about them (a subset, repeated, in any order), also of a hub that numbered otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.desired import Body, Desired
from edgeagent.session.inbox import (
    Accept,
    Decision,
    Ignore,
    InStep,
    NeedInventory,
    on_change,
    on_inventory,
    on_object,
)
from shared import codec
from shared.messages import Change, DesiredObject, Entry, Inventory
from shared.objects import ObjectKey

WEB, DB, CONF = (ObjectKey.parse(f"{k}") for k in ("Pod/a/web", "Pod/a/db", "ConfigMap/a/conf"))
NEWS = ObjectKey.parse("Device/a/lamp")
"""Of a kind that only a newer hub knows."""

Said = Change | Inventory | DesiredObject

bodies = st.sampled_from([codec.pack({"v": number}) for number in range(4)])
wanted_sets = st.dictionaries(
    st.sampled_from([WEB, DB, CONF, NEWS]), st.tuples(bodies, st.sampled_from([None, 0, 30]))
)


def inventory_of(revision: int, wanted: dict[ObjectKey, tuple[bytes, int | None]]) -> Inventory:
    entries = {key: Entry(codec.digest(body), grace) for key, (body, grace) in wanted.items()}
    return Inventory(revision, entries)


class History:
    """What one hub has published: lists, the steps between them, bodies."""

    def __init__(
        self,
        sets: Sequence[dict[ObjectKey, tuple[bytes, int | None]]],
        *,
        first: int = 1,
        step: int = 1,
        carried: bool = True,
    ) -> None:
        lists = [inventory_of(first + step * number, one) for number, one in enumerate(sets)]
        self.lists = [Inventory(0, {}), *lists]
        self.objects = [DesiredObject(key, body) for one in sets for key, (body, _) in one.items()]
        self.changes = []
        for number, one in enumerate(sets):
            ride = {key: body for key, (body, _) in one.items()} if carried else {}
            self.changes.append(Change.between(self.lists[number], self.lists[number + 1], ride))

    @property
    def newest(self) -> Inventory:
        return self.lists[-1]

    def messages(self) -> list[Said]:
        return [*self.changes, *self.lists[1:], *self.objects]


histories = st.builds(History, st.lists(wanted_sets, min_size=1, max_size=5), carried=st.booleans())
strangers = st.builds(
    History, st.lists(wanted_sets, min_size=1, max_size=3), first=st.integers(1, 6)
)


def decide(desired: Desired, said: Said) -> Decision:
    if isinstance(said, Change):
        return on_change(desired, said)
    if isinstance(said, Inventory):
        return on_inventory(desired, said)
    return on_object(desired, said)


def after(desired: Desired, *said: Said) -> Desired:
    for one in said:
        decision = decide(desired, one)
        desired = decision.desired if isinstance(decision, Accept) else desired
    return desired


@given(histories, st.data())
def test_any_mixture_of_messages_ends_in_the_newest_list(
    history: History, data: st.DataObject
) -> None:
    heard = data.draw(st.lists(st.sampled_from(history.messages()), max_size=25))
    found = after(after(Desired(), *heard), history.newest, *history.objects)
    assert found.inventory == history.newest
    assert not found.missing()


@given(histories, st.data())
def test_in_order_and_without_loss_changes_alone_suffice(
    history: History, data: st.DataObject
) -> None:
    repeated = [one for one in history.changes for _ in range(data.draw(st.integers(1, 2)))]
    found = after(Desired(), *repeated)
    assert found.inventory == history.newest
    assert not (found.missing() - {one.key for one in history.objects})


@given(histories, strangers, st.data())
def test_nothing_is_dropped_without_a_newer_valid_list(
    history: History, stranger: History, data: st.DataObject
) -> None:
    """``stranger`` is another hub, or this one before its clock was set back."""
    everything = [*history.messages(), *stranger.messages()]
    valid = {(one.revision, one.digest) for one in (*history.lists, *stranger.lists)}
    desired = Desired()
    for said in data.draw(st.lists(st.sampled_from(everything), max_size=30)):
        found = after(desired, said)
        gone = desired.inventory.entries.keys() - found.inventory.entries.keys()
        assert not gone or found.inventory.revision > desired.inventory.revision
        assert found.inventory.revision >= desired.inventory.revision
        assert (found.inventory.revision, found.inventory.digest) in valid
        kept = desired.bodies.keys() & found.inventory.entries.keys()
        assert kept <= found.bodies.keys(), "a body serves until the right one has come"
        desired = found


@given(histories, st.data())
def test_who_is_behind_always_learns_it_from_the_head(
    history: History, data: st.DataObject
) -> None:
    heard = data.draw(st.lists(st.sampled_from(history.messages()), max_size=8))
    desired = after(Desired(), *heard)
    decision = on_change(desired, history.changes[-1])
    if desired.inventory == history.newest:
        assert isinstance(decision, InStep)
    elif isinstance(decision, Accept):
        assert decision.desired.inventory == history.newest
    else:
        assert isinstance(decision, NeedInventory)


def body(number: int) -> bytes:
    return codec.pack({"v": number})


def held(revision: int, **wanted: int) -> Desired:
    keys = {"web": WEB, "db": DB, "conf": CONF}
    chosen: dict[ObjectKey, tuple[bytes, int | None]] = {
        keys[name]: (body(number), None) for name, number in wanted.items()
    }
    packed = {key: Body.of(one) for key, (one, _) in chosen.items()}
    return Desired().accept(inventory_of(revision, chosen), packed)


def step(old: Desired, new: Desired, **options: bool) -> Change:
    ride = {key: one.packed for key, one in new.bodies.items()} if options.get("ride", True) else {}
    return Change.between(old.inventory, new.inventory, ride)


@pytest.mark.parametrize("revision", [8, 9])
def test_a_list_that_is_not_newer_is_ignored(revision: int) -> None:
    ours, theirs = held(9, web=1), held(revision, db=1)
    assert isinstance(on_inventory(ours, theirs.inventory), Ignore)
    assert isinstance(on_change(ours, step(held(1), theirs)), Ignore)


def test_only_an_older_head_says_that_the_broker_fell_behind() -> None:
    older = on_change(held(9, web=1), step(held(1), held(8, web=1)))
    other = on_change(held(9, web=1), step(held(1), held(9, db=1)))
    assert isinstance(older, Ignore) and older.behind
    assert isinstance(other, Ignore) and not other.behind


def test_a_change_from_another_base_asks_for_the_whole_list() -> None:
    assert isinstance(on_change(held(5, web=1), step(held(6), held(7, web=2))), NeedInventory)


def test_a_change_that_does_not_lead_where_it_says_asks_for_the_whole_list() -> None:
    """Two histories under one number."""
    lie = step(held(5, db=1), held(6, db=1, web=2))
    assert isinstance(on_change(held(5, web=1), lie), NeedInventory)


def test_a_big_body_stays_missing_and_the_old_one_serves() -> None:
    old = held(5, web=1)
    decision = on_change(old, step(old, held(6, web=2), ride=False))
    assert isinstance(decision, Accept)
    assert decision.desired.missing() == {WEB}
    assert decision.desired.bodies[WEB] == Body.of(body(1))
    fetched = on_object(decision.desired, DesiredObject(WEB, body(2)))
    assert isinstance(fetched, Accept)
    assert not fetched.desired.missing()


def test_a_body_that_nobody_listed_is_ignored() -> None:
    assert isinstance(on_object(held(5, web=1), DesiredObject(DB, body(1))), Ignore)
    assert isinstance(on_object(held(5, web=1), DesiredObject(WEB, body(2))), InStep)


def test_an_empty_newer_list_empties_and_revision_zero_is_no_list() -> None:
    decision = on_inventory(held(5, web=1), Inventory(6, {}))
    assert isinstance(decision, Accept) and not decision.desired.bodies
    assert isinstance(on_inventory(held(5, web=1), Inventory(0, {})), Ignore)
    assert isinstance(on_inventory(Desired(), Inventory(0, {})), Ignore)


def test_a_kind_of_a_newer_hub_is_listed_and_no_body_of_it_is_fetched_or_kept() -> None:
    newer = inventory_of(6, {WEB: (body(1), None), NEWS: (body(2), None)})
    change = Change.between(held(5).inventory, newer, {WEB: body(1), NEWS: body(2)})
    decision = on_change(held(5), change)
    assert isinstance(decision, Accept)
    assert decision.desired.inventory.digest == newer.digest
    assert decision.desired.bodies.keys() == {WEB}
    assert not decision.desired.missing()
    assert isinstance(on_object(decision.desired, DesiredObject(NEWS, body(2))), Ignore)
