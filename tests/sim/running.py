"""Runs the simulator as a program: strings must hash alike, or a seed is not a seed."""

from __future__ import annotations

import os
import subprocess
import sys


def run(module: str, *arguments: object, timeout: float = 170) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
