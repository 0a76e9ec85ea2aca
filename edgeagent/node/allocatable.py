"""How much the device has of each resource, and how much of it pods can have. Pure.

Pods get what is there, less what must stay free: at these thresholds they are evicted
(``housekeeping/signals.py``).
"""

from __future__ import annotations

from edgeagent.node.device import Device
from shared.objects import Json

MAX_PODS = 110
EVICTION_MEMORY = 100 * 1024 * 1024
"""Bytes that stay available."""
DISK_PERCENT = 10
"""Of the file system with the data folder, that stay free."""


def capacity(device: Device) -> Json:
    return {
        "cpu": str(device.cpus),
        "memory": f"{device.memory // 1024}Ki",
        "ephemeral-storage": f"{device.disk // 1024}Ki",
        "pods": str(MAX_PODS),
        **{_hugepages_name(size): str(amount) for size, amount in device.hugepages.items()},
    }


def allocatable_amounts(device: Device) -> list[tuple[str, int]]:
    """What pods can have of each resource: cores, bytes, pieces. What could not be read is not
    there: nobody is refused for it."""
    huge = sum(device.hugepages.values())
    memory = [("memory", max(0, device.memory - EVICTION_MEMORY - huge))] if device.memory else []
    disk = device.disk * (100 - DISK_PERCENT) // 100
    return [
        ("cpu", device.cpus),
        *memory,
        *([("ephemeral-storage", disk)] if device.disk else []),
        ("pods", MAX_PODS),
        *((_hugepages_name(size), amount) for size, amount in device.hugepages.items()),
    ]


def allocatable(device: Device) -> Json:
    return {name: str(amount) for name, amount in allocatable_amounts(device)}


def _hugepages_name(size: str) -> str:
    """In the largest unit that it is whole in: ``64``, ``2048`` and ``1048576`` KiB are usual."""
    kib = int(size)
    for shift, unit in ((20, "Gi"), (10, "Mi")):
        if kib % (1 << shift) == 0:
            return f"hugepages-{kib >> shift}{unit}"
    return f"hugepages-{kib}Ki"
