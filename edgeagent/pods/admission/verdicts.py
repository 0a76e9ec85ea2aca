"""What this agent makes of one field of a pod: the words that its table is written in.

Shapes are words for plain values (``text``, ``label``, ``flag``, ``number``, ``port``, ``medium``,
``amount``, ``texts``, ``amounts``, ``any``), the name of another table entry, or one of those in
brackets for a list.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Verdict(enum.Enum):
    SUPPORTED = "supported"
    REFUSED = "refused"
    """A pod that sets it is not taken up; ``note`` is the message."""
    IDLE = "no effect"
    """It means nothing on a node, or nothing here; ``note`` says why."""


@dataclass(frozen=True, slots=True)
class Field:
    shape: str
    verdict: Verdict = Verdict.SUPPORTED
    note: str = ""
    required: bool = False
    values: tuple[str, ...] = ()
    """Set for a field that is supported with these values only."""


def yes(shape: str, note: str = "") -> Field:
    return Field(shape, note=note)


def must(shape: str) -> Field:
    return Field(shape, required=True)


def only(*values: str, note: str = "") -> Field:
    """Supported with these values, refused with any other."""
    return Field("text", note=note, values=values)


def no(shape: str, message: str) -> Field:
    return Field(shape, Verdict.REFUSED, message)


def idle(shape: str, why: str) -> Field:
    return Field(shape, Verdict.IDLE, why)
