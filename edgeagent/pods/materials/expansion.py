"""``$(NAME)`` in commands, arguments and values, by the rules of the API.

Pure. A reference to something unknown stays as it was written; ``$$`` is one ``$``, so that
``$$(NAME)`` never expands; an operator without its closing bracket is plain text.
"""

from __future__ import annotations

from collections.abc import Mapping


def expand(text: str, known: Mapping[str, str]) -> str:
    return _expand(text, known, unknown=None)


def missing(text: str, known: Mapping[str, str]) -> list[str]:
    """Names that ``text`` refers to and that are not known, in order."""
    names: list[str] = []
    _expand(text, known, unknown=names)
    return names


def _expand(text: str, known: Mapping[str, str], *, unknown: list[str] | None) -> str:
    done: list[str] = []
    at = 0
    while (dollar := text.find("$", at)) >= 0 and dollar + 1 < len(text):
        done.append(text[at:dollar])
        piece, at = _reference(text, dollar, known=known, unknown=unknown)
        done.append(piece)
    done.append(text[at:])
    return "".join(done)


def _reference(
    text: str, dollar: int, *, known: Mapping[str, str], unknown: list[str] | None
) -> tuple[str, int]:
    """What stands for the operator at ``dollar``, and where the text goes on after it."""
    follows = text[dollar + 1]
    if follows == "$":
        return "$", dollar + 2
    end = text.find(")", dollar + 2) if follows == "(" else -1
    if follows != "(":
        return "$" + follows, dollar + 2
    if end < 0:
        return "$(", dollar + 2
    name = text[dollar + 2 : end]
    if name not in known and unknown is not None:
        unknown.append(name)
    return known.get(name, f"$({name})"), end + 1
