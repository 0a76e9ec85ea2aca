"""A versioned store: objects by kind, one global counter of versions, a bounded history.

Invariants: a stored object is never changed in place (whoever wants another one writes another
one); every write takes the next version; ``since`` gives either every change after a version or
``Expired``, never a gap. No I/O, no clock, no tasks: listeners are plain callbacks, called after
the write is visible. Used by ``objects`` (writes) and ``watching`` (history).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from devcluster.apiserver.status import Json


class Expired(Exception):
    """The history no longer (or not yet) reaches the version asked for."""

    def __init__(self, asked: int, oldest: int) -> None:
        super().__init__(f"version {asked} is not in the history, which starts at {oldest}")
        self.asked = asked
        self.oldest = oldest


@dataclass(frozen=True, slots=True)
class Key:
    storage: str
    namespace: str
    """Empty for cluster-scoped objects."""
    name: str


@dataclass(frozen=True, slots=True)
class Change:
    """One write. ``before`` is None for a creation, ``after`` None for a removal."""

    version: int
    key: Key
    before: Json | None
    after: Json | None
    removed: Json | None = None
    """For a removal: the last state, stamped with the version of the removal."""


Listener = Callable[[Change], None]


@dataclass
class _Shelf:
    """The objects of one kind and what happened to them lately."""

    forgotten: int
    """The version of the newest change that is not in ``changes``."""
    objects: dict[tuple[str, str], Json] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)


class Store:
    def __init__(self, *, history: int = 2000, first_version: int = 1) -> None:
        """``history`` is the least number of changes kept per kind.

        Versions count from ``first_version``; with one above all those of an earlier life, a
        client that comes from there is told 410 and lists again.
        """
        self._history = history
        self._first_version = first_version
        self._shelves: dict[str, _Shelf] = {}
        self._listeners: set[Listener] = set()
        self.version = first_version

    def get(self, key: Key) -> Json | None:
        return self._shelf(key.storage).objects.get((key.namespace, key.name))

    def list(self, storage: str, namespace: str = "") -> list[Json]:
        """Objects in key order; of one namespace, or of all with ``""``."""
        objects = self._shelf(storage).objects
        return [objects[key] for key in sorted(objects) if not namespace or key[0] == namespace]

    def put(self, key: Key, obj: Json) -> Json:
        """Write ``obj`` (which the store owns from now on) under the next version."""
        before = self.get(key)
        self.version += 1
        stored = _stamped(obj, self.version)
        self._shelf(key.storage).objects[key.namespace, key.name] = stored
        self._record(Change(self.version, key, before, stored))
        return stored

    def remove(self, key: Key) -> Json:
        """Remove the object and return its last state, with the version of the removal."""
        before = self._shelf(key.storage).objects.pop((key.namespace, key.name))
        self.version += 1
        removed = _stamped(before, self.version)
        self._record(Change(self.version, key, before, None, removed))
        return removed

    def since(self, storage: str, version: int) -> Iterator[Change]:
        """Changes of one kind after ``version``, oldest first, as they stand now."""
        shelf = self._shelf(storage)
        if version < shelf.forgotten or version > self.version:
            raise Expired(version, shelf.forgotten)
        start = bisect_right(shelf.changes, version, key=lambda change: change.version)
        return iter(shelf.changes[start:])

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` after every write; the result ends that."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    def _shelf(self, storage: str) -> _Shelf:
        if storage not in self._shelves:
            self._shelves[storage] = _Shelf(self._first_version)
        return self._shelves[storage]

    def _record(self, change: Change) -> None:
        shelf = self._shelf(change.key.storage)
        shelf.changes.append(change)
        if len(shelf.changes) > 2 * self._history:
            surplus = len(shelf.changes) - self._history
            shelf.forgotten = shelf.changes[surplus - 1].version
            del shelf.changes[:surplus]
        for listener in list(self._listeners):
            listener(change)


def _stamped(obj: Json, version: int) -> Json:
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version)}}
