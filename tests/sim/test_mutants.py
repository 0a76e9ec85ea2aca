"""The simulator finds every bug that was planted on purpose."""

from __future__ import annotations

import pytest

from tests.sim.mutants import MUTANTS
from tests.sim.running import run

SEEDS = 150


@pytest.mark.parametrize("name", MUTANTS)
def test_the_bug_is_found(name: str) -> None:
    done = run("tests.sim.mutants", name, SEEDS)
    assert done.returncode == 0, f"{SEEDS} seeds did not find {name}: {done.stderr[-2000:]}"
    print(name, done.stdout)


def test_there_are_enough_of_them() -> None:
    assert len(MUTANTS) >= 12
