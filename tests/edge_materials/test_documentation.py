"""docs/pod-support.md says what the agent does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgeagent.pods.admission.supported_fields import TABLE
from edgeagent.pods.admission.verdicts import Verdict
from tools.pod_support import PAGE, page, shown_by

ROOT = Path(__file__).parents[2]


def test_the_page_is_the_table() -> None:
    assert PAGE.read_text() == page(), "run: python -m tools.pod_support"


@pytest.mark.parametrize("kind", TABLE)
def test_every_supported_field_is_used_by_the_tests_that_its_part_names(kind: str) -> None:
    text = "".join(source(ROOT / path) for path in shown_by(kind))
    absent = [
        name
        for name, field in TABLE[kind].items()
        if field.verdict is Verdict.SUPPORTED
        and not re.search(rf"[\"']{name}[\"']|\b{name}=", text)
    ]
    assert absent == []


def source(path: Path) -> str:
    files = [path] if path.is_file() else sorted(path.glob("*.py"))
    return "".join(one.read_text() for one in files)


@pytest.mark.parametrize("kind", TABLE)
def test_every_part_names_tests_that_exist(kind: str) -> None:
    for path in shown_by(kind):
        assert (ROOT / path).exists()
