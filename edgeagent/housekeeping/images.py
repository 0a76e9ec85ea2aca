"""Which images to remove when the disk fills up. Pure.

Owns the choice: only what no container has, no pod of this device needs and nobody has pinned,
not younger than two minutes, the longest unused first, and no more than the disk needs. A device
may not reach its registry: what a pod needs is never chosen, however full the disk is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from edgeagent.node.device import Room
from edgeagent.runtime.port import Container, Image

HIGH_PERCENT, LOW_PERCENT = 85, 80
LEAST_AGE = 120.0
"""Seconds since the image was first seen here."""


@dataclass(frozen=True, slots=True)
class ImageUse:
    """Monotonic moments; an image that was never seen in use counts from when it was first seen."""

    detected: float
    last_used: float


def to_free(room: Room) -> int:
    """Bytes, 0 while the disk is not too full."""
    used_percent = 100 - room.available * 100 // max(room.capacity, 1)
    if used_percent < HIGH_PERCENT:
        return 0
    return max(room.capacity * (100 - LOW_PERCENT) // 100 - room.available, 0)


def used_by(images: Iterable[Image], containers: Iterable[Container]) -> frozenset[str]:
    """Ids of the images that containers were made of, dead ones as well."""
    names = {name for one in containers for name in (one.image, one.image_ref) if name}
    return frozenset(
        one.id for one in images if not names.isdisjoint((one.id, *one.tags, *one.digests))
    )


def noted(
    before: Mapping[str, ImageUse] | None,
    images: Iterable[Image],
    used: Collection[str],
    now: float,
) -> dict[str, ImageUse]:
    """What is known of every image that is here, after this look.

    ``before`` None is the first look: what is found then was here before, and is old enough, or a
    disk that is full at the start would cost pods.
    """
    detected = now - LEAST_AGE if before is None else now
    after = {}
    for one in images:
        known = (before or {}).get(one.id, ImageUse(detected, detected))
        after[one.id] = replace(known, last_used=now) if one.id in used else known
    return after


def chosen(
    images: Iterable[Image],
    uses: Mapping[str, ImageUse],
    *,
    kept: Collection[str],
    now: float,
    amount: int | None,
) -> list[Image]:
    """What to remove to get ``amount`` bytes; None = all that may go."""
    free = [
        one
        for one in images
        if one.id not in kept and not one.pinned and now - uses[one.id].detected >= LEAST_AGE
    ]
    free.sort(key=lambda one: (uses[one.id].last_used, uses[one.id].detected, one.id))
    picked: list[Image] = []
    gained = 0
    for one in free:
        if amount is not None and gained >= amount:
            break
        picked.append(one)
        gained += one.size_bytes
    return picked
