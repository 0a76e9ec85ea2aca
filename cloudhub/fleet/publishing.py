"""Which publishes make the broker hold what a node should have: the least, and none when equal.

Pure. ``Known`` is what the broker was last seen to hold, ``Applied`` what the agent said it has.
Order on the wire: bodies that are new, inventory, change, then clears of what was dropped; so at
whatever point a hub dies, the next one sees from inventory and change what is left to do.
``downlink.py`` calls, for one node at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from cloudhub.fleet.fleet import Wanted
from cloudhub.fleet.trimming import Body
from shared.codec import DIGEST_SIZE
from shared.messages import Change, Entry, Inventory
from shared.objects import ObjectKey

RIDING_MOST = 4 * 1024
"""Bytes of a body that may ride in a change."""
RIDING_TOTAL = 16 * 1024
"""Bytes of all bodies in one change."""

EMPTY = Inventory(0, {})
AWAITED = Entry(bytes(DIGEST_SIZE))
"""Of a RuntimeClass that is not known yet: no body has this digest, so the device waits with the
pods that name it. If it were not listed, they would run by the handler of its name."""


@dataclass(frozen=True, slots=True)
class Head:
    """What matters of a change once it is retained."""

    revision: int
    digest: bytes
    dropped: frozenset[ObjectKey] = frozenset()


@dataclass(frozen=True, slots=True)
class Known:
    """What the broker retains for a node; None = nothing, or nothing valid."""

    inventory: Inventory | None = None
    head: Head | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """What the agent has; an empty digest is one it did not say."""

    revision: int = 0
    digest: bytes = b""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known when the publishes of a node are planned."""

    known: Known
    applied: Applied
    floor: int = 0
    """The highest revision that was ever seen or used for the node."""
    doubtful: bool = False
    """Two wrote at once, so nobody knows which inventory the broker kept: write a newer one."""
    refused: Mapping[ObjectKey, bytes] = field(default_factory=dict)
    """Bodies, by digest, that are over the broker's limit: what the node has of them stays."""


@dataclass(frozen=True, slots=True)
class Plan:
    bodies: tuple[Body, ...] = ()
    inventory: Inventory | None = None
    change: Change | None = None
    clear: tuple[ObjectKey, ...] = ()

    def after(self, known: Known) -> Known:
        """What the broker holds when all of this is acknowledged."""
        inventory = self.inventory or known.inventory
        if self.change is None:
            head = replace(known.head, dropped=frozenset()) if known.head else None
        else:
            head = Head(self.change.revision, self.change.digest)
        return Known(inventory, head)


def plan(
    wanted: Wanted, facts: Facts, body: Callable[[ObjectKey], Body | None], knowing: int
) -> Plan | None:
    """None when the broker and the agent are as they should be.

    ``knowing`` is the revision that what we know of the API is worth.
    """
    old = facts.known.inventory or EMPTY
    entries = settled_entries(wanted, facts, old)
    if _must_renew(entries, facts, old):
        return _renewal(entries, facts, body, knowing)
    head = facts.known.head
    clear = _left_over(facts, entries)
    if old.revision and (
        head is None or (head.revision, head.digest) != (old.revision, old.digest)
    ):
        return Plan(change=_pointer(old), clear=clear)
    return Plan(clear=clear) if clear else None


def settled_entries(wanted: Wanted, facts: Facts, old: Inventory) -> dict[ObjectKey, Entry]:
    """The list to publish: what cannot be sent yet, or ever, stays as the node has it."""
    entries = dict(wanted.entries)
    for key, digest in facts.refused.items():
        entry = entries.get(key)
        if entry is not None and entry.digest == digest:
            _keep(entries, key, old, grace=entry.grace)
    for key in wanted.pending:
        _keep(entries, key, old)
        if key in wanted.awaited:
            entries.setdefault(key, AWAITED)
        elif entries.get(key) == AWAITED:
            del entries[key]
    if not wanted.services_known:
        for key in old.entries:
            if key.kind == "Service":
                _keep(entries, key, old)
    return entries


def _keep(
    entries: dict[ObjectKey, Entry], key: ObjectKey, old: Inventory, grace: int | None = None
) -> None:
    before = old.entries.get(key)
    if before is None:
        entries.pop(key, None)
    else:
        entries[key] = Entry(before.digest, grace)


def _must_renew(entries: Mapping[ObjectKey, Entry], facts: Facts, old: Inventory) -> bool:
    applied = facts.applied
    return (
        facts.doubtful
        or entries != old.entries
        or applied.revision > old.revision
        or (applied.revision == old.revision and applied.digest not in (b"", old.digest))
        or (old.revision == 0 and facts.known.head is not None)
    )


def _renewal(
    entries: Mapping[ObjectKey, Entry],
    facts: Facts,
    body: Callable[[ObjectKey], Body | None],
    knowing: int,
) -> Plan:
    old = facts.known.inventory or EMPTY
    revision = max(old.revision + 1, facts.applied.revision + 1, facts.floor + 1, knowing)
    inventory = Inventory(revision, entries)
    bodies = [found for key in sorted(entries) if (found := _new(key, entries, old, body))]
    dropped = frozenset(old.entries.keys() - entries.keys())
    return Plan(
        tuple(bodies),
        inventory,
        _change(old, inventory, facts.applied, bodies),
        clear=tuple(sorted(dropped.union(_left_over(facts, entries)))),
    )


def _new(
    key: ObjectKey,
    entries: Mapping[ObjectKey, Entry],
    old: Inventory,
    body: Callable[[ObjectKey], Body | None],
) -> Body | None:
    before = old.entries.get(key)
    if before is not None and before.digest == entries[key].digest:
        return None
    found = body(key)
    return found if found is not None and found.digest == entries[key].digest else None


def _change(old: Inventory, new: Inventory, applied: Applied, bodies: list[Body]) -> Change:
    """The step for who is at ``old``; for an agent that is not, one that costs it little."""
    if applied.revision <= old.revision and (old.revision or not applied.revision):
        return Change.between(old, new, _riding(bodies))
    if applied.digest == new.digest:
        return Change(applied.revision, new.revision, new.digest)
    return _pointer(new)


def _pointer(inventory: Inventory) -> Change:
    """A head that only says which inventory is the newest."""
    return Change(inventory.revision, inventory.revision, inventory.digest)


def _riding(bodies: list[Body]) -> dict[ObjectKey, bytes]:
    riding: dict[ObjectKey, bytes] = {}
    room = RIDING_TOTAL
    for body in sorted(bodies, key=lambda one: (len(one.packed), one.key)):
        if len(body.packed) > min(RIDING_MOST, room):
            break
        riding[body.key] = body.packed
        room -= len(body.packed)
    return riding


def _left_over(facts: Facts, entries: Mapping[ObjectKey, Entry]) -> tuple[ObjectKey, ...]:
    """What the retained change dropped: whoever published it may have died before the clears."""
    dropped = facts.known.head.dropped if facts.known.head else frozenset()
    return tuple(sorted(dropped - entries.keys()))
