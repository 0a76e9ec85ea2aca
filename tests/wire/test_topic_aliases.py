"""Topic aliases: what a receiver makes of names and aliases is the topic that was meant."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.topic_aliases import TopicAliases

TOPICS = st.lists(st.sampled_from([f"kubetide/v1/{letter}" for letter in "abcdefg"]), max_size=60)


@given(TOPICS, st.integers(0, 9))
def test_the_receiver_always_knows_the_topic(topics: list[str], most: int) -> None:
    """The receiver's table as MQTT 5 has it: a name with an alias replaces what the alias meant."""
    aliases, known = TopicAliases(most), dict[int, str]()
    for topic in topics:
        name, alias = aliases.of(topic)
        if alias is not None:
            assert 1 <= alias <= most
            known[alias] = name or known[alias]
        assert (name or known[alias or 0]) == topic


@given(TOPICS)
def test_with_enough_aliases_a_name_is_sent_once(topics: list[str]) -> None:
    aliases = TopicAliases(7)
    names = [name for name, _ in map(aliases.of, topics) if name]
    assert sorted(names) == sorted(set(topics))


def test_the_least_recently_used_gives_way() -> None:
    aliases = TopicAliases(2)
    for topic in ("a", "b", "a", "c"):
        aliases.of(topic)
    assert aliases.of("a") == ("", 1)
    assert aliases.of("b") == ("b", 2)


def test_a_broker_without_aliases_gets_names() -> None:
    aliases = TopicAliases(0)
    assert [aliases.of("a"), aliases.of("a")] == [("a", None), ("a", None)]
