"""The processes that play seeds end with the program that asked for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

WORKERS = 2


def test_a_killed_simulator_leaves_no_worker_behind() -> None:
    arguments = ["--seeds", "100000", "--workers", str(WORKERS)]
    program = subprocess.Popen([sys.executable, "-m", "simulator", *arguments])
    try:
        until(lambda: len(children(program.pid)) == WORKERS)
        workers = children(program.pid)
    finally:
        program.send_signal(signal.SIGKILL)
        program.wait()
    try:
        until(lambda: not any(map(lives, workers)))
    finally:
        for worker in filter(lives, workers):
            os.kill(worker, signal.SIGKILL)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def lives(pid: int) -> bool:
    """A zombie that nobody has buried yet does not count."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def until(holds: Callable[[], bool], within: float = 30) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
