"""What a runtime says is being used, of containers and of the disk with the images.

Part of the vocabulary of ``port.py``; read by housekeeping.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FilesystemUsage:
    mountpoint: str
    used_bytes: int
    inodes_used: int = 0


@dataclass(frozen=True, slots=True)
class ContainerStats:
    container_id: str
    name: str
    pod_uid: str
    cpu_usage_ns: int
    memory_working_set_bytes: int
    memory_usage_bytes: int = 0
    rootfs_used_bytes: int = 0
    rootfs_inodes_used: int = 0
