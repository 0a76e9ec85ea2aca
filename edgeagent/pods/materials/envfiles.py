"""Files of variables that an init container leaves for others (``fileKeyRef``).

Pure. The format is a kubelet's strict subset of a shell's: ``NAME='value'``, single quotes, values
may span lines, blank lines and lines that begin with ``#`` are skipped. Nothing is interpreted: a
name may hold blanks (``export A='1'`` is the variable ``export A``), and ``A= '1'`` is an empty A.
Nothing after the wanted name is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator

from shared.errors import PermanentError

MOST_BYTES = 1024 * 1024
"""Most that is read of such a file, as much as a ConfigMap or Secret can hold. A kubelet bounds its
lines (64 KiB) and not the whole."""

_BLANKS = " \t"


class BadEnvFile(PermanentError):
    """Not a file of variables; the message has the line, never a value."""


class EnvFile:
    """One file, read once, and no further than is asked for."""

    def __init__(self, text: str) -> None:
        self._left = _assignments(text)
        self._values: dict[str, str] = {}
        self._error: BadEnvFile | None = None

    def value_of(self, name: str) -> str | None:
        """The first value that the name is given; None when there is none. Raises BadEnvFile."""
        if name not in self._values:
            self._read_up_to(name)
        return self._values.get(name)

    def _read_up_to(self, name: str) -> None:
        if self._error is not None:
            raise self._error
        try:
            for found, value in self._left:
                self._values.setdefault(found, value)
                if found == name:
                    return
        except BadEnvFile as error:
            self._error = error
            raise


def _assignments(text: str) -> Iterator[tuple[str, str]]:
    lines = ((at, one.removesuffix("\r")) for at, one in enumerate(text.split("\n"), 1))
    for at, line in lines:
        line = line.lstrip(_BLANKS)
        if not line or line.startswith("#"):
            continue
        name, _, value = line.partition("=")
        if name.rstrip(_BLANKS) != name or not name or not value.startswith(("'", *_BLANKS)):
            raise BadEnvFile(f"line {at} is not NAME='value'")
        yield name, _quoted(value[1:], lines, at) if value.startswith("'") else ""


def _quoted(rest: str, lines: Iterator[tuple[int, str]], at: int) -> str:
    """Up to the closing quote, in a later line maybe; only a comment may follow it."""
    value = []
    while "'" not in rest:
        value.append(rest)
        following = next(lines, None)
        if following is None:
            raise BadEnvFile(f"the quote of line {at} is not closed")
        rest = following[1]
    last, _, after = rest.partition("'")
    if after.lstrip(_BLANKS)[:1] not in ("", "#"):
        raise BadEnvFile(f"line {at} is not NAME='value'")
    return "\n".join([*value, last])
