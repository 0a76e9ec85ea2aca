"""What a msgpack value would cost to build, read from its headers alone. Pure.

A few kilobytes of deflate can be millions of empty lists, each a hundred bytes of memory, and one
header may claim billions of values: so ``codec.py`` has every value from outside weighed before
anything of it is built. Counts in total, since values nest; texts and bytes are stepped over, so a
large ConfigMap costs nothing here. Only a value that is whole passes.
"""

from __future__ import annotations

from shared.errors import WireError

MAX_DEPTH = 100
"""Lists and maps within each other; an API object has some fifteen. Who walks through a value that
is not deeper than this needs no care for the interpreter's stack."""

_NUMBERS = {
    0xCA: 4,
    0xCB: 8,
    0xCC: 1,
    0xCD: 2,
    0xCE: 4,
    0xCF: 8,
    0xD0: 1,
    0xD1: 2,
    0xD2: 4,
    0xD3: 8,
}
_LENGTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
"""Bytes and texts: how many bytes their length has."""
_COUNTS = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
"""Lists and maps: how many bytes their count has, and how many values each counted one is."""


def _whole(head: int) -> int:
    """Bytes of a value that its first byte tells the size of, else 0."""
    if head < 0x80 or head >= 0xE0 or head in (0xC0, 0xC2, 0xC3):
        return 1
    if 0xA0 <= head < 0xC0:
        return 1 + (head & 31)
    return 1 + _NUMBERS[head] if head in _NUMBERS else 0


_WHOLE = bytes(_whole(head) for head in range(256))


def weigh(plain: bytes, *, most: int, depth: int = MAX_DEPTH) -> int:
    """How many values there are; raises WireError for more than ``most``, or deeper ones."""
    at, left, total = 0, 1, 1
    outer: list[int] = []
    while True:
        while left:
            left -= 1
            if at >= len(plain):
                raise WireError("bad-msgpack", "ends too early")
            if size := _WHOLE[plain[at]]:
                at += size
                continue
            size, inside = _stepped(plain, at)
            at += size
            if inside:
                total += inside
                outer.append(left)
                left = inside
                if total > most or len(outer) > depth:
                    raise WireError("too-many-values", f"over {most}, or {depth} deep")
        if not outer:
            break
        left = outer.pop()
    if at > len(plain):
        raise WireError("bad-msgpack", "ends too early")
    return total


def _stepped(plain: bytes, at: int) -> tuple[int, int]:
    """Bytes to step over, and how many values follow that belong to this one."""
    head = plain[at]
    if head < 0xA0:
        return 1, (head & 15) * (1 if head >= 0x90 else 2)
    if (width := _LENGTHS.get(head)) is not None:
        return 1 + width + _number(plain, at, width), 0
    if head in _COUNTS:
        width, each = _COUNTS[head]
        return 1 + width, _number(plain, at, width) * each
    raise WireError("bad-msgpack", f"a value of type {head:#x}")


def _number(plain: bytes, at: int, width: int) -> int:
    return int.from_bytes(plain[at + 1 : at + 1 + width], "big")
