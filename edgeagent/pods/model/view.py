"""All that the planner knows about one pod at one moment, as values.

Owns the vocabulary of planning: what is wanted, what was observed, what was remembered
(``facts.py``) and what only this process knows (``Live``). Frozen, so that a plan cannot act.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from edgeagent.pods.model.actions import (
    Action,
    RemoveSandbox,
    RemoveVolumes,
    StartContainer,
    StartSandbox,
    StopSandbox,
)
from edgeagent.pods.model.causes import Cause
from edgeagent.pods.model.facts import ContainerFacts, PodFacts
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.runtime.port import Container, ContainerState, Sandbox, SandboxState
from shared.objects import Json


class Wanted(enum.Enum):
    RUN = "run"
    DELETE = "delete"
    """Desired, and being deleted: stop it and say when it is done."""
    GONE = "gone"
    """Certainly no longer desired."""
    UNKNOWN = "unknown"
    """Nobody can say: leave everything as it is."""


@dataclass(frozen=True, slots=True)
class Moment:
    wall: float
    """Seconds since 1970, for stamps."""
    monotonic: float
    """For durations."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why an action did not work, in a kubelet's words, and when it is tried again."""

    reason: str
    """The waiting reason; empty when the pod has nothing to do with it."""
    message: str
    retry_at: float
    """Monotonic."""
    failures: int = 1
    refusals: int = 0
    """How many of them the runtime itself answered. After any other nobody knows: it may still be
    at work."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a pod can never run on this device."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Eviction:
    """Why the device cannot keep a pod, decided by ``edgeagent.housekeeping`` or for the sake of a
    critical pod (``preemption.py``)."""

    message: str
    disruption: bool = True
    """By a shortage of the device; else the pod went beyond a limit of its own."""
    reason: str = "Evicted"
    condition: str = ""
    """What DisruptionTarget says, where that is not the message."""
    hurried: bool = True
    """The device has no time to lose, or the pod has broken its word."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The device is shutting down; decided by ``edgeagent.shutdown``."""

    grace: int | None = None
    """Seconds that the pod has to stop; None = its turn has not come, and it runs."""
    since: float = 0.0
    """When its turn came, monotonic."""


@dataclass(frozen=True, slots=True)
class Live:
    """What this process knows beyond facts and observations. Moments are monotonic seconds."""

    under_way: tuple[Action, ...] = ()
    volumes_ready: bool = False
    volumes_stale: bool = False
    """Something that a volume is made of may have changed."""
    images: Mapping[str, str] = field(default_factory=dict)
    """By container: the image, as the spec named it, that is at hand for its next start."""
    troubles: Mapping[str, Trouble] = field(default_factory=dict)
    """By slot of the action."""
    since: float = 0.0
    """When the pod became active."""
    stopping_since: float = 0.0
    exits: Mapping[str, float] = field(default_factory=dict)
    """By container id: when it ended."""
    words: Mapping[str, str] = field(default_factory=dict)
    """By container id: what it said at its end."""
    startup: Mapping[str, bool] = field(default_factory=dict)
    """By container id: what the startup probe decided; absent = nothing yet."""
    readiness: Mapping[str, bool] = field(default_factory=dict)
    unhealthy: Mapping[str, Cause] = field(default_factory=dict)
    """By container id: what says that it must be killed: ``liveness``, ``startup`` or ``hook``."""
    hooked: frozenset[str] = frozenset()
    """By container id: its preStop hook had its turn."""
    cleaned: frozenset[str] = frozenset()
    """Sandboxes whose network was given back."""
    eviction: Eviction | None = None
    shutdown: Shutdown | None = None

    @property
    def slots(self) -> frozenset[str]:
        return frozenset(action.slot for action in self.under_way)


@dataclass(frozen=True, slots=True)
class PodView:
    pod: Json
    wanted: Wanted
    facts: PodFacts = field(default_factory=PodFacts)
    sandboxes: tuple[Sandbox, ...] = ()
    """Of this pod uid and made by us, newest attempt first."""
    live: Live = field(default_factory=Live)
    grace: int | None = None
    """What the deletion asks for."""
    refusal: Refusal | None = None
    node: NodeFacts = field(default_factory=lambda: NodeFacts(""))

    @property
    def sandbox(self) -> Sandbox | None:
        """The one that containers run in: ready, newest, and not being given back."""
        ready = [
            one
            for one in self.sandboxes
            if one.state is SandboxState.READY and not self._is_given_back(one)
        ]
        occupied = [one for one in ready if any(map(is_running, one.containers))]
        return next(iter(occupied or ready), None)

    @property
    def halted(self) -> bool:
        """Whether it is this pod's turn to stop with its device."""
        shutdown = self.live.shutdown
        return shutdown is not None and shutdown.grace is not None

    @property
    def stops(self) -> bool:
        return self.facts.stopping is not None or self.halted

    @property
    def taken_up(self) -> bool:
        """Also by an agent whose facts are lost: what has a sandbox was admitted once."""
        return self.facts.admitted or bool(self.sandboxes) or self.wanted is not Wanted.RUN

    def _is_given_back(self, sandbox: Sandbox) -> bool:
        going = (StopSandbox(sandbox.id), RemoveSandbox(sandbox.id))
        return sandbox.id in self.live.cleaned or any(one in self.live.under_way for one in going)

    @property
    def has_volumes(self) -> bool:
        return self.live.volumes_ready and RemoveVolumes() not in self.live.under_way

    def containers(self) -> list[Container]:
        return [one for sandbox in self.sandboxes for one in sandbox.containers]

    def newest(self, name: str) -> Container | None:
        """The newest container of that name which was ever started."""
        started = [
            one
            for one in self.containers()
            if one.name == name and one.state is not ContainerState.CREATED
        ]
        return max(started, key=lambda one: (one.attempt, one.created_at), default=None)

    def running(self) -> list[Container]:
        return [one for one in self.containers() if is_running(one)]

    def is_in_hook(self, start: StartContainer) -> bool:
        """Whether of this start only the postStart hook is left: its container has begun, though
        the runtime may have lost it since."""
        known = self.facts.container(start.name)
        if known and (known.attempt, known.sandbox) == (start.attempt, start.sandbox_id):
            return True
        return any(
            one.state is not ContainerState.CREATED
            for one in self.containers()
            if (one.name, one.attempt, one.sandbox_id)
            == (start.name, start.attempt, start.sandbox_id)
        )

    def is_starting(self, action: Action) -> bool:
        """Whether something may come to life by it that is not seen yet."""
        if isinstance(action, StartContainer):
            return not self.is_in_hook(action)
        return isinstance(action, StartSandbox)

    def runs(self, name: str) -> ContainerFacts | None:
        """The facts of a container that runs in the current sandbox."""
        facts = self.facts.container(name)
        sandbox = self.sandbox
        if facts is None or sandbox is None or facts.ended or facts.sandbox != sandbox.id:
            return None
        return facts


def is_running(container: Container) -> bool:
    """A container of unknown state may run, and is stopped before it is replaced."""
    return container.state in (ContainerState.RUNNING, ContainerState.UNKNOWN)
