"""What happened in one seed: the story, the causes that the oracles need, and what went wrong.

Kept as tuples and rendered only when somebody reads: most seeds are never read. ``failures`` is
what the seed is judged by.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from typing import NamedTuple


class Line(NamedTuple):
    at: float
    who: str
    what: str
    details: tuple[tuple[str, object], ...] = ()

    def __str__(self) -> str:
        details = "".join(f"  {name}={value}" for name, value in self.details)
        return f"{self.at:10.3f}  {self.who:<12} {self.what}{details}"


class Journal:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.lines: list[Line] = []
        self.failures: list[str] = []

    def say(self, who: str, what: str, **details: object) -> None:
        self.lines.append(Line(self._loop.time(), who, what, tuple(details.items())))

    def fail(self, rule: str, what: str) -> None:
        """``rule`` is a short word by which failures of many seeds are counted together."""
        self.failures.append(f"{rule}: {what}")
        self.lines.append(Line(self._loop.time(), "ORACLE", f"{rule}: {what}"))

    def rules(self) -> list[str]:
        return sorted({failure.split(":")[0] for failure in self.failures})

    def story(self) -> Iterator[str]:
        return map(str, self.lines)

    def digest(self) -> str:
        """Equal for equal runs: how the tests know that a seed replays."""
        text = "\n".join(self.story())
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
