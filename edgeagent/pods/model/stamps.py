"""Times as the API writes them: RFC 3339, whole seconds, UTC. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

_NANO = 10**9
_LAST_SECOND = 253402300799
"""The end of the year 9999: a broken clock must not break a status."""


@lru_cache(maxsize=1024)
def of_seconds(seconds: float) -> str:
    """Kept for a while: each look at a pod says the same few times again."""
    whole = min(max(int(seconds), 0), _LAST_SECOND)
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def of_nanoseconds(nanoseconds: int) -> str | None:
    """None for a moment that nobody knows."""
    return of_seconds(nanoseconds // _NANO) if nanoseconds else None
