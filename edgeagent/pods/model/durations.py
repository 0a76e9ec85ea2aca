"""Durations as Kubernetes writes them in messages: ``345ms``, ``2.5s``, ``1m2.5s``. Pure."""

from __future__ import annotations


def go_duration(seconds: float) -> str:
    """To the millisecond, cut off."""
    milliseconds = max(int(seconds * 1000 + 1e-6), 0)
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    minutes, rest = divmod(milliseconds, 60_000)
    shown = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{shown}"
    return f"{minutes}m{shown}" if minutes else shown
