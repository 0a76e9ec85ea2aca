"""What a container said before it ended: its termination message, or the end of its log.

Owns the reading of the last lines of a log in the CRI format, bounded as on a kubelet. The message
file belongs to ``materials.py``.
"""

from __future__ import annotations

import asyncio
import os

from edgeagent.pods import specs
from edgeagent.pods.containers import TERMINATION_POLICY
from edgeagent.pods.ports import Materials
from edgeagent.runtime.port import Container
from shared.objects import Json

_MOST_BYTES = 2048
_MOST_LINES = 80


async def last_words(pod: Json, container: Container, materials: Materials) -> str:
    """Empty when it said nothing."""
    spec = specs.container_named(pod, container.name)
    if spec is None:
        return ""
    said = await materials.termination_message(pod, spec, attempt=container.attempt)
    policy = container.annotations.get(TERMINATION_POLICY)
    if said or policy != "FallbackToLogsOnError" or not container.exit_code:
        return said
    return await asyncio.to_thread(_end_of_log, container.log_path)


def _end_of_log(path: str) -> str:
    try:
        with open(path, "rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(size - 4 * _MOST_BYTES, 0))
            lines = log.read().decode(errors="replace").splitlines(keepends=True)
    except OSError:
        return ""
    texts = [_text(line) for line in lines[-_MOST_LINES:]]
    return "".join(texts).encode()[-_MOST_BYTES:].decode(errors="replace")


def _text(line: str) -> str:
    """``time stream tag text`` → text; a partial line (tag P) goes on in the next one."""
    parts = line.split(" ", 3)
    if len(parts) < 4:
        return ""
    return parts[3].rstrip("\n") if parts[2] == "P" else parts[3]
