"""An Event about a pod before it is counted and stamped: what happened, not when or how often."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PodEvent:
    type: str
    """Normal or Warning."""
    reason: str
    message: str
    field_path: str = ""
    """For a container: ``spec.containers{name}``."""


Record = Callable[[PodEvent], object]


def normal(reason: str, message: str, *, field_path: str = "") -> PodEvent:
    return PodEvent("Normal", reason, message, field_path)


def warning(reason: str, message: str, *, field_path: str = "") -> PodEvent:
    return PodEvent("Warning", reason, message, field_path)
