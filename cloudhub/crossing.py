"""Reports that the hub put back at the broker, or cleared there, a moment ago: a newer one may have
been on its way to us, and lies below ours now.

Owns how long that is thought of, so that it is bounded however much is put back. Pure. Owned by
``uplink.py``.
"""

from __future__ import annotations

from collections import OrderedDict

from shared.clock import Clock
from shared.objects import ObjectKey

CROSSES = 60.0
"""Seconds in which a newer report may have crossed ours."""


class Crossing:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at: OrderedDict[tuple[str, ObjectKey], float] = OrderedDict()

    def note(self, node: str, key: ObjectKey) -> None:
        """We wrote over what a node said of an object."""
        self._forget()
        self._at[node, key] = self._clock.monotonic()
        self._at.move_to_end((node, key))

    def may_be(self, node: str, key: ObjectKey) -> bool:
        """Whether what comes now may have been sent before."""
        self._forget()
        return (node, key) in self._at

    def __len__(self) -> int:
        return len(self._at)

    def _forget(self) -> None:
        least = self._clock.monotonic() - CROSSES
        while self._at and next(iter(self._at.values())) < least:
            self._at.popitem(last=False)
