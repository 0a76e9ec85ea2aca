"""What a container or a sandbox may use, as the runtime is told: a value.

A part of the vocabulary of ``port.py``, made by the pods layer and sent by ``cri_requests.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Resources:
    """In the runtime's own units; 0 = not set, but of huge pages (bytes by their size): none."""

    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_shares: int = 0
    memory_limit_bytes: int = 0
    memory_swap_limit_bytes: int = 0
    """Of memory and swap together; cgroup version 1 only."""
    oom_score_adj: int = 0
    unified: Mapping[str, str] = field(default_factory=dict)
    hugepages: Mapping[str, int] = field(default_factory=dict)


UNLIMITED = Resources()
