"""What a pod's slice is told to systemd as: the settings of its cgroup, as properties of a unit.

Pure. Only what systemd itself writes into a cgroup is told it; it would put back what it does not
know. The kernel's files get the same, and the rest, by ``cgroup_files.py``. Called by ``slices.py``
and ``podmaterials.py``.
"""

from __future__ import annotations

from collections.abc import Iterator

from edgeagent.pods.resources.cgroups import Settings
from edgeagent.pods.resources.kernel import PERIOD

Property = tuple[str, tuple[str, object]]
"""Its name, then its type and value in D-Bus' own form."""

_INFINITY = 2**64 - 1
_NAMES = {
    "cpu.shares": "CPUShares",
    "cpu.weight": "CPUWeight",
    "cpu.cfs_quota_us": "CPUQuotaPerSecUSec",
    "cpu.max": "CPUQuotaPerSecUSec",
    "memory.limit_in_bytes": "MemoryLimit",
    "memory.max": "MemoryMax",
}
"""By the kernel's file, of both versions."""
_PERCENT = 10_000
"""Microseconds of a second: older systemds write down whole percents only."""


def limits(settings: Settings) -> list[Property]:
    """Of a pod's own cgroup."""
    return list(_limits(settings))


def _limits(settings: Settings) -> Iterator[Property]:
    for setting, value in settings.items():
        if name := _NAMES.get(setting.rpartition("/")[2]):
            amount = value.split(" ")[0]
            number = _INFINITY if amount in ("max", "-1") else int(amount)
            yield name, ("t", _per_second(number) if name.startswith("CPUQuota") else number)


def of_slice(name: str) -> list[Property]:
    """Of a new one: what it hangs below, and the controllers that it is to have."""
    above = name.removesuffix(".slice").rpartition("-")[0]
    return [
        ("Description", ("s", f"pod {name.removesuffix('.slice').rpartition('-pod')[2]}")),
        ("Wants", ("as", [f"{above}.slice"])),
        ("DefaultDependencies", ("b", False)),
        ("CPUAccounting", ("b", True)),
        ("MemoryAccounting", ("b", True)),
        ("TasksAccounting", ("b", True)),
    ]


def _per_second(quota: int) -> int:
    """Up to the next percent: what is a little wider is set right in the kernel's file."""
    if quota == _INFINITY:
        return quota
    return -(-quota * 1_000_000 // PERIOD // _PERCENT) * _PERCENT
