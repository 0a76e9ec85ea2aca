"""Reads a Node again before pods are refused for its labels: its watch may lag behind theirs.

Level-triggered, by the pods that ``Fleet`` doubts. What is read goes the way of whatever is seen of
Nodes, through ``nodes.py``, which knows the order of versions. While it cannot be read, nothing is
told by which a pod would be refused. Called by ``sync.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from cloudhub.fleet.fleet import Effects, Fleet
from shared.clock import Clock
from shared.tasks import KeyedWorkers

AT_ONCE = 8
"""Nodes that are read: a label of all may change while pods wait on many."""


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
        self._room = asyncio.Semaphore(AT_ONCE)
        self._workers = KeyedWorkers(self._ascertain, clock=clock, name="labels", retry_most=30.0)

    def look(self, node: str) -> None:
        self._workers.wake(node)

    async def stop(self) -> None:
        await self._workers.stop()

    async def _ascertain(self, node: str) -> None:
        async with self._room:
            doubted = self._fleet.doubted(node)
            there = bool(doubted) and await self._read(node)
        if there:
            self._apply(self._fleet.ascertain(node, doubted))
