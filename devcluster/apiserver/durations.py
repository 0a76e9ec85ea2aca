"""How long ago, in the short form of ``kubectl`` (``2m30s``, ``5h``, ``8d``). Pure."""

from __future__ import annotations

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 365 * 86400


def age_text(seconds: float) -> str:
    """Two units while the second still matters, else one."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 2 * _MINUTE:
        return f"{max(whole, 0)}s"
    for unit, letter, part, part_letter, both_below, alone_below in _STEPS:
        if whole < both_below:
            count, rest = divmod(whole, unit)
            return (
                f"{count}{letter}{rest // part}{part_letter}"
                if rest // part
                else f"{count}{letter}"
            )
        if whole < alone_below:
            return f"{whole // unit}{letter}"
    return f"{whole // _YEAR}y"


_STEPS = (
    (_MINUTE, "m", 1, "s", 10 * _MINUTE, 3 * _HOUR),
    (_HOUR, "h", _MINUTE, "m", 8 * _HOUR, 2 * _DAY),
    (_DAY, "d", _HOUR, "h", 8 * _DAY, 2 * _YEAR),
    (_YEAR, "y", _DAY, "d", 8 * _YEAR, 8 * _YEAR),
)
"""(unit, its letter, smaller unit, its letter, both shown below, only the first shown below)."""
