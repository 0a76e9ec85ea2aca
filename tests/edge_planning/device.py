"""One pod on a device, driven step by step: a runtime and an agent process without loop or clock.

The agent's half is the real ``LivePod``; what its worker and ``act.py`` do around the planner
is done here at once, or fails, or stays under way, as the history says. Every plan is put before
the judge (``passes.py``), with the ledger of what truly happened (``ledger.py``).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace

from edgeagent.pods import adoption
from edgeagent.pods.live import LivePod
from edgeagent.pods.materials import containers
from edgeagent.pods.model.actions import (
    Action,
    EnsureImage,
    Forget,
    PrepareVolumes,
    RefreshVolumes,
    RemoveContainer,
    RemoveSandbox,
    RemoveVolumes,
    ResizeContainer,
    ResizePod,
    RunPreStop,
    StartContainer,
    StartSandbox,
    StopContainer,
    StopSandbox,
)
from edgeagent.pods.model.causes import Cause
from edgeagent.pods.model.facts import PodFacts
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.model.view import Moment, Refusal, Shutdown, Trouble, Wanted, is_running
from edgeagent.pods.operations import Operations
from edgeagent.pods.planning import planner
from edgeagent.pods.planning.cleaning import VOLUMES
from edgeagent.pods.planning.planner import Plan
from edgeagent.pods.rules import holding, resizing
from edgeagent.runtime.port import Container, ContainerState, Image, Sandbox, SandboxState
from shared.objects import Json
from tests.edge_planning import rules, starting_rules
from tests.edge_planning.ledger import Ledger, container_spec
from tests.edge_planning.passes import Pass, judge

UID = "uid"
NODE = NodeFacts("device", ips=("192.0.2.1",))
RETRY_SECONDS = 5.0
NANO = 10**9
LAW = rules, starting_rules
"""Whose rules are in force."""
NOT_ADMITTED = Refusal("OutOfcpu", "it does not fit")
DEFERRED = Refusal("OutOfcpu", "it does not fit now")
INFEASIBLE = Refusal(resizing.INFEASIBLE, "it will never fit")


class Hands:
    """The monotonic clock, and the wall clock that the device shows."""

    def __init__(self) -> None:
        self.ran = 1_000.0
        self.wall = 1_780_000_000.0
        self.trusted = True
        """The wall clock has never jumped."""

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.ran

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing sleeps here")

    def advance(self, seconds: float) -> None:
        self.ran += seconds
        self.wall += seconds


class UnderWay(Operations):
    """Operations that end when the history says so; with what each read when it began."""

    def __init__(self) -> None:
        super().__init__(lambda: None)
        self.begun: dict[Action, Json] = {}
        self.of_pod: dict[Action, Json] = {}
        """What the pod asked for as a whole then."""
        self.in_hook: dict[Action, str] = {}
        """Starts whose container runs already, and its id."""

    def under_way(self) -> tuple[Action, ...]:
        return tuple(self.begun)

    def abandon(self, action: Action) -> None:
        self.end(action)

    def end(self, action: Action) -> None:
        self.begun.pop(action, None)
        self.of_pod.pop(action, None)
        self.in_hook.pop(action, None)


class Device:
    def __init__(self, body: Json, *, admitted: bool = True) -> None:
        self.body = body
        """As the API has it now."""
        self.wanted = Wanted.RUN
        self.grace: int | None = None
        self.window_open = False
        self.admitted = admitted
        self.has_room = True
        """For a resize; else it may have some later."""
        self.will_have_room = True
        self.shutdown: Shutdown | None = None
        self.clock = Hands()
        self.sandboxes: list[Sandbox] = []
        self.stored: Json | None = None
        self.disk_is_full = False
        self.behind = False
        """What the agent knows is more than what is stored."""
        self.runtime_is_away = False
        self.has_folder = False
        """Of volumes, on the disk."""
        self.ids = 0
        self.ledger = Ledger()
        self.agent_starts()

    # The agent

    def agent_starts(self) -> None:
        """With what is stored; everything else that an agent knew is gone."""
        facts = None if self.stored is None else PodFacts.from_json(copy.deepcopy(self.stored))
        if self.behind:
            stored = facts.containers.values() if facts else ()
            seen = {one.id for one in self.containers()}
            self.ledger.facts_are_old(seen | {one.id for one in stored})
            self.behind = False
        self.live = LivePod(UID, facts=facts, clock=self.clock, wake=lambda: None)
        self.live.operations = UnderWay()
        self.ledger.agent_started()

    @property
    def operations(self) -> UnderWay:
        assert isinstance(self.live.operations, UnderWay)
        return self.live.operations

    @property
    def forgotten(self) -> bool:
        """Nothing is left of the pod, here or in the store."""
        return not self.live.pod and not self.sandboxes

    def look(self) -> Plan | None:
        """One pass of the worker: observe, plan, be judged, store, begin. None = nothing known."""
        live = self.live
        if self.runtime_is_away:
            return None
        live.sandboxes = tuple(sorted(self.sandboxes, key=lambda one: -one.attempt))
        wanted, grace = self._asked()
        if not live.pod:
            return None
        live.take_shutdown(self.shutdown)
        now = Moment(self.clock.now(), self.clock.monotonic())
        view = live.view(wanted, grace=grace, node=NODE, now=now)
        self.ledger.looked(view, now)
        plan = planner.plan(view, now)
        judge(Pass(view, now, plan, self.ledger, trusted=self.clock.trusted))
        self.ledger.planned(view, plan, now)
        live.take(plan, now)
        decided = plan.facts.admitted or plan.facts.stopping is not None
        if wanted is not Wanted.UNKNOWN and decided and not self.disk_is_full:
            self.stored = json.loads(json.dumps(plan.facts.to_json()))
        self.behind = self.disk_is_full
        self._begin(plan)
        return plan

    def _begin(self, plan: Plan) -> None:
        for action in plan.abandon:
            self.operations.abandon(action)
        for action in plan.actions:
            if isinstance(action, Forget):
                self._forget()
            elif action not in self.operations.begun:
                if isinstance(action, (PrepareVolumes, RefreshVolumes)):
                    self.live.volumes_stale = False
                if isinstance(action, PrepareVolumes):
                    self.live.cleaned.discard(VOLUMES)
                    self.has_folder = True
                named = container_spec(self.live.pod, getattr(action, "name", ""))
                self.operations.begun[action] = named or {}
                self.operations.of_pod[action] = resizing.as_a_whole(self.live.pod)

    def _forget(self) -> None:
        self.stored, self.body = None, {}
        self.agent_starts()

    def _asked(self) -> tuple[Wanted, int | None]:
        """What the desired set says, less what the device holds up."""
        live = self.live
        if self.wanted in (Wanted.RUN, Wanted.DELETE) and self.body:
            held = self._hold(self.body, self.wanted)
            if not held or not live.pod:
                live.take_body(self.body, self)  # type: ignore[arg-type]
            return (Wanted.RUN, None) if held else (self.wanted, self.grace)
        if not live.pod and live.sandboxes:
            live.pod = adoption.pod_of(live.sandboxes)
        if self.wanted is Wanted.UNKNOWN:
            return Wanted.UNKNOWN, None
        if live.pod and self._hold(None, Wanted.GONE):
            return Wanted.RUN, None
        return Wanted.GONE, None

    # Of the materials, what ``LivePod`` asks

    def refusal(self, body: Json) -> Refusal | None:
        return None if self.admitted else NOT_ADMITTED

    def resize_refusal(self, before: Json, body: Json) -> Refusal | None:
        return None if self.has_room else DEFERRED if self.will_have_room else INFEASIBLE

    def _hold(self, newest: Json | None, asked: Wanted) -> bool:
        live = self.live
        live.facts = holding.kept(
            live.facts,
            holding.pending(live.pod or newest or {}, newest, asked, live.facts),
            taken_up=live.facts.admitted or bool(live.sandboxes),
            window_open=self.window_open,
        )
        return bool(live.facts.on_hold)

    # How an operation ends

    def finish(self, action: Action, *, exit_code: int = 143) -> None:
        """Well; a start with a postStart hook first gets as far as the hook."""
        spec, of_pod = self.operations.begun[action], self.operations.of_pod[action]
        if isinstance(action, StartContainer) and action not in self.operations.in_hook:
            self._started(action, spec)
            return
        self.operations.end(action)
        self.live.troubles.pop(action.slot, None)
        match action:
            case PrepareVolumes():
                self.live.volumes_ready = True
            case EnsureImage():
                self._has_image(action)
            case StartSandbox():
                self._new_sandbox(action.attempt)
            case RunPreStop():
                self.live.hooked.add(action.container_id)
            case StopContainer():
                self.ends(action.container_id, exit_code)
            case ResizeContainer():
                self._resized(action, spec)
                self.ledger.of_pod = resizing.as_a_whole(self.live.pod)
            case ResizePod():
                self.ledger.of_pod = of_pod
                self.live.facts = replace(self.live.facts, resources=of_pod)
            case _:
                self._clean(action)

    def fail(self, action: Action, *, reason: str = "Error") -> None:
        """A hook that fails condemns its container; everything else is tried again."""
        if (container_id := self.operations.in_hook.get(action)) is not None:
            self.operations.end(action)
            self.verdict(container_id, "hook")
            self._trouble(action, "PostStartHookError", self.clock.monotonic())
            return
        if isinstance(action, StartContainer):
            self.live.images.pop(action.name, None)
        self.operations.end(action)
        self._trouble(action, reason, self.clock.monotonic() + RETRY_SECONDS)

    def _trouble(self, action: Action, reason: str, retry_at: float) -> None:
        before = self.live.troubles.get(action.slot)
        failures = before.failures + 1 if before else 1
        self.live.troubles[action.slot] = Trouble(reason, "no", retry_at, failures, failures)

    def fail_late(self, action: Action) -> None:
        """The thing was done, or half of it, and the answer was an error."""
        match action:
            case StartSandbox():
                self._new_sandbox(action.attempt)
            case StartContainer() if action not in self.operations.in_hook:
                self._new_container(action, self.operations.begun[action], running=False)
            case StopContainer():
                self.ends(action.container_id, 137)
            case StopSandbox():
                self._unplug(action.sandbox_id)
        self.fail(action)

    # What happens to containers

    def containers(self) -> list[Container]:
        return [one for sandbox in self.sandboxes for one in sandbox.containers]

    def running(self) -> list[Container]:
        return [one for one in self.containers() if is_running(one)]

    def ends(self, container_id: str, code: int) -> None:
        self._change(container_id, lambda one: self._ended(one, code))

    def verdict(self, container_id: str, kind: str) -> None:
        """A probe or a hook has failed for good."""
        self.live.unhealthy[container_id] = Cause(kind)
        self.ledger.condemned(container_id, kind)

    def startup_succeeds(self, container_id: str) -> None:
        self.live.startup[container_id] = True
        self.ledger.of(container_id).started = True

    def loses_sight(self, container_id: str) -> None:
        """The runtime cannot say how it is."""
        self._change(container_id, lambda one: replace(one, state=ContainerState.UNKNOWN))

    def loses(self, container_id: str) -> None:
        """The runtime has no trace of it any more."""
        self._change(container_id, lambda one: None)

    def power_cut(self) -> None:
        for one in self.running():
            self.ends(one.id, 255)
        self.pause_dies()
        self.shutdown = None
        self.agent_starts()

    def pause_dies(self) -> None:
        """The sandboxes are not ready any more; what runs in them goes on."""
        self.sandboxes = [replace(one, state=SandboxState.NOT_READY) for one in self.sandboxes]

    def loses_everything(self) -> None:
        """The runtime's state was wiped."""
        self.sandboxes = []

    def _change(self, container_id: str, how: object) -> None:
        for at, sandbox in enumerate(self.sandboxes):
            kept = self._changed(sandbox.containers, container_id, how)
            self.sandboxes[at] = replace(sandbox, containers=tuple(kept))

    @staticmethod
    def _changed(
        before: tuple[Container, ...], container_id: str, how: object
    ) -> Iterator[Container]:
        assert callable(how)
        for one in before:
            after = how(one) if one.id == container_id else one
            if after is not None:
                yield after

    def _ended(self, one: Container, code: int) -> Container:
        if not is_running(one):
            return one
        stamp = int(self.clock.now() * NANO)
        self.ledger.ended(one.id, code, self.clock.monotonic())
        return replace(one, state=ContainerState.EXITED, exit_code=code, finished_at=stamp)

    # What actions do

    def _has_image(self, action: EnsureImage) -> None:
        self.live.images[action.name] = action.image, Image(action.image)

    def _new_sandbox(self, attempt: int) -> None:
        self.ids += 1
        self.sandboxes.append(
            Sandbox(
                id=f"s{self.ids}",
                name="web",
                namespace="default",
                uid=UID,
                attempt=attempt,
                state=SandboxState.READY,
                created_at=int(self.clock.now() * NANO),
                ips=("10.0.0.2",),
            )
        )

    def _started(self, action: StartContainer, spec: Json) -> None:
        home = next((one for one in self.sandboxes if one.id == action.sandbox_id), None)
        if home is None or home.state is SandboxState.NOT_READY:
            self.fail(action, reason="RunContainerError")
            return
        container_id = self._new_container(action, spec, running=True)
        if (spec.get("lifecycle") or {}).get("postStart"):
            self.operations.in_hook[action] = container_id
        else:
            self.operations.end(action)
        self.live.troubles.pop(action.slot, None)

    def _new_container(self, action: StartContainer, spec: Json, *, running: bool) -> str:
        self.ids += 1
        _, image = self.live.images.pop(action.name)
        self.ledger.of_pod = self.operations.of_pod[action]
        stamp = int(self.clock.now() * NANO)
        made = Container(
            id=f"c{self.ids}",
            sandbox_id=action.sandbox_id,
            name=action.name,
            attempt=action.attempt,
            state=ContainerState.RUNNING if running else ContainerState.CREATED,
            image=spec["image"],
            image_ref="sha256:1",
            created_at=stamp,
            started_at=stamp if running else 0,
            annotations=containers.container_annotations(
                {**self.live.pod, "spec": {**self.live.pod["spec"], "resources": None}},
                spec,
                attempt=action.attempt,
            ),
        )
        for at, sandbox in enumerate(self.sandboxes):
            if sandbox.id == action.sandbox_id:
                self.sandboxes[at] = replace(sandbox, containers=(made, *sandbox.containers))
        if running:
            self.ledger.began(made, {**spec, "image": image.id}, self.clock.monotonic())
        return made.id

    def _resized(self, action: ResizeContainer, spec: Json) -> None:
        self.ledger.of(action.container_id).spec["resources"] = spec.get("resources") or {}
        known = self.live.facts.container(action.name)
        if known is not None and known.id == action.container_id:
            resized = replace(known, resources=spec.get("resources") or {})
            self.live.facts = self.live.facts.with_container(action.name, resized)

    def _clean(self, action: Action) -> None:
        cleaned = self.live.cleaned
        match action:
            case RemoveContainer():
                self.loses(action.container_id)
            case StopSandbox():
                self._unplug(action.sandbox_id)
                cleaned.add(action.sandbox_id)
            case RemoveSandbox():
                self.sandboxes = [one for one in self.sandboxes if one.id != action.sandbox_id]
                cleaned.discard(action.sandbox_id)
            case RemoveVolumes():
                self.live.volumes_ready = self.has_folder = False
                cleaned.add(VOLUMES)

    def _unplug(self, sandbox_id: str) -> None:
        for at, sandbox in enumerate(self.sandboxes):
            if sandbox.id == sandbox_id:
                for one in sandbox.containers:
                    self.ends(one.id, 137)
                self.sandboxes[at] = replace(self.sandboxes[at], state=SandboxState.NOT_READY)
