"""A list of API objects as it is kept until it was gone through: packed, a sixth of the memory.

As dicts a pod takes some 20 KB, and all that a cluster has are there at once. Made by
``watching.py``.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterator

from shared.objects import Json


class Packed:
    """Objects in order, made anew for each that goes through them: what one keeps is its own."""

    def __init__(self) -> None:
        self._objects: list[bytes] = []

    def add(self, obj: Json) -> None:
        self._objects.append(marshal.dumps(obj))

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[Json]:
        return map(marshal.loads, self._objects)
