"""docs/offline.md claims nothing without a test that exists; docs/soak.md lists every soak test."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "offline.md"


def test_every_row_names_where_it_is_shown() -> None:
    page = PAGE.read_text()
    table = page.partition("| fault |")[2].partition("\n\n")[0].splitlines()[2:]
    assert len(table) >= 15
    for row in table:
        shown = row.split("|")[-2]
        assert "`" in shown, row


def test_every_test_and_folder_that_it_names_exists() -> None:
    page = PAGE.read_text()
    tests = set(re.findall(r"`(?:tests/)?([a-z_0-9]+/test_[a-z_0-9]+\.py)`", page))
    assert len(tests) >= 12
    for name in sorted(tests):
        assert (ROOT / "tests" / name).exists(), name
    for path in re.findall(r"`((?:deploy|docs)/[^`]+)`", page):
        assert (ROOT / path).exists(), path


def test_every_part_of_the_soak_is_listed_with_the_time_it_takes() -> None:
    page = (ROOT / "docs" / "soak.md").read_text()
    listed = set(
        re.findall(r"^\| `(tests/[^`]+)` \| [^|]+ \| [^|]*(?:min|`SOAK_MINUTES`)", page, re.M)
    )
    files = (ROOT / "tests").rglob("test_*.py")
    here = Path(__file__).resolve()
    marked = {
        str(one.relative_to(ROOT))
        for one in files
        if one.resolve() != here and "mark.soak" in one.read_text()
    }
    assert listed == marked
