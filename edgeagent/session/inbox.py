"""What an incoming message means for the desired set: the table of docs/protocol.md. Pure.

Invariant: the applied list only ever moves to a valid list with a higher revision, so a message
that is lost, repeated, late, foreign or corrupt can cost a fetch, never an object.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgeagent.desired import Body, Desired
from shared.errors import WireError
from shared.messages import Change, DesiredObject, Inventory
from shared.objects import ObjectKey


@dataclass(frozen=True, slots=True)
class InStep:
    """The applied list is the newest one that the sender knew."""


@dataclass(frozen=True, slots=True)
class Accept:
    """Apply this; ``desired.missing()`` says which bodies must be fetched then."""

    desired: Desired


@dataclass(frozen=True, slots=True)
class NeedInventory:
    """There is a newer list, and only the complete one can lead to it."""


@dataclass(frozen=True, slots=True)
class Ignore:
    reason: str
    behind: bool = False
    """The broker's list is older than ours: it has lost its store, and our reports with it."""


Decision = InStep | Accept | NeedInventory | Ignore


def on_change(desired: Desired, change: Change) -> Decision:
    applied = desired.inventory
    if change.revision < applied.revision:
        return Ignore(f"revision {change.revision} is older than {applied.revision}", behind=True)
    if change.revision == applied.revision:
        return _same_revision(applied, change.digest)
    if change.base != applied.revision:
        return NeedInventory()
    try:
        inventory = change.apply_to(applied.entries)
    except WireError:
        return NeedInventory()
    return Accept(desired.accept(inventory, _bodies(change.bodies)))


def on_inventory(desired: Desired, inventory: Inventory) -> Decision:
    applied = desired.inventory
    if inventory.revision < applied.revision or inventory.revision == 0:
        return Ignore(f"revision {inventory.revision} is older than {applied.revision}")
    if inventory.revision == applied.revision:
        return _same_revision(applied, inventory.digest)
    return Accept(desired.accept(inventory, {}))


def on_object(desired: Desired, found: DesiredObject) -> Decision:
    if desired.holds(found.key):
        return InStep()
    after = desired.with_bodies({found.key: Body.of(found.body)})
    if after is desired:
        return Ignore("not a body that the list names")
    return Accept(after)


def _same_revision(applied: Inventory, digest: bytes) -> Decision:
    """Two lists under one number: neither is newer. The birth tells the hub which one is here."""
    if applied.digest == digest:
        return InStep()
    return Ignore(f"another list under revision {applied.revision}")


def _bodies(packed: Mapping[ObjectKey, bytes]) -> dict[ObjectKey, Body]:
    return {key: Body.of(one) for key, one in packed.items()}
