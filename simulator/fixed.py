"""Starts the program again in a process where nothing but the seed decides.

Strings must hash alike, and so must ``None``, whose hash is its address before Python 3.12: hence a
fixed ``PYTHONHASHSEED`` and, on Linux, no random addresses. Where the kernel forbids the latter, a
seed that depends on it may play in another way.
"""

from __future__ import annotations

import ctypes
import os
import sys

MARK = "KUBETIDE_SIMULATOR"
ADDR_NO_RANDOMIZE = 0x0040000


def restart(module: str) -> None:
    """Returns in the new process only."""
    if os.environ.get(MARK):
        return
    os.environ |= {MARK: "1", "PYTHONHASHSEED": "0"}
    if sys.platform == "linux":
        ctypes.CDLL(None).personality(ADDR_NO_RANDOMIZE)
    os.execv(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]])
