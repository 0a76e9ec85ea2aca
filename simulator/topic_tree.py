"""Topics found by a filter, and filters by a topic, without looking at what cannot match."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")
Levels = dict[str, Any]
"""By the name of a level, the levels below it."""
WILDCARD = re.compile(r"/?[+#]")


class TopicTree(Generic[Value]):
    """Insertion-ordered; only what the broker's retained store needs."""

    def __init__(self) -> None:
        self._values: dict[str, Value] = {}
        self._levels: Levels = {}

    def set(self, topic: str, value: Value) -> None:
        if topic not in self._values:
            below = self._levels
            for level in topic.split("/"):
                below = below.setdefault(level, {})
        self._values[topic] = value

    def drop(self, topic: str) -> None:
        """The way to it stays: topics come back, and a dead branch costs a look only."""
        self._values.pop(topic, None)

    def get(self, topic: str) -> Value | None:
        return self._values.get(topic)

    def items(self) -> list[tuple[str, Value]]:
        return list(self._values.items())

    def matching(self, topic_filter: str) -> list[tuple[str, Value]]:
        topics = _walk("", self._levels, topic_filter.split("/"))
        return [(topic, self._values[topic]) for topic in topics if topic in self._values]


def _walk(path: str, below: Levels, wanted: list[str]) -> Iterator[str]:
    for index, level in enumerate(wanted):
        if level == "#":
            yield from _from(path, below)
            return
        if level == "+":
            for one, further in below.items():
                yield from _walk(_joined(path, one), further, wanted[index + 1 :])
            return
        if level not in below:
            return
        path, below = _joined(path, level), below[level]
    yield path


def _from(path: str, below: Levels) -> Iterator[str]:
    """What is at this place, and all below."""
    yield path
    for level, further in below.items():
        yield from _from(_joined(path, level), further)


def _joined(path: str, level: str) -> str:
    return f"{path}/{level}" if path else level


class Filters(Generic[Value]):
    """A hub has more than a thousand of them, and a topic fits one or none."""

    def __init__(self) -> None:
        self._begun: dict[str, dict[str, Value]] = {}
        """By what comes before the first wildcard."""

    def set(self, topic_filter: str, value: Value) -> None:
        self._begun.setdefault(_beginning(topic_filter), {})[topic_filter] = value

    def drop(self, topic_filter: str) -> None:
        self._begun[_beginning(topic_filter)].pop(topic_filter)

    def matching(self, topic: str) -> list[Value]:
        beginnings = accumulate(topic.split("/"), "{}/{}".format)
        return [
            value
            for beginning in ("", *beginnings)
            for topic_filter, value in self._begun.get(beginning, {}).items()
            if matches(topic_filter, topic)
        ]


def _beginning(topic_filter: str) -> str:
    return WILDCARD.split(topic_filter, maxsplit=1)[0]


def matches(topic_filter: str, topic: str) -> bool:
    wanted, levels = topic_filter.split("/"), topic.split("/")
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(levels) or level not in ("+", levels[index]):
            return False
    return len(wanted) == len(levels)
