"""The agent put together; read ``Agent`` to see how it hangs together and in which order it starts.

Order: recover the store → work on the pods that it has → only then look for the network. No signal
handling, no service manager, no global: ``__main__`` wraps it, the simulator drives it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from edgeagent import VERSION
from edgeagent.desired import DesiredSet
from edgeagent.device import Device, Readings
from edgeagent.node import NodeReporter
from edgeagent.nodefacts import node_facts
from edgeagent.pods.nodefacts import NodeFacts
from edgeagent.pods.ports import Materials
from edgeagent.pods.workers import Pods
from edgeagent.refusing import Refusing
from edgeagent.runtime.port import Runtime
from edgeagent.session.connection import AgentSession, Parts, Who
from edgeagent.session.delivery import Delivery
from edgeagent.session.rejecting import Rejections
from edgeagent.session.reporting import Reports
from edgeagent.settings import Settings
from edgeagent.standing import Standing, StandingKeeper
from edgeagent.store import records
from edgeagent.store.database import Database
from edgeagent.store.desired import DesiredStore
from edgeagent.store.identity import Identity
from edgeagent.store.outbox import OutboxStore
from shared.backoff import Backoff
from shared.clock import Clock
from shared.errors import StoreBusy
from shared.link import Link
from shared.tasks import run_together

log = structlog.get_logger()


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
    provide: Callable[[NodeFacts, DesiredSet], Materials]
    """Files, images and configurations of pods."""
    ready: Callable[[], None] = lambda: None
    """Called once, when the stored pods are being worked on."""
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
        self.delivery = Delivery(
            topics,
            desired=self.desired,
            store=self._desired_store,
            clock=clock,
            rejections=self.rejections,
            rng=ports.rng,
        )
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
                await self.reports.flush()
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
                return
            except StoreBusy as error:
                delay = backoff.next()
                log.error(
                    "database not opened, all stays as it is", error=str(error), retry_in=delay
                )
                await self.ports.clock.sleep(delay)

    async def _work(self) -> None:
        ports, settings = self.ports, self.settings
        pods = self._make_pods()
        refusing = Refusing(self.desired, self.reports, clock=ports.clock)
        session = self._make_session()
        self.desired.subscribe(self.reports.changed)
        self.desired.subscribe(pods.changed)
        self.desired.subscribe(refusing.changed)
        node = NodeReporter(
            settings.node,
            device=ports.device,
            look=ports.look,
            runtime=ports.runtime,
            reports=self.reports,
            standing=self.standing,
            clock=ports.clock,
        )
        self.standing.update(ready=True)
        ports.ready()
        await run_together(
            pods=pods.run(),
            fencing=_fence(session, pods),
            reports=self.reports.run(),
            refusing=refusing.run(),
            node=node.run(),
            standing=self.standing.run(),
            delivery=self.delivery.run(),
            session=session.run(),
        )

    def _make_pods(self) -> Pods:
        facts = node_facts(self.settings, self.ports.device, self.ports.look())
        return Pods(
            runtime=self.ports.runtime,
            desired=self.desired,
            materials=self.ports.provide(facts, self.desired),
            facts=records.facts(self.ports.database),
            reports=self.reports,
            clock=self.ports.clock,
            node=facts,
        )

    def _make_session(self) -> AgentSession:
        return AgentSession(
            Who(self.settings.node, self.ports.device.boot_id, VERSION),
            link=self.ports.link,
            topics=self.settings.topics,
            identity=self.identity,
            parts=Parts(
                *(self.desired, self.delivery, self.reports),
                *(self.rejections, self.standing, self.ports.clock),
            ),
            rng=self.ports.rng,
        )


async def _fence(session: AgentSession, pods: Pods) -> None:
    """Root task: when a newer agent has our name, the pods are left alone."""
    await session.fenced.wait()
    await pods.fence()
    await asyncio.Event().wait()
