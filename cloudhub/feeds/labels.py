"""Reads a Node again before pods are refused for its labels: its watch may lag behind theirs.

Level-triggered, by the pods that ``Fleet`` doubts. What is read goes the way of whatever is seen of
Nodes, through ``nodes.py``, which knows the order of versions. While it cannot be read, nothing is
told by which a pod would be refused. Called by ``sync.py``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from cloudhub.fleet.fleet import Effects, Fleet
from shared.clock import Clock
from shared.tasks import KeyedWorkers


class LabelFeed:
    def __init__(
        self,
        fleet: Fleet,
        read: Callable[[str], Awaitable[bool]],
        apply: Callable[[Effects], None],
        *,
        clock: Clock,
    ) -> None:
        """``read`` answers whether the Node is there; then the fleet has heard what it says."""
        self._fleet = fleet
        self._read = read
        self._apply = apply
        self._workers = KeyedWorkers(self._ascertain, clock=clock, name="labels", retry_most=30.0)

    def look(self, node: str) -> None:
        self._workers.wake(node)

    async def stop(self) -> None:
        await self._workers.stop()

    async def _ascertain(self, node: str) -> None:
        doubted = self._fleet.doubted(node)
        if doubted and await self._read(node):
            self._apply(self._fleet.ascertain(node, doubted))
