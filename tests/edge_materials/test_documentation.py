"""docs/pod-support.md says what the agent does."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeagent.pods.supported_fields import TABLE
from tools.pod_support import PAGE, page, shown_by


def test_the_page_is_the_table() -> None:
    assert PAGE.read_text() == page(), "run: python -m tools.pod_support"


@pytest.mark.parametrize("kind", TABLE)
def test_every_part_names_tests_that_exist(kind: str) -> None:
    for path in shown_by(kind):
        assert (Path(__file__).parents[2] / path).exists()
