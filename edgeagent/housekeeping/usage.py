"""What pods use, beside what they asked for: the values that evictions are decided by. Pure."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from edgeagent.pods.resources import amounts, quantities
from shared.objects import Json


class Part(enum.Flag):
    """What of a pod is on the disk; where images have one of their own, layers are on that."""

    LAYERS = enum.auto()
    FOLDERS = enum.auto()
    """Logs and volumes."""
    ALL = LAYERS | FOLDERS


@dataclass(frozen=True, slots=True)
class ContainerUse:
    memory: int = 0
    layer: int = 0
    """Bytes of its writable layer."""
    logs: int = 0
    inodes: int = 0
    """Of its writable layer."""

    @property
    def disk(self) -> int:
        return self.layer + self.logs


@dataclass(frozen=True, slots=True)
class PodUse:
    uid: str
    pod: Json
    containers: Mapping[str, ContainerUse] = field(default_factory=dict)
    volumes: Mapping[str, int] = field(default_factory=dict)
    """Bytes of each emptyDir on disk."""
    inodes: int = 0
    """Of its volumes and logs."""
    pids: int = 0

    def of(self, resource: str, part: Part = Part.ALL) -> int:
        """``memory``, ``ephemeral-storage``, ``inodes`` or ``pids`` of the whole pod."""
        each = self.containers.values()
        if resource == "memory":
            return sum(one.memory for one in each)
        if resource == "pids":
            return self.pids
        if resource == "inodes":
            layers, folders = sum(one.inodes for one in each), self.inodes
        else:
            layers = sum(one.layer for one in each)
            folders = sum(one.logs for one in each) + sum(self.volumes.values())
        return (layers if Part.LAYERS in part else 0) + (folders if Part.FOLDERS in part else 0)

    def requested(self, resource: str) -> int:
        """Its overhead is added to what it asks for only; nothing asked for stays nothing."""
        inside = amounts.requested_inside(self.pod).get(resource, Fraction(0))
        beside = amounts.overhead(self.pod).get(resource, Fraction(0))
        return quantities.whole(inside + beside if inside else inside)


def binary(amount: int) -> str:
    """As Kubernetes writes an amount of bytes: the largest unit that leaves nothing over."""
    for power, unit in ((6, "Ei"), (5, "Pi"), (4, "Ti"), (3, "Gi"), (2, "Mi"), (1, "Ki")):
        if amount and amount % 1024**power == 0:
            return f"{amount >> 10 * power}{unit}"
    return str(amount)
