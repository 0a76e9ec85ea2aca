"""CPU time and memory of host processes, summed over each container's session, from /proc."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from edgeagent.runtime.port import LABEL_CONTAINER_NAME, LABEL_POD_UID, Container
from edgeagent.runtime.usage import ContainerStats

_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def container_stats(running: Sequence[tuple[Container, int]]) -> list[ContainerStats]:
    """For containers and the pid of their first process, which leads their session."""
    used = _used_by_session()
    return [
        ContainerStats(
            container_id=container.id,
            name=container.labels.get(LABEL_CONTAINER_NAME, container.name),
            pod_uid=container.labels.get(LABEL_POD_UID, ""),
            cpu_usage_ns=used[pid][0] * _TICK_NS,
            memory_working_set_bytes=used[pid][1] * _PAGE,
            memory_usage_bytes=used[pid][1] * _PAGE,
        )
        for container, pid in running
    ]


def _used_by_session() -> dict[int, tuple[int, int]]:
    """Ticks and resident pages by session id; fields as proc(5) numbers them, less three."""
    used: dict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        session, ticks, pages = int(fields[3]), int(fields[11]) + int(fields[12]), int(fields[21])
        used[session] = (used[session][0] + ticks, used[session][1] + pages)
    return used
