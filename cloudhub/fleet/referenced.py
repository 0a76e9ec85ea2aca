"""Objects that pods name: ConfigMaps, Secrets, claims, and the volumes that claims name in turn.

Owns who needs each of them, what is known of it, and forgets it with its last user. An object that
was not fetched yet is ``pending``, which is not absence. Pure; a part of ``Fleet``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from cloudhub.fleet.references import named_by
from cloudhub.fleet.trimming import Body, body_of
from shared.messages import Entry
from shared.objects import Json, ObjectKey


@dataclass(slots=True)
class _Referenced:
    users: Counter[str] = field(default_factory=Counter)
    """How many pods or claims name it, by the node that they are for."""
    known: bool = False
    refused: bool = False
    """While it is not known: whether that is because the hub has no right to read it."""
    body: Body | None = None
    version: str = ""
    names: frozenset[ObjectKey] = frozenset()
    """What it names itself: a claim its volume."""


class ReferencedObjects:
    def __init__(self) -> None:
        self._objects: dict[ObjectKey, _Referenced] = {}

    def __contains__(self, key: ObjectKey) -> bool:
        return key in self._objects

    def keys(self) -> Collection[ObjectKey]:
        return self._objects.keys()

    def body(self, key: ObjectKey) -> Body | None:
        found = self._objects.get(key)
        return found.body if found else None

    def version(self, key: ObjectKey) -> str | None:
        """Empty when the API has none, None when that is not known."""
        found = self._objects.get(key)
        return found.version if found is not None and found.known else None

    def users(self, key: ObjectKey) -> Collection[str]:
        """Nodes."""
        found = self._objects.get(key)
        return found.users.keys() if found else ()

    def put(self, key: ObjectKey, obj: Json | None) -> tuple[Collection[str], set[ObjectKey]]:
        """Nodes for which it differs now, and objects that are named now and were not before."""
        fetch: set[ObjectKey] = set()
        found = self._objects.get(key)
        if found is None:
            return (), fetch
        body = body_of(key, obj) if obj is not None else None
        same = found.known and _digest(found.body) == _digest(body)
        found.known, found.refused = True, False
        found.version = obj["metadata"]["resourceVersion"] if obj is not None else ""
        if same:
            return (), fetch
        found.body = body
        before, found.names = found.names, named_by(key, obj or {})
        for name in found.users:
            fetch |= self.claim(name, found.names - before)
            self.release(name, before - found.names)
        return found.users.keys(), fetch

    def refuse(self, key: ObjectKey) -> Collection[str]:
        """Nodes that need not wait for it any more."""
        found = self._objects.get(key)
        if found is None or found.known or found.refused:
            return ()
        found.refused = True
        return found.users.keys()

    def awaited(self, pending: Iterable[ObjectKey]) -> frozenset[ObjectKey]:
        """RuntimeClasses that may come any moment."""
        return frozenset(
            key for key in pending if key.kind == "RuntimeClass" and not self._objects[key].refused
        )

    def claim(self, node: str, keys: Iterable[ObjectKey]) -> set[ObjectKey]:
        """Answers those that nobody has named before."""
        fetch: set[ObjectKey] = set()
        for key in keys:
            found = self._objects.get(key)
            if found is None:
                found = self._objects[key] = _Referenced()
                fetch.add(key)
            if node not in found.users:
                fetch |= self.claim(node, found.names)
            found.users[node] += 1
        return fetch

    def release(self, node: str, keys: Iterable[ObjectKey]) -> None:
        for key in keys:
            found = self._objects[key]
            found.users[node] -= 1
            if not found.users[node]:
                del found.users[node]
                self.release(node, found.names)
            if not found.users:
                del self._objects[key]

    def with_their_own(self, named: Collection[ObjectKey]) -> set[ObjectKey]:
        """These, and what they name in their turn."""
        return set(named).union(*(self._objects[key].names for key in named))

    def entries(self, keys: Iterable[ObjectKey]) -> tuple[dict[ObjectKey, Entry], set[ObjectKey]]:
        """Of those that the API has, and the ones of which that is not known yet."""
        entries, pending = {}, set()
        for key in keys:
            found = self._objects[key]
            if not found.known:
                pending.add(key)
            elif found.body is not None:
                entries[key] = Entry(found.body.digest)
        return entries, pending


def _digest(body: Body | None) -> bytes:
    return body.digest if body else b""
