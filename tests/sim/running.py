"""Runs the simulator as a program, which sees to it that a seed is a seed."""

from __future__ import annotations

import subprocess
import sys


def run(module: str, *arguments: object, timeout: float = 170) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
