"""docs/pod-behaviour.md claims nothing without a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "pod-behaviour.md").read_text()
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and "| shown by |" not in line]
NAMED = re.compile(r"`([a-z_0-9]+/test_[a-z_0-9]+\.py)::(test_[a-z_0-9]+)`")
ON_REAL_PARTS = re.compile(r"_on_containerd\.py|::test_on_containerd_|runtime_contract/|e2e/")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:60])
def test_every_behaviour_is_shown_by_tests_that_exist(row: str) -> None:
    named = NAMED.findall(row)
    assert named, "no test is named"
    for file, name in named:
        assert re.search(rf"def {name}\(", (ROOT / "tests" / file).read_text()), f"{file}::{name}"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:60])
def test_what_is_shown_in_memory_only_says_why(row: str) -> None:
    _, shown, why = (cell.strip() for cell in row.removeprefix("|").removesuffix("|").split("|"))
    assert why or ON_REAL_PARTS.search(shown)
