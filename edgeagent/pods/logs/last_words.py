"""What a container said before it ended: its termination message, or the end of its log.

Owns the reading of the last lines of a log in the CRI format, bounded as on a kubelet. A link
that a pod has put in place of a log is not read. The message file belongs to
``materials/ownfiles.py``.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from edgeagent.pods.logs import logfolders
from edgeagent.pods.materials.containers import TERMINATION_POLICY
from edgeagent.pods.model import specs
from edgeagent.pods.ports import Materials
from edgeagent.runtime.port import Container
from shared.objects import Json

_MOST_BYTES = 2048
_MOST_LINES = 80
_READ_BYTES = 48 * 1024
"""Room for the longest line that a runtime writes as one (16 KiB), and for what is looked for."""


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
        with logfolders.opened_log(Path(path)) as log:
            size = log.seek(0, os.SEEK_END)
            start = log.seek(max(size - _READ_BYTES, 0))
            lines = [line.decode(errors="replace") for line in log.readlines()]
    except OSError:
        return ""
    # Of the first line only its end was read: it serves where a runtime has no longest line.
    whole = lines[1:] if start else lines
    texts = [_text(line) for line in whole[-_MOST_LINES:]] or lines[-1:]
    return "".join(texts).encode()[-_MOST_BYTES:].decode(errors="replace")


def _text(line: str) -> str:
    """``time stream tag text`` → text; a partial line (tag P) goes on in the next one."""
    parts = line.split(" ", 3)
    if len(parts) < 4:
        return ""
    return parts[3].rstrip("\n") if parts[2] == "P" else parts[3]
