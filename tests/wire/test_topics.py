"""Topics: built here, taken apart here, and nothing else gets in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import SettingsError, WireError
from shared.objects import ObjectKey
from shared.topics import SLOTS, Topics, key_below, slot_of
from tests.wire.strategies import keys, names

TOPICS = Topics("kubetide/v1")


@given(names, keys)
def test_a_topic_leads_back_to_its_node_and_key(node: str, key: ObjectKey) -> None:
    mine = TOPICS.of(node)
    assert TOPICS.parse(mine.session) == (node, "session")
    found, rest = TOPICS.parse(mine.reported(key))
    assert (found, key_below(rest, "reported")) == (node, key)
    assert key_below(TOPICS.parse(mine.desired(key))[1], "desired") == key


@given(names)
def test_the_filters_of_its_slot_cover_a_node(node: str) -> None:
    slot = slot_of(node)
    assert 0 <= slot < SLOTS
    sessions, inventories, changes, reports, asks = TOPICS.slot_filters(slot)
    assert sessions.replace("+", node) == TOPICS.of(node).session
    assert inventories.replace("+", node) == TOPICS.of(node).inventory
    assert changes.replace("+", node) == TOPICS.of(node).change
    assert reports.replace("+", node).removesuffix("#") in TOPICS.of(node).reported(
        ObjectKey("Pod", "default", "web")
    )
    assert asks.replace("+", node, 1).replace("+", "token") == TOPICS.of(node).ask_token


@given(st.text(max_size=60))
def test_a_foreign_topic_is_refused_or_is_a_node_of_ours(topic: str) -> None:
    try:
        node, rest = TOPICS.parse(topic)
    except WireError:
        return
    assert topic == f"{TOPICS.of(node).base}/{rest}"


def test_a_node_under_the_slot_of_another_is_refused() -> None:
    wrong = (slot_of("edge-1") + 1) % SLOTS
    with pytest.raises(WireError, match="slot"):
        TOPICS.parse(f"kubetide/v1/{wrong:02x}/edge-1/session")


@pytest.mark.parametrize("root", ["", "a/#", "+/b", "$SYS", "/a", "a/"])
def test_a_root_that_is_no_prefix_names_the_setting(root: str) -> None:
    with pytest.raises(SettingsError, match="root"):
        Topics(root)
