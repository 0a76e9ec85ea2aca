"""A range of seeds in one process of many."""

from __future__ import annotations

import gc
import multiprocessing
import os
import threading
from multiprocessing.connection import wait

from simulator import logs
from simulator.scenario import Verdict, play


def end_with_parent() -> None:
    """A worker does not outlive the process that it plays for, however that one ends."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def play_chunk(seeds: range) -> list[Verdict]:
    logs.configure(story=False)
    gc.freeze()
    return [play(seed)[0] for seed in seeds]
