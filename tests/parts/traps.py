"""Whether a container minds SIGTERM already.

A shell that has not come to its ``trap`` yet is deaf to SIGTERM, being the first process of its
container: stopped in that moment it lives until its grace period is over. A test that stops a
container as soon as it runs, and looks at how it ended, waits for this first.
"""

from __future__ import annotations

import re
from pathlib import Path
from signal import SIGTERM


def is_set(container_id: str) -> bool:
    """Whether its first process catches or ignores SIGTERM; the id as the runtime has it."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if container_id in (process / "cgroup").read_text():
                status = (process / "status").read_text()
                if _is_first(status):
                    return _minds(status)
        except OSError:
            continue  # It has ended.
    return False


def _is_first(status: str) -> bool:
    """Of its own process namespace, and no more the runtime's program that becomes it."""
    own = re.search(r"^NSpid:.*\t1$", status, re.MULTILINE)
    return own is not None and not status.startswith("Name:\trunc")


def _minds(status: str) -> bool:
    masks = re.findall(r"^Sig(?:Cgt|Ign):\t([0-9a-f]+)$", status, re.MULTILINE)
    return any(int(mask, 16) >> (SIGTERM - 1) & 1 for mask in masks)
