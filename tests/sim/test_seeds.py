"""Hub and agents bear the bad days of some seeds; ``make sim`` plays thousands."""

from __future__ import annotations

from tests.sim.running import run


def test_a_hundred_seeds_end_well() -> None:
    done = run("simulator", "--seeds", 100)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


def test_a_seed_replays() -> None:
    first, second = (run("simulator", "--seed", 7, "--story").stdout for _ in range(2))
    assert "the faults are over" in first
    assert first == second


def test_the_story_does_not_change_what_happens() -> None:
    steps = {
        run("simulator", "--seed", 8, *options).stdout.splitlines()[-1].split(" steps")[0]
        for options in ((), ("--story",))
    }
    assert len(steps) == 1
