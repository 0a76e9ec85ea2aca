"""The hub, wired: this is its diagram.

    API server ──► Sync (fleet, downlink) ──► broker ──► Sync (uplink, reporting) ──► API server
                     ▲ which nodes, which slots             │ sessions, Node reports
                   Nodes ◄── Replicas                     Nodes ──► API server
                     └── which are offline ──► Tolerating ──► API server

Takes the ports and owns only that all parts run together: the first that ends ends all, and each
says its own farewell (to the broker, by deleting the Lease). Called by ``__main__.py`` and by the
simulator.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from cloudhub.kube.port import Kube
from cloudhub.metrics import Metrics
from cloudhub.nodes.nodes import Nodes
from cloudhub.nodes.tolerating import Tolerating
from cloudhub.replicas import Replicas
from cloudhub.settings import HubSettings
from cloudhub.sync import Sync
from shared.clock import Clock
from shared.link import Link
from shared.tasks import run_together


class Hub:
    """One replica."""

    def __init__(
        self,
        settings: HubSettings,
        *,
        kube: Kube,
        link: Link,
        clock: Clock,
        rng: random.Random,
        metrics: Metrics,
    ) -> None:
        self._nodes = Nodes(kube, clock=clock, rng=rng, taints=settings.taints)
        self._sync = Sync(
            *(kube, link, self._nodes),
            topics=settings.topics,
            replica=settings.replica,
            clock=clock,
            rng=rng,
            metrics=metrics,
        )
        self._replicas = Replicas(
            *(kube, self._own),
            name=settings.replica,
            namespace=settings.namespace,
            linked=lambda: self._sync.connected,
            clock=clock,
        )
        self._tolerating = Tolerating(
            kube, away=self._nodes.away, pods=self._sync.pods, clock=clock
        )
        self._keep_pods = settings.keep_pods_when_offline
        metrics.observe_fleet(self._sync.nodes)

    def conditions(self) -> Mapping[str, Callable[[], bool]]:
        """What must hold for this replica to be ready, by the words that say so."""
        return {
            "slots shared with the other replicas": lambda: bool(self._replicas.living),
            "nodes listed from the API server": lambda: self._nodes.listed,
            "connected to the broker, slots subscribed": lambda: self._sync.linked,
        }

    async def run(self) -> None:
        """Until cancelled, or until a part ends, which is an error."""
        roots = {
            "nodes": self._nodes.run(self._sync),
            "sync": self._sync.run(),
            "replicas": self._replicas.run(),
        }
        if self._keep_pods:
            roots["tolerating"] = self._tolerating.run()
        await run_together(**roots)

    def _own(self, slots: frozenset[int]) -> None:
        """Nodes first: it says which of them exist before their slots are read."""
        self._nodes.own(slots)
        self._sync.own(slots)
