"""The store against a model: versions, history, pages, and what a watch makes of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devcluster.apiserver.listing import Query, read_page
from devcluster.apiserver.resources import CONFIG_MAPS
from devcluster.apiserver.selectors import everything, parse_labels
from devcluster.apiserver.status import ApiError
from devcluster.apiserver.store import Expired, Key, Store
from devcluster.apiserver.watching import Watch, WatchQuery

_NAMES = st.sampled_from(["a", "b", "c"])
_WRITES = st.lists(st.tuples(_NAMES, st.sampled_from(["red", "blue", "gone"])), max_size=30)


def _key(name: str) -> Key:
    return Key("configmaps", "ns", name)


def _write(store: Store, name: str, colour: str) -> None:
    if colour != "gone":
        metadata = {"namespace": "ns", "name": name, "labels": {"colour": colour}}
        store.put(_key(name), {"metadata": metadata})
    elif store.get(_key(name)) is not None:
        store.remove(_key(name))


def _colours(objects: list[Any]) -> dict[str, str]:
    return {obj["metadata"]["name"]: obj["metadata"]["labels"]["colour"] for obj in objects}


def _watch(store: Store, version: int, selector: str = "") -> Watch:
    predicate = parse_labels(selector)
    query = WatchQuery(CONFIG_MAPS, "ns", predicate, version, bookmarks=False, initial_events=False)
    return Watch(store, query)


@given(_WRITES)
def test_every_write_has_its_own_version_and_the_last_write_counts(
    writes: list[tuple[str, str]],
) -> None:
    store, model = Store(), {}
    versions = []
    store.listen(lambda change: versions.append(change.version))
    for name, colour in writes:
        _write(store, name, colour)
        model[name] = colour
    assert _colours(store.list("configmaps")) == {n: c for n, c in model.items() if c != "gone"}
    assert versions == sorted(set(versions))


@given(_WRITES, _WRITES, st.sampled_from(["", "colour=red", "colour!=red"]))
def test_a_list_and_the_watch_after_it_end_at_the_newest_list(
    before: list[tuple[str, str]], after: list[tuple[str, str]], selector: str
) -> None:
    store = Store()
    for write in before:
        _write(store, *write)
    predicate = parse_labels(selector)
    query = Query(CONFIG_MAPS, "ns", predicate)
    page = read_page(store, query)
    known = {obj["metadata"]["name"]: obj for obj in page.items}
    for write in after:
        _write(store, *write)
    for event in _watch(store, page.version, selector).start():
        name = event.obj["metadata"]["name"]
        assert (event.kind == "ADDED") is (name not in known)
        if event.kind == "DELETED":
            del known[name]
        else:
            known[name] = event.obj
    assert list(known.values()) == sorted(
        read_page(store, query).items, key=lambda obj: list(known).index(obj["metadata"]["name"])
    )


@given(_WRITES, _WRITES)
def test_a_later_page_shows_the_moment_of_the_first(
    before: list[tuple[str, str]], between: list[tuple[str, str]]
) -> None:
    store = Store()
    for write in before:
        _write(store, *write)
    whole = _colours(read_page(store, Query(CONFIG_MAPS, "ns", everything)).items)
    first = read_page(store, Query(CONFIG_MAPS, "ns", everything, limit=1))
    for write in between:
        _write(store, *write)
    rest = []
    if first.token:
        rest = read_page(store, Query(CONFIG_MAPS, "ns", everything, token=first.token)).items
    assert _colours([*first.items, *rest]) == whole


def test_the_history_is_bounded_and_says_so() -> None:
    store = Store(history=10)
    for n in range(100):
        _write(store, "a", f"colour-{n}")
    changes = list(store.since("configmaps", store.version - 10))
    assert len(changes) == 10
    with pytest.raises(Expired):
        store.since("configmaps", 2)
    with pytest.raises(ApiError) as refused:
        _watch(store, 2).start()
    assert (refused.value.code, refused.value.reason) == (410, "Expired")


def test_a_version_that_never_was_is_no_start_for_a_watch() -> None:
    with pytest.raises(ApiError) as refused:
        _watch(Store(), 1_000_000).start()
    assert refused.value.code == 410


def test_changes_of_other_kinds_do_not_shorten_the_history() -> None:
    store = Store(history=10)
    _write(store, "a", "red")
    for n in range(100):
        store.put(Key("secrets", "ns", "s"), {"metadata": {"name": "s", "n": n}})
    assert len(list(store.since("configmaps", 1))) == 1


def test_what_was_given_out_is_never_changed() -> None:
    store = Store()
    _write(store, "a", "red")
    first = store.get(_key("a"))
    _write(store, "a", "blue")
    assert first is not None and first["metadata"]["labels"] == {"colour": "red"}
