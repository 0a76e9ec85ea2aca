"""The pods of this device: one sequential worker per pod, adoption at the start, the watch.

``Pods.run`` is a root task of the agent: it reads the stored facts, looks at what the runtime
already has, and from then on works on every pod that is wanted, remembered or running. A worker
runs when its pod may have changed (desired set, runtime, an operation that ended, a due time)
and costs nothing otherwise. While the runtime does not answer, everything waits.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import replace

import structlog

from edgeagent.pods.acting.act import Acting
from edgeagent.pods.adoption import recovered
from edgeagent.pods.held import HeldPod, ShutdownOf
from edgeagent.pods.live import LivePod
from edgeagent.pods.logs.last_words import last_words
from edgeagent.pods.materials.mentions import mentions
from edgeagent.pods.model.actions import Forget
from edgeagent.pods.model.facts import PodFacts
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.model.podevents import PodEvent
from edgeagent.pods.model.view import Eviction, Moment, Wanted
from edgeagent.pods.observing import Observer
from edgeagent.pods.planning import planner
from edgeagent.pods.planning.planner import Plan
from edgeagent.pods.ports import Desired, FactStore, Materials, Reports
from edgeagent.pods.probing.executing import InTurns
from edgeagent.pods.probing.prober import Prober
from edgeagent.pods.recording import Recording
from edgeagent.pods.rules import resizing
from edgeagent.pods.wanting import Wanting
from edgeagent.runtime.port import Container, Runtime, RuntimeAway
from edgeagent.windows import Window
from shared.backoff import Backoff
from shared.clock import Clock
from shared.errors import KubetideError
from shared.objects import Json, ObjectKey
from shared.tasks import KeyedWorkers

log = structlog.get_logger()

RELIST_SECONDS = 300.0
"""Every pod is looked at this often, should the runtime's events ever miss something."""

ROOM_SECONDS = 5.0
"""Until it is asked again what is in the way of a critical pod, unless somebody went before."""
UNSTORED_SECONDS = 30.0
"""Until facts that could not be stored are tried again."""
SIGKILLED = 137
"""The exit code of who was killed, by the kernel too."""
WHY_SECONDS = 0.2
"""Until a runtime is asked again why a container was killed."""
AWAY_SECONDS = 10.0
"""A pod whose runtime did not answer is looked at again after this, unless woken before."""


class Pods:
    def __init__(
        self,
        *,
        runtime: Runtime,
        desired: Desired,
        materials: Materials,
        facts: FactStore,
        reports: Reports,
        clock: Clock,
        node: NodeFacts,
        windows: tuple[Window, ...] = (),
        meet: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """``windows`` are the times in which what is on hold may go on; ``meet`` brings ``node``
        up to date with a runtime that is there, and raises RuntimeAway while none is."""
        self._runtime = runtime
        self._desired = desired
        self._materials = materials
        self._store = facts
        self._clock = clock
        self._node = node
        self._began = clock.monotonic()
        self._observer = Observer(runtime, node=node.name)
        self._acting = Acting(
            runtime=runtime,
            materials=materials,
            observer=self._observer,
            clock=clock,
            revision=lambda: desired.revision,
            node_ips=lambda: self._node.ips,
        )
        self._recording = Recording(facts, reports)
        self._wanting = Wanting(
            desired=desired,
            materials=materials,
            windows=windows,
            clock=clock,
            facts=self._facts,
            evicted=lambda: [uid for uid, pod in self._pods.items() if pod.eviction is not None],
            evict=self.evict,
        )
        self._pods: dict[str, LivePod] = {}
        self._probers: dict[str, Prober] = {}
        self._execs = InTurns(runtime)
        self._remembered: dict[str, PodFacts] = {}
        self._workers = KeyedWorkers(self._work, clock=clock, name="pod")
        self._meet = meet or runtime.info
        self._recovered = self._met = False
        self._fenced = False
        self._shutdown: ShutdownOf | None = None

    async def run(self) -> None:
        self._remembered = recovered(await self._store.load_all())
        self._recovered = True
        try:
            await asyncio.gather(self._follow(), self._relist())
        finally:
            await self._close()

    def changed(self, keys: Iterable[ObjectKey]) -> None:
        """The desired set changed in these keys."""
        self._acting.desired_changed()
        named = frozenset(keys)
        for uid, wanted in self._desired.pods().items():
            if wanted.key in named or mentions(wanted.pod, wanted.key.namespace, named):
                self.refresh(uid)
        for uid in self._pods:
            if uid not in self._desired.pods():
                self._wake(uid)

    def refresh(self, uid: str) -> None:
        """Something that the pod is made of may be another one now."""
        if uid in self._pods:
            self._pods[uid].volumes_stale = True
            self._pods[uid].forgive()
        self._wake(uid)

    def tell(self, uid: str, event: PodEvent) -> bool:
        """Whether the pod is here to take the Event."""
        pod = self._pods.get(uid)
        if pod is None:
            return False
        pod.events.record(event)
        self._wake(uid)
        return True

    def active(self) -> list[Json]:
        """Pods that were taken up and have not ended, and those for which room is being made."""
        every = self._facts().values()
        taken_up = [one.pod for one in every if one.admitted and one.final is None and one.pod]
        return [*taken_up, *self._wanting.at_the_door.values()]

    def facts(self) -> list[Json]:
        """What must outlive the agent about each pod, stored or not."""
        return [one.to_json() for _, one in sorted(self._facts().items())]

    def _facts(self) -> dict[str, PodFacts]:
        return {**self._remembered, **{uid: pod.facts for uid, pod in self._pods.items()}}

    # For housekeeping (``held.PodsOfDevice``)

    @property
    def adopted(self) -> bool:
        return self._recovered

    def held(self) -> list[HeldPod]:
        return [pod.held() for pod in self._pods.values() if pod.pod]

    def known(self) -> set[str]:
        return {*self._pods, *self._remembered, *self._desired.pods()}

    def evict(self, uid: str, eviction: Eviction) -> None:
        pod = self._pods.get(uid)
        if pod is not None and not self._fenced and pod.evict(eviction):
            self._wake(uid)

    # For the shutdown of the device (``held.PodsToStop``)

    @property
    def fenced(self) -> bool:
        return self._fenced

    @property
    def looked_through(self) -> bool:
        return self._recovered and not self._remembered

    def shut_down(self, shutdown: ShutdownOf | None) -> None:
        self._shutdown = shutdown
        for pod in self._pods.values():
            pod.rests = False
        self._wake_all()

    async def release(self, key: ObjectKey) -> str:
        """Let go on what is on hold for this pod; answers what that is, empty for nothing."""
        for uid, pod in self._pods.items():
            if pod.facts.on_hold and ObjectKey.of("Pod", pod.pod) == key:
                what = pod.facts.on_hold
                pod.facts = replace(pod.facts, released=True)
                self._wake(uid)  # First: a slow disk outlasts the patience of who asked.
                await self._recording.save(pod, pod.facts)
                return what
        return ""

    def node_changed(self, node: NodeFacts) -> None:
        """The runtime or an address of the device is another one."""
        self._node = node
        self._wake_all()

    async def fence(self) -> None:
        """Stop acting, and touch nothing: another agent has this node's name."""
        self._fenced = True
        await self._workers.stop()
        for prober in self._probers.values():
            await prober.close()
        for pod in self._pods.values():
            await pod.operations.close()

    def unfence(self) -> None:
        """Go on, from what the runtime has now."""
        self._fenced = False
        self._observer.changed_all()
        self._wake_all()

    # Waking

    def _wake(self, uid: str) -> None:
        if self._recovered and self._met and not self._fenced:
            self._workers.wake(uid)

    def _wake_all(self) -> None:
        for uid in sorted(self.known()):
            self._wake(uid)

    async def _follow(self) -> None:
        """The runtime's events; when they break, everything is looked at again afterwards."""
        backoff = Backoff(0.2, 1.0, random.Random(0))  # Local, so nothing to spread.
        while True:
            try:
                await self._meet()
                if not self._met:
                    self._began, self._met = self._clock.monotonic(), True
                self._observer.changed_all()
                self._wake_all()
                async for change in self._runtime.events():
                    backoff.reset()
                    if self._observer.shows_news(change):
                        self._wake(change.uid)
            except KubetideError as error:
                delay = backoff.next()
                log.warning("runtime events broke", error=str(error), retry_in=round(delay, 1))
                await self._clock.sleep(delay)

    async def _relist(self) -> None:
        while True:
            await self._clock.sleep(RELIST_SECONDS)
            self._observer.changed_all()
            self._wake_all()

    # One pod

    async def _work(self, uid: str) -> float | None:
        try:
            sandboxes = await self._observer.look(uid)
        except RuntimeAway:
            # Nothing is known now. Who follows the events wakes everybody when it is back.
            return AWAY_SECONDS
        pod = self._live(uid)
        pod.sandboxes = sandboxes
        wanted, grace = self._wanting.of(pod)
        if not pod.pod:
            self._drop(uid)
            return ROOM_SECONDS if uid in self._wanting.at_the_door else None
        await self._hear_out(pod)
        pod.take_ids(self._node, self._facts, self._observer.first_ids)
        pod.take_shutdown(self._shutdown(pod.pod) if self._shutdown else None)
        now = Moment(self._clock.now(), self._clock.monotonic())
        plan = planner.plan(pod.view(wanted, grace=grace, node=self._node, now=now), now)
        pod.tell(plan)
        gave_back = resizing.gave_back(pod.facts, plan.facts)
        pod.take(plan, now)
        if gave_back:
            self._ask_again_for_room()
        await self._carry_out(pod, plan, wanted)
        pod.rests = plan.rests
        if prober := self._probers.get(uid):
            prober.follow(self._node.ips)
        return self._delay(pod, plan)

    def _delay(self, pod: LivePod, plan: Plan) -> float | None:
        """Seconds until the pod is looked at though nothing happened."""
        now = self._clock.monotonic()
        due = None if plan.due is None else max(plan.due - now, 0.0)
        unstored = UNSTORED_SECONDS if pod.unstored else None
        looks = (
            due,
            self._wanting.opens(pod),
            unstored,
            resizing.RETRY_SECONDS if pod.facts.resize else None,
        )
        return min((one for one in looks if one is not None), default=None)

    def _ask_again_for_room(self) -> None:
        """In the order in which they may have what there is now."""
        for uid in self._wanting.at_the_door:
            self._wake(uid)
        waiting = [one for one in self._pods.values() if one.facts.resize is not None]
        for pod in sorted(waiting, key=lambda one: resizing.precedence(one.facts)):
            self._wake(pod.uid)

    async def _hear_out(self, pod: LivePod) -> None:
        """What containers that ended left to say, before anything is concluded from their end."""
        while ended := pod.newly_ended():
            await self._ask_why(pod, [one for one in ended if _was_killed(one)])
            for one in ended:
                pod.words[one.id] = await last_words(pod.pod, one, self._materials)

    async def _ask_why(self, pod: LivePod, killed: list[Container]) -> None:
        """Once more. Of memory that ran out a runtime hears beside the end, on cgroup version 2,
        and says so a moment later."""
        if not killed or pod.facts.stopping is not None:
            return
        await self._clock.sleep(WHY_SECONDS)
        for one in killed:
            with suppress(KubetideError):
                await self._observer.see_container(pod, one.sandbox_id, one.id)

    def _live(self, uid: str) -> LivePod:
        if uid not in self._pods:
            self._pods[uid] = LivePod(
                uid,
                facts=self._remembered.pop(uid, None),
                clock=self._clock,
                wake=lambda: self._wake(uid),
            )
            self._probers[uid] = Prober(
                self._pods[uid], runtime=self._execs, clock=self._clock, began=self._began
            )
        return self._pods[uid]

    async def _carry_out(self, pod: LivePod, plan: Plan, wanted: Wanted) -> None:
        """Facts first: an action may rely on them after a crash."""
        decided = plan.facts.admitted or plan.facts.stopping is not None
        if plan.facts != pod.saved and decided and wanted is not Wanted.UNKNOWN:
            await self._recording.save(pod, plan.facts)
        for action in plan.abandon:
            pod.operations.abandon(action)
        under_way = pod.operations.under_way()
        for action in plan.actions:
            if isinstance(action, Forget):
                await self._forget(pod)
            elif action not in under_way:
                self._acting.begin(pod, action)
        if plan.status is not None and wanted in (Wanted.RUN, Wanted.DELETE):
            await self._recording.report(pod, plan.status, deleting=wanted is Wanted.DELETE)

    async def _forget(self, pod: LivePod) -> None:
        await self._materials.forget(pod.pod)
        await self._store.delete(pod.uid)
        self._drop(pod.uid)
        for uid, wanted in self._desired.pods().items():
            if wanted.key == ObjectKey.of("Pod", pod.pod):
                self._wake(uid)

    def _drop(self, uid: str) -> None:
        self._observer.forget(uid)
        self._pods.pop(uid, None)
        self._probers.pop(uid, None)

    async def _close(self) -> None:
        await self.fence()
        await self._acting.close()
        await self._observer.close()


def _was_killed(container: Container) -> bool:
    """And nobody has said yet by whom."""
    return container.exit_code == SIGKILLED and container.reason in ("", "Error")
