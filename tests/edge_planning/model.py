"""A runtime and an agent process as plain values, driven step by step: no loop, no clock.

Does at once what the planner asks for, or fails at it, or leaves it under way, as the history
says. It is the judge too: every plan is checked against what may never happen.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

from edgeagent.pods import planning, specs
from edgeagent.pods.actions import (
    Action,
    EnsureImage,
    Forget,
    PrepareVolumes,
    RefreshVolumes,
    RemoveContainer,
    RemoveSandbox,
    RemoveVolumes,
    ResizeContainer,
    RunPreStop,
    StartContainer,
    StartSandbox,
    StopContainer,
    StopSandbox,
)
from edgeagent.pods.containers import HASH
from edgeagent.pods.facts import PodFacts
from edgeagent.pods.planning import Plan
from edgeagent.pods.restarting import ALL
from edgeagent.pods.view import Eviction, Live, Moment, PodView, Shutdown, Trouble, Wanted
from edgeagent.runtime.port import Container, ContainerState, Sandbox, SandboxState
from shared.objects import Json

NANO = 10**9
EPOCH = 1_780_000_000


@dataclass
class Model:
    pod: Json
    wanted: Wanted = Wanted.RUN
    grace: int | None = None
    now: float = 100.0
    facts: PodFacts = field(default_factory=PodFacts)
    sandboxes: list[Sandbox] = field(default_factory=list)
    under_way: list[Action] = field(default_factory=list)
    volumes_ready: bool = False
    images: set[str] = field(default_factory=set)
    troubles: dict[str, Trouble] = field(default_factory=dict)
    unhealthy: dict[str, str] = field(default_factory=dict)
    hooked: set[str] = field(default_factory=set)
    cleaned: set[str] = field(default_factory=set)
    exits: dict[str, float] = field(default_factory=dict)
    stopping_since: float = 0.0
    eviction: Eviction | None = None
    shutdown: Shutdown | None = None
    forgotten: bool = False
    ids: int = 0
    starts: list[str] = field(default_factory=list)

    # The judge

    def look(self) -> Plan:
        """One pass of the worker: plan, judge, store, begin."""
        view, now = self.view(), Moment(EPOCH + self.now, self.now)
        plan = planning.plan(view, now)
        assert planning.plan(view, now) == plan, "the same view gives the same plan"
        assert PodFacts.from_json(json.loads(json.dumps(plan.facts.to_json()))) == plan.facts
        self._judge(view, plan)
        if plan.facts.stopping != self.facts.stopping:
            self.stopping_since = self.now
        self.facts = plan.facts
        self.under_way = [one for one in self.under_way if one not in plan.abandon]
        self.under_way += [one for one in plan.actions if one not in self.under_way]
        if Forget() in self.under_way:
            # The worker does this one itself, before it looks again.
            self.finish(Forget())
        return plan

    def _judge(self, view: PodView, plan: Plan) -> None:
        kept = [one for one in view.live.under_way if one not in plan.abandon]
        slots = [one.slot for one in {*kept, *plan.actions}]
        assert len(slots) == len(set(slots)), f"contradiction: {kept} {plan.actions}"
        for action in plan.actions:
            if isinstance(action, StopContainer):
                assert self._may_stop(action, plan), f"no cause for {action}"
            if isinstance(action, StartContainer):
                self._judge_start(action, view, plan)
            if isinstance(action, StartSandbox):
                assert plan.facts.stopping is None and plan.facts.final is None
                assert view.sandbox is None and not view.halted
            if isinstance(action, RemoveVolumes):
                assert all(one.id in self.cleaned for one in self.sandboxes), "volumes in use"
        if plan.rests and plan.facts.final is None:
            begun = [one for one in plan.actions if isinstance(one, (StartContainer, StartSandbox))]
            assert not begun and (not view.running() or not view.halted)
        if plan.facts.final is not None and view.facts.final is None:
            starting = [one for one in kept if isinstance(one, (StartContainer, StartSandbox))]
            assert not starting and not self.running(), "ended, but something lives"
        if view.facts.final is not None and view.wanted is Wanted.RUN:
            assert plan.facts.final is not None or view.facts.stopping.gone  # type: ignore[union-attr]

    def _judge_start(self, action: StartContainer, view: PodView, plan: Plan) -> None:
        assert not view.halted, "started on a device that shuts down"
        assert plan.facts.stopping is None and plan.facts.final is None
        alive = [one for one in view.running() if one.name == action.name]
        assert not alive, f"{action} while {alive} runs"
        known = plan.facts.container(action.name)
        assert action.attempt == (known.attempt + 1 if known else 0)

    def _may_stop(self, action: StopContainer, plan: Plan) -> bool:
        """The whole list of legitimate causes."""
        if plan.facts.stopping is not None:
            return self.wanted is not Wanted.RUN or self._is_over(plan)
        if action.cause == "shutdown":
            return self.view().halted or bool(self._known_killed(action))
        if action.cause == ALL:
            return plan.facts.restarting_all
        container = next(one for one in self.containers() if one.id == action.container_id)
        known = plan.facts.container(action.name)
        spec = specs.container_named(self.pod, action.name) or {}
        home = next(one for one in self.sandboxes if one.id == container.sandbox_id)
        current = self.view().sandbox
        return (
            container.state is ContainerState.UNKNOWN
            or action.container_id in self.unhealthy
            or bool(known and known.killed)
            or container.annotations.get(HASH) != specs.identity(spec)
            or home.state is SandboxState.NOT_READY
            or (current is not None and current.id != home.id)
        )

    def _known_killed(self, action: StopContainer) -> str:
        known = self.facts.container(action.name)
        return known.killed if known is not None and known.id == action.container_id else ""

    def _is_over(self, plan: Plan) -> bool:
        stopping = plan.facts.stopping
        ended = [plan.facts.container(one["name"]) for one in specs.mains(self.pod)]
        done = all(one is not None and one.ended is not None for one in ended)
        return done or (stopping is not None and (stopping.gone or bool(stopping.phase)))

    def view(self) -> PodView:
        live = Live(
            under_way=tuple(self.under_way),
            volumes_ready=self.volumes_ready,
            images=frozenset(self.images),
            troubles=dict(self.troubles),
            since=100.0,
            stopping_since=self.stopping_since,
            exits=dict(self.exits),
            unhealthy=dict(self.unhealthy),
            hooked=frozenset(self.hooked),
            cleaned=frozenset(self.cleaned),
            eviction=self.eviction,
            shutdown=self.shutdown,
        )
        newest_first = tuple(sorted(self.sandboxes, key=lambda one: -one.attempt))
        return PodView(
            pod=self.pod,
            wanted=self.wanted,
            facts=self.facts,
            sandboxes=newest_first,
            live=live,
            grace=self.grace,
        )

    # The runtime

    def containers(self) -> list[Container]:
        return [one for sandbox in self.sandboxes for one in sandbox.containers]

    def running(self) -> list[Container]:
        return [one for one in self.containers() if one.state is ContainerState.RUNNING]

    def finish(self, action: Action) -> None:
        """The operation ends well."""
        self.under_way.remove(action)
        self.troubles.pop(action.slot, None)
        match action:
            case PrepareVolumes() | RefreshVolumes():
                self.volumes_ready = True
            case EnsureImage():
                self.images.add(action.name)
            case StartSandbox():
                self._new_sandbox(action.attempt)
            case StartContainer():
                self._new_container(action)
            case RunPreStop():
                self.hooked.add(action.container_id)
            case StopContainer():
                self.end(action.container_id, 143)
            case ResizeContainer():
                self._resized(action)
            case _:
                self._clean(action)

    def fail(self, action: Action) -> None:
        self.under_way.remove(action)
        failures = self.troubles[action.slot].failures + 1 if action.slot in self.troubles else 1
        self.troubles[action.slot] = Trouble("Error", "no", self.now + 5, failures)

    def end(self, container_id: str, code: int) -> None:
        for at, sandbox in enumerate(self.sandboxes):
            ended = tuple(
                self._ended(one, code) if one.id == container_id else one
                for one in sandbox.containers
            )
            self.sandboxes[at] = replace(sandbox, containers=ended)

    def lose_sandboxes(self) -> None:
        """A reboot: everything that ran has ended."""
        for one in self.running():
            self.end(one.id, 255)
        self.sandboxes = [replace(one, state=SandboxState.NOT_READY) for one in self.sandboxes]

    def pause_dies(self) -> None:
        """The sandbox is not ready any more, its containers go on."""
        self.sandboxes = [replace(one, state=SandboxState.NOT_READY) for one in self.sandboxes]

    def boot(self) -> None:
        self.lose_sandboxes()
        self.shutdown = None
        self.new_agent()

    def new_agent(self) -> None:
        """Only facts and the runtime survive."""
        self.under_way, self.troubles, self.images = [], {}, set()
        self.unhealthy, self.cleaned, self.volumes_ready = {}, set(), False
        self.hooked = set()
        self.eviction = None

    def _ended(self, one: Container, code: int) -> Container:
        if one.state is ContainerState.EXITED:
            return one
        self.exits[one.id] = self.now
        self.unhealthy.pop(one.id, None)
        stamp = int((EPOCH + self.now) * NANO)
        return replace(
            one, state=ContainerState.EXITED, exit_code=code, finished_at=stamp, reason="Error"
        )

    def _new_sandbox(self, attempt: int) -> None:
        self.ids += 1
        self.cleaned.discard("volumes")
        self.sandboxes.append(
            Sandbox(
                id=f"s{self.ids}",
                name="web",
                namespace="default",
                uid="uid",
                attempt=attempt,
                state=SandboxState.READY,
                created_at=int(self.now * NANO),
                ips=("10.0.0.2",),
            )
        )

    def _new_container(self, action: StartContainer) -> None:
        self.ids += 1
        self.images.discard(action.name)
        self.starts.append(action.name)
        spec = specs.container_named(self.pod, action.name)
        assert spec is not None
        stamp = int((EPOCH + self.now) * NANO)
        made = Container(
            id=f"c{self.ids}",
            sandbox_id=action.sandbox_id,
            name=action.name,
            attempt=action.attempt,
            state=ContainerState.RUNNING,
            image=spec["image"],
            image_ref="sha256:1",
            created_at=stamp,
            started_at=stamp,
            annotations={HASH: specs.identity(spec)},
        )
        for at, sandbox in enumerate(self.sandboxes):
            if sandbox.id == action.sandbox_id:
                self.sandboxes[at] = replace(sandbox, containers=(made, *sandbox.containers))

    def _resized(self, action: ResizeContainer) -> None:
        known = self.facts.container(action.name)
        spec = specs.container_named(self.pod, action.name) or {}
        assert known is not None
        resized = replace(known, resources=spec.get("resources") or {})
        self.facts = self.facts.with_container(action.name, resized)

    def _clean(self, action: Action) -> None:
        match action:
            case RemoveContainer():
                self.sandboxes = [
                    replace(
                        one,
                        containers=tuple(
                            inner for inner in one.containers if inner.id != action.container_id
                        ),
                    )
                    for one in self.sandboxes
                ]
            case StopSandbox():
                self._stop_sandbox(action.sandbox_id)
            case RemoveSandbox():
                self.sandboxes = [one for one in self.sandboxes if one.id != action.sandbox_id]
            case RemoveVolumes():
                self.volumes_ready = False
                self.cleaned.add("volumes")
            case Forget():
                self.forgotten = True

    def _stop_sandbox(self, sandbox_id: str) -> None:
        self.cleaned.add(sandbox_id)
        for at, sandbox in enumerate(self.sandboxes):
            if sandbox.id == sandbox_id:
                for one in sandbox.containers:
                    self.end(one.id, 137)
                stopped = replace(self.sandboxes[at], state=SandboxState.NOT_READY)
                self.sandboxes[at] = stopped
