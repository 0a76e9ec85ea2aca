"""The Leases in ``kube-node-lease`` by which Kubernetes sees that a node is alive.

One heap for all nodes, a bounded number of renewals under way, none for a node that is not kept.
A renewal is one unconditional patch, so there is no conflict to lose; when renewals take longer
than their period, they come later, in order. Called by ``nodes.py``.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from typing import Any

import structlog

from cloudhub.kube.port import LEASES, Kube
from cloudhub.stamps import micro_stamp
from shared.clock import Clock
from shared.errors import KubeError, KubeRefused
from shared.objects import Json
from shared.tasks import alone, stop

log = structlog.get_logger()

NAMESPACE = "kube-node-lease"
DURATION = 40
PERIOD = 10.0
RETRY = 2.0
AT_ONCE = 16


class NodeLeases:
    def __init__(self, kube: Kube, *, clock: Clock, rng: random.Random) -> None:
        self._kube = kube
        self._clock = clock
        self._rng = rng
        self._kept: dict[str, str] = {}
        self._due: list[tuple[float, str]] = []
        self._queued: set[str] = set()
        self._more = asyncio.Event()
        self._failing: set[str] = set()
        self._placed: set[str] = set()
        """Nodes that have their place within the period."""

    def keep(self, node: str, uid: str) -> None:
        """Renew from now on, the first time at once; ``uid`` is that of the Node object."""
        if self._kept.get(node) == uid:
            return
        self._kept[node] = uid
        self._queue(node, 0.0)

    def drop(self, node: str) -> None:
        """Let it expire."""
        self._kept.pop(node, None)
        self._failing.discard(node)
        self._placed.discard(node)

    async def run(self) -> None:
        turns = asyncio.Semaphore(AT_ONCE)
        renewing: set[asyncio.Task[None]] = set()
        try:
            while True:
                await self._wait_for_due()
                _, node = heapq.heappop(self._due)
                self._queued.discard(node)
                if node not in self._kept:
                    continue
                await turns.acquire()
                task = alone(self._renew(node), name=f"lease {node}")
                renewing.add(task)
                task.add_done_callback(renewing.discard)
                task.add_done_callback(lambda _: turns.release())
        finally:
            await stop(*renewing)

    async def _wait_for_due(self) -> None:
        while not self._due or self._due[0][0] > self._clock.monotonic():
            self._more.clear()
            waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._more.wait())]
            if self._due:
                delay = self._due[0][0] - self._clock.monotonic()
                waits.append(asyncio.ensure_future(self._clock.sleep(delay)))
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

    def _queue(self, node: str, delay: float) -> None:
        """At most one place in the heap for a node."""
        if node in self._queued:
            return
        self._queued.add(node)
        heapq.heappush(self._due, (self._clock.monotonic() + delay, node))
        self._more.set()

    async def _renew(self, node: str) -> None:
        if (uid := self._kept.get(node)) is None:
            return  # Dropped while it waited for its turn.
        try:
            await self._write(node, uid)
        except (KubeError, KubeRefused) as error:
            if node not in self._failing:
                log.warning("lease not renewed", node=node, error=str(error))
            self._failing.add(node)
            wait = error.delay if isinstance(error, KubeError) else PERIOD
            # A server that asks for more time than a Lease lives is asked again all the same.
            self._queue(node, min(max(wait or 0.0, RETRY), PERIOD) * (1 + self._rng.random()))
            return
        except Exception:
            log.exception("lease not renewed", node=node)
            self._failing.add(node)
            self._queue(node, PERIOD)
            return
        if node in self._failing:
            self._failing.discard(node)
            log.info("lease renewed again", node=node)
        # Nodes come in crowds (a hub starts); each draws its own place within the period.
        first = node not in self._placed
        self._placed.add(node)
        self._queue(node, PERIOD * (self._rng.random() if first else 1.0))

    async def _write(self, node: str, uid: str) -> None:
        lease = self._lease(node, uid)
        try:
            await self._kube.patch(LEASES, NAMESPACE, node, lease)
        except KubeRefused as refused:
            if refused.status != 404:
                raise
            await self._kube.create(LEASES, NAMESPACE, lease)

    def _lease(self, node: str, uid: str) -> Json:
        owner = {"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid}
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": node, "ownerReferences": [owner]},
            "spec": {
                "holderIdentity": node,
                "leaseDurationSeconds": DURATION,
                "renewTime": micro_stamp(self._clock.now()),
            },
        }
