"""One pod as this process holds it: facts, operations under way, troubles, Events.

Owns the mutable half of a pod. Everything in here either is stored with the facts or may be lost
with the process; ``view`` freezes it for the planner.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from edgeagent.pods.held import HeldPod
from edgeagent.pods.materials import userids
from edgeagent.pods.model import specs
from edgeagent.pods.model.causes import Cause
from edgeagent.pods.model.facts import PodFacts
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.model.podevents import normal
from edgeagent.pods.model.view import (
    Eviction,
    Live,
    Moment,
    PodView,
    Refusal,
    Shutdown,
    Trouble,
    Wanted,
    is_running,
)
from edgeagent.pods.operations import Operations
from edgeagent.pods.planning.planner import Plan
from edgeagent.pods.ports import Materials
from edgeagent.pods.reporting import telling
from edgeagent.pods.reporting.eventing import EventLog
from edgeagent.pods.rules import resizing, restarting
from edgeagent.pods.status import podstatus
from edgeagent.runtime.port import Container, ContainerState, Image, Sandbox, SandboxState
from shared.clock import CLOCK_WAS_SET, Clock
from shared.objects import Json, ObjectKey
from shared.static_pods import is_static, status_key

_NANO = 1e9


class LivePod:
    def __init__(
        self, uid: str, *, facts: PodFacts | None, clock: Clock, wake: Callable[[], None]
    ) -> None:
        self.uid = uid
        self.facts = facts or PodFacts()
        self.saved = facts
        self.unstored = False
        """The last try to store the facts failed."""
        self.pod: Json = self.facts.pod
        self.refusal: Refusal | None = None
        self.eviction: Eviction | None = None
        self.shutdown: Shutdown | None = None
        self.rests = False
        """What ``Plan.rests`` says, once it is stored and reported."""
        self.sandboxes: tuple[Sandbox, ...] = ()
        self.wake = wake
        self.operations = Operations(wake)
        self.events = EventLog(clock)
        self.troubles: dict[str, Trouble] = {}
        self.images: dict[str, tuple[str, Image]] = {}
        """By container: how the spec named it, and the image, for its next start."""
        self.volumes_ready = False
        self.volumes_stale = False
        self.cleaned: set[str] = set()
        self.startup: dict[str, bool] = {}
        self.readiness: dict[str, bool] = {}
        self.unhealthy: dict[str, Cause] = {}
        self.hooked: set[str] = set()
        self.words: dict[str, str] = {}
        """By container id: what it said at its end."""
        self.announced: set[str] = set()
        """Containers whose stop, or whose back-off, was told as an Event already."""
        self.reported: tuple[Json, bool] | None = None
        now = Moment(clock.now(), clock.monotonic())
        self._since = on_monotonic(self.facts.started_at, now)
        self._stopping = self.facts.stopping
        self._stopping_since = on_monotonic(self._stopping.at, now) if self._stopping else 0.0
        self._exits: dict[str, float] = {}

    @property
    def report_key(self) -> ObjectKey:
        """Under which its status is reported."""
        key = ObjectKey.of("Pod", self.pod)
        return status_key(key) if is_static(self.uid) else key

    def view(self, wanted: Wanted, *, grace: int | None, node: NodeFacts, now: Moment) -> PodView:
        self._note_exits(now)
        return PodView(
            pod=self.pod,
            wanted=wanted,
            facts=self.facts,
            sandboxes=self.sandboxes,
            live=self._live(),
            grace=grace,
            refusal=self.refusal,
            node=node,
        )

    def spec_of(self, name: str) -> Json:
        """A container that the pod no longer names can still be stopped."""
        return specs.container_named(self.pod, name) or {"name": name}

    def containers(self) -> list[Container]:
        return [one for sandbox in self.sandboxes for one in sandbox.containers]

    def home_of(self, container_id: str) -> str:
        """The sandbox that a container is in; empty when it is not seen any more."""
        for sandbox in self.sandboxes:
            if any(one.id == container_id for one in sandbox.containers):
                return sandbox.id
        return ""

    def held(self) -> HeldPod:
        facts = self.facts
        return HeldPod(
            self.uid,
            self.pod,
            self.sandboxes,
            active=facts.admitted and facts.final is None,
            leaving=facts.stopping is not None
            or self.eviction is not None
            or _is_turn(self.shutdown),
            rests=self.rests,
            ended=facts.final is not None and self.saved == facts,
        )

    @property
    def has_let_go(self) -> bool:
        """Nothing is held that a new pod of the same name could need: host ports, above all."""
        if not specs.has_host_ports(self.pod):
            return True
        return all(
            one.id in self.cleaned or one.state is SandboxState.NOT_READY for one in self.sandboxes
        )

    def take_body(self, body: Json, materials: Materials) -> None:
        """The pod as it is desired now, with as much of its resources as the device can give."""
        if self.pod and self.facts.admitted and (self.facts.resize or body != self.pod):
            body = self._granted(body, materials)
        if body == self.pod:
            return
        self._forget_pulls(body)
        if self.pod and not specs.used_volumes(body) <= specs.used_volumes(self.pod):
            self.volumes_ready = False
        self.pod = body
        self.facts = replace(self.facts, pod=body)
        self.volumes_stale = True
        self.refusal = None if self.facts.admitted else materials.refusal(body)

    def _forget_pulls(self, body: Json) -> None:
        """How long to wait for another image says nothing about this one."""
        for one in specs.every_container(self.pod) if self.pod else ():
            after = specs.container_named(body, one["name"])
            if after is not None and after.get("image") != one.get("image"):
                self.troubles.pop(f"image/{one['name']}", None)

    def _granted(self, body: Json, materials: Materials) -> Json:
        if not resizing.differs(self.pod, body):
            self.facts = replace(self.facts, resize=None)
            return body
        allocated = resizing.with_resources_of(self.pod, body)
        if self.facts.stopping is not None or self.facts.final is not None:
            return allocated
        refused = materials.resize_refusal(self.pod, body)
        before = self.facts.resize
        self.facts, event = resizing.decided(self.facts, body, refused)
        after = self.facts.resize
        if not (before and after and replace(before, message=after.message) == after):
            self.events.record(event)
        return body if refused is None else allocated

    def take_ids(
        self,
        node: NodeFacts,
        facts: Callable[[], Mapping[str, PodFacts]],
        sandboxes: Mapping[str, Collection[int]],
    ) -> None:
        """Users of its own, before it is started, that no pod has by its facts or sandboxes."""
        runs = bool(self.sandboxes) or self.refusal is None
        if userids.are_own(self.pod) and runs and self.facts.final is None:
            others = userids.taken(self.uid, facts(), sandboxes)
            allowed = node.first_ids
            first = userids.first_id(self.facts, self.sandboxes, others=others, allowed=allowed)
            self.facts = replace(self.facts, first_id=first)

    def tell(self, plan: Plan) -> None:
        """The Events that follow from a plan, before its facts become the pod's."""
        for event in telling.decisions(self.pod, self.facts, plan.facts):
            self.events.record(event)
        told = [*telling.back_offs(self.pod, plan.status or {})]
        if plan.status is not None and (plan.facts.stopping or _is_turn(self.shutdown)):
            told += telling.stops(self.pod, filter(is_running, self.containers()))
        for container_id, event in told:
            if container_id not in self.announced:
                self.announced.add(container_id)
                self.events.record(event)

    def take(self, plan: Plan, now: Moment) -> None:
        """The facts of a plan become the pod's; a stop that was decided just now begins now."""
        if plan.facts.started_at != self.facts.started_at:
            self._since = now.monotonic
        if plan.facts.stopping != self._stopping:
            self._stopping = plan.facts.stopping
            self._stopping_since = now.monotonic
        self.facts = plan.facts
        self._note_losses(now)

    def take_shutdown(self, shutdown: Shutdown | None) -> None:
        """A pod that ends says so by itself; one that comes back tells why it stops."""
        before, self.shutdown = self.shutdown, shutdown
        begins = _is_turn(shutdown) and not _is_turn(before)
        active = self.facts.admitted and self.facts.final is None
        if begins and active and restarting.comes_back(self.pod):
            self.events.record(normal(podstatus.TERMINATED_REASON, podstatus.TERMINATED_MESSAGE))

    def evict(self, eviction: Eviction) -> bool:
        """False where there is nothing to be evicted any more."""
        if self.eviction is not None or not self.held().active:
            return False
        self.eviction = eviction
        return True

    def newly_ended(self) -> list[Container]:
        """Containers whose end the facts do not know yet."""
        known = {one.ended.container_id for one in self.facts.containers.values() if one.ended}
        return [
            one
            for sandbox in self.sandboxes
            for one in sandbox.containers
            if one.state is ContainerState.EXITED and one.id not in known | self.words.keys()
        ]

    def forgive(self) -> None:
        """Something that a failing action may have waited for has changed: try at once.

        Not the pulls: what they wait for is a registry.
        """
        for slot, trouble in self.troubles.items():
            if not slot.startswith("image/"):
                self.troubles[slot] = replace(trouble, retry_at=0.0)

    def _live(self) -> Live:
        return Live(
            under_way=self.operations.under_way(),
            volumes_ready=self.volumes_ready,
            volumes_stale=self.volumes_stale,
            images={name: written for name, (written, _) in self.images.items()},
            troubles=dict(self.troubles),
            since=self._since,
            stopping_since=self._stopping_since,
            exits=dict(self._exits),
            words=dict(self.words),
            startup=dict(self.startup),
            readiness=dict(self.readiness),
            unhealthy=dict(self.unhealthy),
            hooked=frozenset(self.hooked),
            cleaned=frozenset(self.cleaned),
            eviction=self.eviction,
            shutdown=self.shutdown,
        )

    def _note_exits(self, now: Moment) -> None:
        ended = {
            one.id: one.finished_at
            for sandbox in self.sandboxes
            for one in sandbox.containers
            if one.state is ContainerState.EXITED
        }
        # An end is remembered also when the runtime has forgotten the container: a restart waits
        # from there on.
        kept = {one: at for one, at in self._exits.items() if one in self._ended_by_the_facts()}
        seen = {
            one: self._exits.get(one) or on_monotonic(finished / _NANO, now)
            for one, finished in ended.items()
        }
        self._exits = {**kept, **seen}
        there = {one.id for sandbox in self.sandboxes for one in sandbox.containers}
        self.announced = {one for one in self.announced if one.rpartition("/")[2] in there}
        self.hooked &= there
        self.words = {one: words for one, words in self.words.items() if one in ended}
        self._drop_verdicts(ended)

    def _note_losses(self, now: Moment) -> None:
        """Where nobody knows when a container ended, it is when that was found out."""
        for container_id, finished in self._ended_by_the_facts().items():
            self._exits.setdefault(container_id, on_monotonic(finished / _NANO, now))

    def _ended_by_the_facts(self) -> dict[str, int]:
        known = self.facts.containers.values()
        return {one.id: one.ended.finished_at for one in known if one.ended is not None}

    def _drop_verdicts(self, ended: Iterable[str]) -> None:
        for container_id in ended:
            for verdicts in (self.startup, self.readiness, self.unhealthy):
                verdicts.pop(container_id, None)


def _is_turn(shutdown: Shutdown | None) -> bool:
    return shutdown is not None and shutdown.grace is not None


def on_monotonic(wall: float, now: Moment) -> float:
    """A wall-clock stamp on the monotonic clock; now, for a stamp that cannot be trusted."""
    passed = now.wall - wall if wall > CLOCK_WAS_SET else 0.0
    return now.monotonic - max(passed, 0.0)
