"""The sync engine: the API's pods down to the devices, their reports up to the API.

Builds and wires the parts of both ways, and is what the rest of the hub talks to. The loop:
``feeds/`` → ``fleet`` → ``downlink`` → broker → ``uplink``
→ ``reporting`` and ``events`` → API server. Holds no state of its own. Built by ``app.py``.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping

import structlog

from cloudhub.broker.connection import HubConnection
from cloudhub.downlink import Downlink
from cloudhub.events.events import Events
from cloudhub.feeds.labels import LabelFeed
from cloudhub.feeds.objects import ObjectFeed
from cloudhub.feeds.pods import PodFeed
from cloudhub.feeds.services import ServiceFeed
from cloudhub.fleet.fleet import Effects, Fleet
from cloudhub.fleet.pods import PodRecord, node_of
from cloudhub.fleet.reports import ReportBook
from cloudhub.kube.port import Kube
from cloudhub.metrics import Metrics, NodeSync
from cloudhub.mirrors.mirrors import Mirrors
from cloudhub.mirrors.static_lists import StaticLists
from cloudhub.reporting.reporting import Reporting
from cloudhub.tokens import Tokens
from cloudhub.uplink import NodeListener, Uplink
from shared.asking import TokenAnswer
from shared.clock import Clock
from shared.errors import WireError
from shared.link import Link
from shared.objects import Json, ObjectKey
from shared.static_pods import status_key
from shared.tasks import run_together
from shared.topics import Topics

log = structlog.get_logger()


class Sync:
    def __init__(
        self,
        kube: Kube,
        link: Link,
        nodes: NodeListener,
        *,
        topics: Topics,
        replica: str,
        clock: Clock,
        rng: random.Random,
        metrics: Metrics,
    ) -> None:
        self._metrics = metrics
        self._fleet = Fleet()
        self._book = ReportBook()
        self._connection = HubConnection(
            link, topics=topics, replica=replica, clock=clock, rng=rng, metrics=metrics
        )
        self._pods = PodFeed(kube, self._fleet, self._apply, clock=clock, rng=rng)
        self._objects = ObjectFeed(kube, self._fleet, self._apply, clock=clock, metrics=metrics)
        self._services = ServiceFeed(kube, self._fleet, self._apply)
        self._labels = LabelFeed(self._fleet, nodes.read, self._apply, clock=clock)
        self._events = Events(kube, clock=clock)
        self._downlink = Downlink(
            *(self._fleet, self._connection),
            topics=topics,
            clock=clock,
            rng=rng,
            metrics=metrics,
            warn=self._warn_users,
            is_current=self._pods.is_current,
        )
        statics = StaticLists(self._book)
        self._reporting = Reporting(
            *(kube, self._fleet, self._book, self._clear_report, statics, self._pod_is_over),
            serves=self._connection.serves,
            clock=clock,
            metrics=metrics,
        )
        self._mirrors = Mirrors(
            *(kube, self._fleet, statics, self._connection.serves),
            apply=self._apply,
            node_uid=nodes.uid,
            events=self._events,
            clock=clock,
        )
        self._tokens = Tokens(kube, self._fleet, self._answer, clock=clock, metrics=metrics)
        self._uplink = Uplink(
            *(self._connection, self._fleet, self._book, nodes),
            *(self._downlink, self._reporting, self._events, self._tokens),
            mirrors=self._mirrors,
            topics=topics,
            clock=clock,
            rng=rng,
            metrics=metrics,
        )

    # -- what the rest of the hub tells

    def manage(self, node: str) -> None:
        """A Node object of ours is there."""
        if self._fleet.manage(node):
            self._pods.manage(node)
            self._downlink.manage(node)

    def unmanage(self, node: str) -> None:
        """It is not there any more. What the device has stays as it is."""
        self._pods.unmanage(node)
        self._downlink.unmanage(node)
        self._reporting.forget(node)
        self._fleet.unmanage(node)

    def describe(self, node: str, taints: list[Json], labels: Mapping[str, str]) -> None:
        """What new pods are judged by there."""
        self._apply(self._fleet.describe(node, taints, labels))

    def say(self, node: str, kind: str, reason: str, message: str) -> None:
        """An Event about the Node."""
        self._events.say(node, kind, reason, message)

    def nodes_known(self) -> None:
        """All Node objects of ours that exist were given to ``manage``."""
        self._pods.nodes_known()

    def own(self, slots: Iterable[int]) -> None:
        self._connection.own(slots)

    # -- what the rest of the hub asks

    @property
    def connected(self) -> bool:
        """Whether there is a connection to the broker."""
        return self._connection.up

    @property
    def linked(self) -> bool:
        """Connected to the broker, and every slot of ours subscribed."""
        return self._connection.complete

    def pods(self, node: str) -> Iterator[PodRecord]:
        """What is bound to a managed node, as the API has it."""
        return self._fleet.pods(node)

    def nodes(self) -> Iterator[NodeSync]:
        return self._downlink.nodes(self._reporting.is_online)

    # -- running

    async def run(self) -> None:
        try:
            await run_together(
                connection=self._connection.run(self._uplink),
                uplink=self._uplink.run(),
                pods=self._pods.run(),
                objects=self._objects.run(),
                services=self._services.run(),
                events=self._events.run(),
            )
        finally:
            await self._labels.stop()
            await self._downlink.stop()
            await self._reporting.stop()
            await self._mirrors.stop()
            await self._tokens.stop()

    def _apply(self, effects: Effects) -> None:
        for key in sorted(effects.fetch):
            self._objects.fetch(key)
        for node in sorted(effects.look):
            self._labels.look(node)
        self._downlink.dirty(effects.dirty | effects.listed)
        for gone in effects.gone:
            self._reporting.gone(gone)
            self._mirrors.changed(gone.node, gone.key)
        for key in sorted(effects.pods):
            if (record := self._fleet.pod(key)) is not None:
                self._reporting.changed(record)
        for node, key in sorted(effects.mirrors):
            self._mirrors.changed(node, key)
            self._uplink.look_at_pod(node, status_key(key))
        for node in sorted(effects.listed):
            self._uplink.look_at(node)
        for pod, error in effects.unfit:
            self._say_unfit(pod, error)

    def _say_unfit(self, pod: Json, error: WireError) -> None:
        metadata = pod["metadata"]
        self._metrics.rejected(error.reason)
        log.error("pod cannot be sent", pod=str(ObjectKey.of("Pod", pod)), error=str(error))
        self._events.warn(
            *(ObjectKey.of("Pod", pod), metadata["uid"], node_of(pod)),
            reason="NotSendable",
            message=f"the pod cannot be sent to its node: {error}",
        )

    def _warn_users(self, node: str, key: ObjectKey, reason: str, message: str) -> None:
        for record in self._fleet.users(key, node):
            self._events.warn(record.key, record.uid, record.node, reason=reason, message=message)

    def _answer(self, node: str, answer: TokenAnswer, correlation: bytes) -> None:
        self._uplink.answer_token(node, answer, correlation)

    def _pod_is_over(self, record: PodRecord, over: bool) -> None:
        if over:
            log.debug("a finished pod runs", pod=str(record.key), node=record.node)
        self._apply(self._fleet.set_over(record, over))

    async def _clear_report(self, node: str, key: ObjectKey) -> None:
        await self._uplink.clear_report(node, key)
