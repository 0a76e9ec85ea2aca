"""What the documentation shows to be copied, as a file would have it."""

from __future__ import annotations

import textwrap
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def block(page: str, first: str) -> str:
    """The indented lines of ``docs/{page}`` that begin with this one."""
    text = (ROOT / "docs" / page).read_text()
    lines = text[text.index(f"\n    {first}\n") + 1 :].splitlines()
    return textwrap.dedent("\n".join(takewhile(lambda line: line.startswith("    "), lines)))
