"""The broker finds by an MQTT filter what the filter matches, and by a topic who wants it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from simulator.topic_tree import Filters, TopicTree, matches

LEVELS = st.lists(st.sampled_from("ab"), min_size=1, max_size=4)
TOPICS = LEVELS.map("/".join)
BEGINNINGS = st.lists(st.sampled_from("ab+"), max_size=4)
FILTERS = BEGINNINGS.flatmap(
    lambda levels: st.sampled_from(["/".join([*levels, "#"]), "/".join(levels) or "a"])
)


@given(st.frozensets(TOPICS), FILTERS)
def test_a_filter_finds_every_topic_that_it_matches(topics: frozenset[str], wanted: str) -> None:
    tree: TopicTree[str] = TopicTree()
    for topic in topics:
        tree.set(topic, topic)
    found = [value for _, value in tree.matching(wanted)]
    assert sorted(found) == sorted(topic for topic in topics if matches(wanted, topic))


@given(st.frozensets(FILTERS), st.frozensets(FILTERS), TOPICS)
def test_a_topic_finds_every_filter_that_matches_it(
    there: frozenset[str], gone: frozenset[str], topic: str
) -> None:
    filters: Filters[str] = Filters()
    for one in there | gone:
        filters.set(one, one)
    for one in gone:
        filters.drop(one)
    wanted = sorted(one for one in there - gone if matches(one, topic))
    assert sorted(filters.matching(topic)) == wanted
