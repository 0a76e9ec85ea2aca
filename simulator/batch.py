"""A range of seeds in one process of many."""

from __future__ import annotations

import gc

from simulator import logs
from simulator.scenario import Verdict, play


def play_chunk(seeds: range) -> list[Verdict]:
    logs.configure(story=False)
    gc.freeze()
    return [play(seed)[0] for seed in seeds]
