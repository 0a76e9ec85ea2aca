"""Pods from the API server into the fleet: one watch, and a list for nodes that come later.

The watch begins when the nodes that exist are known, so that a start lists the pods once. A node
that becomes managed afterwards gets a list of its own pods; when many do at once, one list serves
all. Called by ``sync.py``; what changes goes to its ``apply``.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Mapping

import structlog

from cloudhub.fleet.fleet import Effects, Fleet
from cloudhub.fleet.pods import is_mirror, node_of, sendable
from cloudhub.kube.port import PODS, Change, Kube, WatchEvent
from shared.backoff import Backoff
from shared.clock import Clock
from shared.errors import KubeError, KubeRefused
from shared.objects import Json
from shared.tasks import run_together

log = structlog.get_logger()

BOUND = "spec.nodeName!="
MANY = 8
"""New nodes at once from which on one list of all bound pods is cheaper."""
GATHER = 0.05


class PodFeed:
    def __init__(
        self,
        kube: Kube,
        fleet: Fleet,
        apply: Callable[[Effects], None],
        *,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._kube = kube
        self._fleet = fleet
        self._apply = apply
        self._clock = clock
        self._rng = rng
        self._nodes_known = asyncio.Event()
        self._watching = False
        self._unlisted: dict[str, object] = {}
        """Nodes whose pods are to be listed, each with a mark of its present life in the fleet."""
        self._more = asyncio.Event()

    def nodes_known(self) -> None:
        """The managed nodes that exist were all given to ``manage``."""
        self._nodes_known.set()

    def manage(self, node: str) -> None:
        """The node is new in the fleet."""
        if self._watching:
            self._unlisted[node] = object()
            self._more.set()

    def unmanage(self, node: str) -> None:
        """The node left the fleet: a list that is under way is not its next life's."""
        self._unlisted.pop(node, None)

    async def is_current(self, node: str) -> bool:
        """Whether the API server has just those pods of the node that the fleet knows.

        A watch may lag; who undoes what another hub said has to be sure.
        """
        listed = await self._kube.list(PODS, field_selector=_on(node))
        there = {
            (pod["metadata"]["uid"], pod["metadata"]["resourceVersion"])
            for pod in listed
            if not is_mirror(pod) and sendable(pod)
        }
        return there == {(record.uid, record.version) for record in self._fleet.pods(node)}

    async def run(self) -> None:
        await self._nodes_known.wait()
        await run_together(watching=self._watch(), listing=self._list_forever())

    async def _watch(self) -> None:
        async for event in self._kube.watch(PODS, field_selector=BOUND):
            self._apply(self._take(event))

    def _take(self, event: WatchEvent) -> Effects:
        if event.change is not Change.LISTED:
            self._fleet.reached.told(event.version)
        if event.change is Change.SET:
            return self._fleet.put_pod(event.object)
        if event.change is Change.DELETED:
            return self._fleet.drop_pod(event.object)
        self._watching = True
        self._unlisted.clear()
        self._fleet.reached.listed(event.version)
        return self._fleet.list_pods(event.objects)

    async def _list_forever(self) -> None:
        backoff = Backoff(0.5, 30, self._rng)
        while True:
            await self._more.wait()
            await self._clock.sleep(GATHER)
            self._more.clear()
            try:
                await self._list(dict(sorted(self._unlisted.items())))
                backoff.reset()
            except (KubeError, KubeRefused) as error:
                delay = error.delay if isinstance(error, KubeError) else None
                wait = backoff.next(at_least=delay)
                log.warning("pods not listed", error=str(error), retry_in=round(wait, 1))
                await self._clock.sleep(wait)
                self._more.set()

    async def _list(self, nodes: Mapping[str, object]) -> None:
        if len(nodes) <= MANY:
            for node, life in nodes.items():
                self._listed(node, life, await self._kube.list(PODS, field_selector=_on(node)))
            return
        by_node: dict[str, list[Json]] = defaultdict(list)
        for pod in await self._kube.list(PODS, field_selector=BOUND):
            by_node[node_of(pod)].append(pod)
        for node, life in nodes.items():
            self._listed(node, life, by_node[node])

    def _listed(self, node: str, life: object, pods: list[Json]) -> None:
        if self._unlisted.get(node) is not life:
            return
        del self._unlisted[node]
        versions = (pod["metadata"]["resourceVersion"] for pod in pods)
        self._fleet.reached.listed_alone(node, versions)
        self._apply(self._fleet.list_node(node, pods))


def _on(node: str) -> str:
    return f"spec.nodeName={node}"
