"""Housekeeping put together: what keeps a device healthy besides running its pods.

Owns the order and the pace, and no decision: each part has its module. Root task of the agent,
begun when the pods are being worked on. What fails here is told and tried again, and never stops
a pod. On a device without files of its own (the simulator's) nothing that needs them runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from edgeagent.housekeeping.rotating import LogRotation
from edgeagent.pods.held import PodsOfDevice
from edgeagent.pods.paths import PodPaths
from edgeagent.pods.volumes.making import Offload
from edgeagent.runtime.port import Runtime
from shared.clock import Clock


@dataclass(frozen=True)
class Household:
    """What the parts have in common."""

    runtime: Runtime
    pods: PodsOfDevice
    clock: Clock
    paths: PodPaths
    offload: Offload | None
    """Runs what blocks on files away from the loop; None = there are no files."""


class Housekeeping:
    def __init__(self, household: Household) -> None:
        self._loops: list[Callable[[], Awaitable[None]]] = [asyncio.Event().wait]  # type: ignore[list-item]
        if household.offload is not None:
            self._loops.append(
                LogRotation(
                    household.runtime,
                    pods=household.pods,
                    clock=household.clock,
                    offload=household.offload,
                ).run
            )

    async def run(self) -> None:
        await asyncio.gather(*(loop() for loop in self._loops))
