"""Paths of /proc and /sys that no container may look into unless it asks to.

containerd masks nothing unless told to, so a kubelet names them for every container, and so do we:
the usual ones, and what tells the heat of each CPU of this device (what others compute can be told
from it). Called by ``cri.py`` for each container, because a CPU may come while the agent runs.
"""

from __future__ import annotations

from pathlib import Path

CPUS = Path("/sys/devices/system/cpu")
_USUAL = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)


def masked_paths(cpus: Path = CPUS) -> tuple[str, ...]:
    return (*_USUAL, *sorted(map(str, cpus.glob("cpu[0-9]*/thermal_throttle"))))
