"""The agent put together; read ``Agent`` to see how it hangs together and in which order it starts.

Order: recover the store → work on the pods that it has → only then look for the network. No signal
handling, no service manager, no global: ``__main__`` wraps it, the simulator drives it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from edgeagent import VERSION, snapshot
from edgeagent.commanding import Answers
from edgeagent.desired import DesiredSet
from edgeagent.housekeeping.keeping import Household, Housekeeping
from edgeagent.housekeeping.nodevents import NodeEvents
from edgeagent.housekeeping.orphan_cgroups import OrphanCgroups
from edgeagent.node.device import Device, Disk, Readings
from edgeagent.node.facts import node_facts
from edgeagent.node.reporter import NodeReporter
from edgeagent.pods.admission.nodelabels import labels_of
from edgeagent.pods.admission.tolerations import taints_of
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.model.paths import PodPaths
from edgeagent.pods.model.podevents import PodEvent, warning
from edgeagent.pods.ports import Materials
from edgeagent.pods.resources.cgroup_files import CgroupFiles
from edgeagent.pods.resources.slices import Slices
from edgeagent.pods.volumes.contents import Tokens
from edgeagent.pods.workers import Pods
from edgeagent.refusing import Refusing
from edgeagent.runtime.abilities import RuntimeInfo
from edgeagent.runtime.port import Runtime
from edgeagent.session.asking import Asking
from edgeagent.session.connection import AgentSession, Parts, Who
from edgeagent.session.delivery import Delivery
from edgeagent.session.rejecting import Rejections
from edgeagent.session.reporting import Reports
from edgeagent.settings import Settings
from edgeagent.shutdown.planning import turns_of
from edgeagent.shutdown.port import Connect
from edgeagent.shutdown.stopping import Neighbours, NodeShutdown
from edgeagent.standing import Standing, StandingKeeper
from edgeagent.staticpods.keeping import StaticPods
from edgeagent.store import records
from edgeagent.store.database import Database
from edgeagent.store.desired import DesiredStore
from edgeagent.store.identity import Identity
from edgeagent.store.outbox import OutboxStore
from edgeagent.tokens import DeviceTokens
from shared.backoff import Backoff
from shared.clock import Clock
from shared.errors import StoreBusy
from shared.link import Link
from shared.messages import Session
from shared.objects import NO_NAMESPACE, Json, ObjectKey
from shared.tasks import run_together
from shared.threads import Offload

log = structlog.get_logger()

RESERVE_SECONDS = 10.0


class MaterialsOfNode(Materials, Protocol):
    def node_changed(self, node: NodeFacts) -> None: ...


class MakeMaterials(Protocol):
    def __call__(
        self,
        node: NodeFacts,
        *,
        desired: DesiredSet,
        tokens: Tokens,
        others: Callable[[], Iterable[Json]],
    ) -> MaterialsOfNode:
        """``others`` are the pods that hold something of the device now."""
        ...


@dataclass(frozen=True)
class Ports:
    """Everything outside the agent."""

    link: Link
    runtime: Runtime
    clock: Clock
    database: Database
    rng: random.Random
    device: Device
    look: Callable[[], Readings]
    """How the device is just now."""
    materials: MakeMaterials
    """Files, images and configurations of pods."""
    disk: Callable[[str], Disk] = lambda path: Disk()
    """The file system that a path is on."""
    offload: Offload | None = None
    """Runs what blocks on files away from the loop; None = no files to keep house for."""
    cgroup_files: CgroupFiles | None = None
    """Of pods; None where the runtime has no cgroups."""
    slices: Slices = field(default_factory=Slices)
    """What systemd keeps of them."""
    ready: Callable[[], None] = lambda: None
    """Called once, when the stored pods are being worked on."""
    commands: Callable[[Answers], AbstractAsyncContextManager[None]] = lambda answers: nullcontext()
    """Takes what people at the device tell and ask the agent, inside the block."""
    logind: Connect | None = None
    """Connects to what announces shutdowns of the device; None = nothing does."""
    reserve: int = 0
    """Bytes of the database's disk to be set aside for a time when it is full."""
    told: Callable[[str], None] = lambda line: None
    """Called with one line whenever the agent's standing changed."""


class Agent:
    def __init__(self, settings: Settings, ports: Ports) -> None:
        self.settings = settings
        self.ports = ports
        self.desired = DesiredSet()
        self.rejections = Rejections(ports.clock)
        database, clock = ports.database, ports.clock
        topics = settings.topics.of(settings.node)
        self._desired_store = DesiredStore(database)
        self.identity = Identity(database, rng=ports.rng)
        self.reports = Reports(
            topics, desired=self.desired, store=OutboxStore(database), clock=clock
        )
        self.tokens = DeviceTokens(
            self.desired, records=records.tokens(database), clock=clock, rng=ports.rng
        )
        self.static_pods = StaticPods(
            settings.static_pods,
            node=settings.node,
            desired=self.desired,
            records=records.static_pods(database),
            reports=self.reports,
            clock=clock,
            offload=ports.offload,
        )
        self.delivery = Delivery(
            topics,
            desired=self.desired,
            store=self._desired_store,
            clock=clock,
            rejections=self.rejections,
            rng=ports.rng,
        )
        self._name_events = NodeEvents(settings.node, self.reports, clock)
        self.standing = StandingKeeper(
            Standing(
                node=settings.node,
                broker=str(settings.broker),
                runtime=settings.runtime,
                version=VERSION,
                log_dir=str(settings.log_dir),
            ),
            save=records.standing(database).save,
            clock=clock,
            told=ports.told,
        )

    async def run(self) -> None:
        """Until cancelled: then it says good-bye and leaves every container running."""
        try:
            await self._recover()
            try:
                await self._work()
            finally:
                if await self.reports.flush():
                    await self.identity.stop()
        finally:
            await self.ports.database.close()

    async def _recover(self) -> None:
        """Without its database the agent does nothing, and by that harms nothing."""
        backoff = Backoff(1.0, 30.0, self.ports.rng)
        while True:
            try:
                await self.ports.database.open()
                await self.identity.load()
                await self.reports.load()
                self.desired.replace(await self._desired_store.load())
                await self.static_pods.load()
                self.reports.recovered()
                await self.tokens.load()
                return
            except StoreBusy as error:
                delay = backoff.next()
                log.error(
                    "database not opened, all stays as it is", error=str(error), retry_in=delay
                )
                await self.ports.clock.sleep(delay)

    async def _work(self) -> None:
        node: NodeReporter
        pods = self._make_pods(lambda: node.meet())
        refusing = Refusing(self.desired, self.reports, clock=self.ports.clock)
        session = self._make_session()
        self.desired.subscribe(lambda keys: self._cluster_changed(keys, pods))
        for told in (self.tokens.changed, self.reports.changed, pods.changed, refusing.changed):
            self.desired.subscribe(told)
        housekeeping = self._make_housekeeping(pods)
        node = self._make_node(pods, housekeeping)
        shutdown = self._make_shutdown(pods, node)
        self.standing.update(ready=True)
        self.ports.ready()
        async with self.ports.commands(Answers(pods.release, lambda: self._snapshot(pods))):
            await run_together(
                tokens=self.tokens.run(pods),
                pods=pods.run(),
                static_pods=self.static_pods.run(
                    pods.held, lambda line: self.standing.update(static_pods=line)
                ),
                fencing=_fence(session, pods),
                reports=self.reports.run(),
                refusing=refusing.run(),
                node=node.run(),
                shutdown=shutdown.run(),
                housekeeping=housekeeping.run(),
                standing=self.standing.run(),
                delivery=self.delivery.run(),
                session=session.run(),
                name_events=self._name_events.run(),
                reserving=self._reserve_room(),
            )

    async def _reserve_room(self) -> None:
        """Root task: once, when the start is over."""
        reserved = False
        while self.ports.reserve and not reserved:
            await self.ports.clock.sleep(RESERVE_SECONDS)
            with suppress(StoreBusy):
                await self.ports.database.reserve(self.ports.reserve)
                reserved = True
        await asyncio.Event().wait()

    def _snapshot(self, pods: Pods) -> Json:
        return snapshot.taken(
            self.standing.now,
            desired=self.desired.desired,
            static=[pod.key for pod in self.desired.static_pods()],
            rows=self.reports.rows(),
            facts=pods.facts(),
            trouble=self.ports.database.trouble,
        )

    def _make_pods(self, meet: Callable[[], Awaitable[None]]) -> Pods:
        ports = self.ports
        facts = node_facts(self.settings, ports.device, ports.look(), RuntimeInfo("containerd", ""))
        node = self._facts = self._as_told(facts)
        pods: Pods
        self._materials = ports.materials(
            node, desired=self.desired, tokens=self.tokens, others=lambda: pods.active()
        )
        pods = Pods(
            runtime=ports.runtime,
            desired=self.desired,
            materials=self._materials,
            facts=records.facts(ports.database),
            reports=self.reports,
            clock=ports.clock,
            node=node,
            windows=self.settings.windows,
            meet=meet,
        )
        return pods

    def _make_node(self, pods: Pods, housekeeping: Housekeeping) -> NodeReporter:
        """Tells the hub, and tells the pods layer when the runtime or an address changed."""

        def changed(readings: Readings, info: RuntimeInfo, pressures: tuple[str, ...]) -> None:
            device = self.ports.device
            node = node_facts(self.settings, device, readings, info, pressures=pressures)
            self._facts_changed(node, pods)

        return NodeReporter(
            self.settings.node,
            device=self.ports.device,
            look=self.ports.look,
            runtime=self.ports.runtime,
            reports=self.reports,
            standing=self.standing,
            clock=self.ports.clock,
            judge=housekeeping.judge,
            changed=changed,
        )

    def _cluster_changed(self, keys: frozenset[ObjectKey], pods: Pods) -> None:
        if any(key.kind in ("RuntimeClass", "Node") for key in keys):
            self._facts_changed(self._facts, pods)

    def _facts_changed(self, node: NodeFacts, pods: Pods) -> None:
        self._facts = self._as_told(node)
        self._materials.node_changed(self._facts)
        pods.node_changed(self._facts)

    def _as_told(self, node: NodeFacts) -> NodeFacts:
        """With what only the cluster says."""
        key, desired = ObjectKey("Node", NO_NAMESPACE, node.name), self.desired
        told = desired.get(key)
        return replace(
            node,
            runtime_classes=desired.runtime_classes(),
            taints=taints_of(told),
            told_labels=labels_of(told) if desired.desired.holds(key) else {},
        )

    def _make_shutdown(self, pods: Pods, node: NodeReporter) -> NodeShutdown:
        settings, clock = self.settings, self.ports.clock
        shutdown = NodeShutdown(
            turns_of(settings.shutdown_grace),
            self.ports.logind,
            Neighbours(
                pods=pods,
                events=NodeEvents(settings.node, self.reports, clock),
                tell=node.report,
                deliver=self.reports.deliver,
                clock=clock,
            ),
        )
        node.shutting_down = lambda: shutdown.shutting_down
        return shutdown

    def _make_housekeeping(self, pods: Pods) -> Housekeeping:
        return Housekeeping(
            Household(
                node=self.settings.node,
                runtime=self.ports.runtime,
                pods=pods,
                desired=self.desired,
                reports=self.reports,
                clock=self.ports.clock,
                look=self.ports.look,
                disk=self.ports.disk,
                paths=PodPaths(self.settings.data_dir, self.settings.log_dir),
                offload=self.ports.offload,
                cgroups=self._orphan_cgroups(),
            )
        )

    def _orphan_cgroups(self) -> OrphanCgroups | None:
        files, slices, offload = self.ports.cgroup_files, self.ports.slices, self.ports.offload
        if files is None or offload is None:
            return None
        return OrphanCgroups(files, slices, node=lambda: self._facts, offload=offload)

    def _make_session(self) -> AgentSession:
        topics = self.settings.topics.of(self.settings.node)
        return AgentSession(
            Who(self.settings.node, self.ports.device.boot_id, VERSION),
            link=self.ports.link,
            topics=self.settings.topics,
            identity=self.identity,
            parts=Parts(
                *(self.delivery, self.reports, Asking(topics, self.tokens)),
                *(self.rejections, self.standing, self.ports.clock),
                asked_by=lambda asker: self._name_events.record(_not_unique(asker)),
            ),
            rng=self.ports.rng,
        )


async def _fence(session: AgentSession, pods: Pods) -> None:
    """Root task: while another agent has our name, the pods are left alone."""
    while True:
        await session.fenced.wait()
        await pods.fence()
        await session.free.wait()
        pods.unfence()


def _not_unique(asker: Session) -> PodEvent:
    """What the cluster is told by the one that stays."""
    return warning(
        "NodeNameNotUnique",
        f"another device (instance {asker.instance}, boot {asker.boot}) has this node's name and"
        " has given way; give one of the two another node-name",
    )
