"""Typed, bounded access to the fields of a decoded message: the door between bytes and values.

Every accessor raises ``WireError("bad-field", …)`` for a missing, mistyped or oversized field.
Called by ``shared/messages.py`` only.
"""

from __future__ import annotations

from typing import Any

from shared.codec import MAX_PLAIN
from shared.errors import WireError


class Fields:
    def __init__(self, message: dict[str, Any]) -> None:
        self._message = message

    def natural(self, name: str) -> int:
        """An integer of 0 to 2**53 - 1 (what every JSON reader keeps exact)."""
        value = self._message.get(name)
        if type(value) is not int or not 0 <= value < 2**53:
            raise self._bad(name)
        return value

    def natural_or_zero(self, name: str) -> int:
        """Of a field that a sender of another version may not have."""
        return 0 if self._message.get(name) is None else self.natural(name)

    def flag(self, name: str) -> bool:
        value = self._message.get(name)
        if type(value) is not bool:
            raise self._bad(name)
        return value

    def text(self, name: str, most: int) -> str:
        value = self._message.get(name)
        if not isinstance(value, str) or len(value) > most:
            raise self._bad(name)
        return value

    def texts(self, name: str, most: int) -> list[str]:
        value = self._message.get(name)
        if not isinstance(value, list) or len(value) > most:
            raise self._bad(name)
        if not all(isinstance(text, str) for text in value):
            raise self._bad(name)
        return value

    def blob(self, name: str, size: int | None = None) -> bytes:
        """Bytes; of exactly ``size`` when that is given."""
        value = self._message.get(name)
        if not isinstance(value, bytes) or len(value) > MAX_PLAIN:
            raise self._bad(name)
        if size is not None and len(value) != size:
            raise self._bad(name)
        return value

    def bytes_or_zeros(self, name: str, size: int) -> bytes:
        """Of a field that a sender of another version may not have."""
        return bytes(size) if self._message.get(name) is None else self.blob(name, size)

    def json(self, name: str) -> dict[str, Any]:
        value = self._message.get(name)
        if not isinstance(value, dict):
            raise self._bad(name)
        return value

    def rows(self, name: str, *, width: int, most: int) -> list[list[Any]]:
        """A list of at most ``most`` lists, each of exactly ``width`` values."""
        value = self._message.get(name)
        if not isinstance(value, list) or len(value) > most:
            raise self._bad(name)
        if not all(isinstance(row, list) and len(row) == width for row in value):
            raise self._bad(name)
        return value

    def _bad(self, name: str) -> WireError:
        return WireError("bad-field", name)
