"""Topics with values, searched by an MQTT filter without looking at what cannot match."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

Value = TypeVar("Value")


class TopicTree(Generic[Value]):
    """Insertion-ordered; only what the broker's retained store needs."""

    def __init__(self) -> None:
        self._values: dict[str, Value] = {}
        self._children: dict[tuple[str, ...], dict[str, None]] = {}

    def set(self, topic: str, value: Value) -> None:
        if topic not in self._values:
            levels = tuple(topic.split("/"))
            for depth, level in enumerate(levels):
                self._children.setdefault(levels[:depth], {})[level] = None
        self._values[topic] = value

    def drop(self, topic: str) -> None:
        """The way to it stays: topics come back, and a dead branch costs a look only."""
        self._values.pop(topic, None)

    def get(self, topic: str) -> Value | None:
        return self._values.get(topic)

    def items(self) -> list[tuple[str, Value]]:
        return list(self._values.items())

    def matching(self, topic_filter: str) -> list[tuple[str, Value]]:
        topics = self._walk((), topic_filter.split("/"))
        return [(topic, self._values[topic]) for topic in topics if topic in self._values]

    def _walk(self, path: tuple[str, ...], rest: list[str]) -> Iterator[str]:
        if not rest:
            yield "/".join(path)
        elif rest[0] == "#":
            if path:
                yield "/".join(path)
            for level in self._children.get(path, ()):
                yield from self._walk((*path, level), rest)
        elif rest[0] == "+":
            for level in self._children.get(path, ()):
                yield from self._walk((*path, level), rest[1:])
        elif rest[0] in self._children.get(path, ()):
            yield from self._walk((*path, rest[0]), rest[1:])


def matches(topic_filter: str, topic: str) -> bool:
    wanted, levels = topic_filter.split("/"), topic.split("/")
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(levels) or level not in ("+", levels[index]):
            return False
    return len(wanted) == len(levels)
