"""The properties find every bug that was planted in the planner on purpose."""

from __future__ import annotations

import pytest

from tests.edge_planning.mutants import EXAMPLES, MUTANTS, hunt


@pytest.mark.parametrize("name", MUTANTS)
def test_the_bug_is_found(name: str) -> None:
    found = hunt(name)
    assert found, f"{EXAMPLES} histories did not find {name}"
    print(found)


def test_there_are_enough_of_them() -> None:
    assert len(MUTANTS) >= 18
