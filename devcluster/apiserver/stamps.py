"""Times and generated names in the form the API uses. Pure: randomness is passed in."""

from __future__ import annotations

import random
from datetime import UTC, datetime

_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels and nothing that looks alike: a generated name never spells a word."""


def time_text(seconds: float) -> str:
    """A moment as metav1.Time: UTC, whole seconds."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_time_text(seconds: float) -> str:
    """A moment as metav1.MicroTime: UTC, six decimals."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> float:
    """Seconds since 1970 of an RFC 3339 text; ValueError when it is none."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None or "T" not in text.upper():
        raise ValueError(f"not an RFC 3339 time: {text!r}")
    return moment.timestamp()


def canonical_time(text: str, *, micro: bool) -> str:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"a time without a zone: {text!r}")
    shape = "%Y-%m-%dT%H:%M:%S.%fZ" if micro else "%Y-%m-%dT%H:%M:%SZ"
    return moment.astimezone(UTC).strftime(shape)


def generated_name(prefix: str, random_source: random.Random) -> str:
    """``prefix`` and five random characters, as ``metadata.generateName`` asks for."""
    return prefix[:58] + "".join(random_source.choices(_SUFFIX, k=5))
