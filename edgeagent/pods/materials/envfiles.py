"""Files of variables that an init container leaves for others (``fileKeyRef``).

Pure. The format is the API's strict subset of a shell's: ``NAME='value'``, single quotes, values
may span lines, blank lines and lines that begin with ``#`` are skipped. Nothing is interpreted,
and nothing after the wanted name is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from shared.errors import PermanentError

MOST_BYTES = 64 * 1024
"""Most that is read of such a file; the API allows keys and values far below that."""

_ASSIGNMENT = re.compile(r"[ \t]*([^\s='#][^\s=']*)='([^']*)'[ \t\r]*(?:#[^\n]*)?(?:\n|\Z)")
_NOTHING = re.compile(r"[ \t\r]*(?:#[^\n]*)?(?:\n|\Z)")


class BadEnvFile(PermanentError):
    """Not a file of variables; the message has the line, never a value."""


def value_of(name: str, text: str) -> str | None:
    """The first value that the name is given; None when there is none."""
    return next((value for found, value in _assignments(text) if found == name), None)


def _assignments(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text):
        if nothing := _NOTHING.match(text, at):
            at = nothing.end()
        elif assignment := _ASSIGNMENT.match(text, at):
            yield assignment[1], assignment[2].replace("\r\n", "\n")
            at = assignment.end()
        else:
            raise BadEnvFile(f"line {text.count(chr(10), 0, at) + 1} is not NAME='value'")
