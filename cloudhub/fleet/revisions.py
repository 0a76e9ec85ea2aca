"""The number of a node's list, such that of two lists the one that knows more of the API is newer.

It is made of how far its maker has followed the pods of the API server, a resourceVersion, which is
the same for all replicas; no clock is asked. So a list that was long on its way, or whose maker's
clock is ahead, does not count as newer than one that knows more. Pure; ``fleet`` says how far,
``publishing`` also stays above what was there, ``uplink`` checks what others say.
"""

from __future__ import annotations

from collections.abc import Iterable

FIRST = 1_900_000_000_000
"""Above all that older hubs use, who number by the clock: unix milliseconds, until 2030."""
EXACT_BITS = 33
"""Up to 8.6 thousand million each version has a number of its own; beyond, several share one."""
LONGEST = 38
"""Digits of a resourceVersion that is taken for a number."""
HIGHEST = 2**42
"""What is above this is no revision of ours."""


def revision_at(version: str) -> int:
    """Never falls while versions grow. All that are no numbers have the first: no order at all."""
    known = version.isascii() and version.isdecimal() and len(version) <= LONGEST
    number = int(version) if known else 0
    coarser = max(0, number.bit_length() - EXACT_BITS)
    return FIRST + (coarser << (EXACT_BITS - 1)) + (number >> coarser)


class Reached:
    """How far the API's pods are known, as a revision: higher for who knows more of a node."""

    def __init__(self) -> None:
        self._all = FIRST
        self._ahead: dict[str, int] = {}
        """Of nodes that were listed by themselves, later than the watch has told by now."""

    def of(self, node: str) -> int:
        return max(self._all, self._ahead.get(node, FIRST))

    def listed(self, version: str) -> None:
        """The watch began with a list of all pods; a lower one if a backup was restored."""
        self._ahead.clear()
        self._all = revision_at(version)

    def told(self, version: str) -> None:
        """By the watch, of all pods up to this version."""
        self._all = revision_at(version)

    def has_told(self, version: str) -> bool:
        """Whether the watch is there already: what it does not know of then is gone again."""
        return revision_at(version) <= self._all

    def listed_alone(self, node: str, versions: Iterable[str]) -> None:
        self._ahead[node] = max(map(revision_at, versions), default=FIRST)
