"""Everything the planner can ask for, as values; ``acting/act.py`` carries them out.

``slot`` says what an action is about: of two actions with one slot at most one is ever under way.
Equal actions are the same action, so a plan may repeat what is already being done.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeagent.pods.model.causes import Cause


@dataclass(frozen=True, slots=True)
class PrepareVolumes:
    """Make every volume of the pod; what is there already stays."""

    @property
    def slot(self) -> str:
        return "volumes"


@dataclass(frozen=True, slots=True)
class RefreshVolumes:
    """Bring the contents of configMap, secret, projected and downwardAPI volumes up to date."""

    @property
    def slot(self) -> str:
        return "volumes"


@dataclass(frozen=True, slots=True)
class StartSandbox:
    attempt: int

    @property
    def slot(self) -> str:
        return "sandbox"


@dataclass(frozen=True, slots=True)
class EnsureImage:
    """The image of a container, by its pull policy."""

    name: str
    image: str
    """As the spec names it."""

    @property
    def slot(self) -> str:
        return f"image/{self.name}"


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Create, start, and run its postStart hook."""

    name: str
    attempt: int
    sandbox_id: str

    @property
    def slot(self) -> str:
        return f"start/{self.name}"


@dataclass(frozen=True, slots=True)
class RunPreStop:
    """The preStop hook of a sidecar whose pod stops, while its turn to be stopped has not come."""

    name: str
    container_id: str
    deadline: float
    """Monotonic: the hook gets no more time than the pod."""

    @property
    def slot(self) -> str:
        return f"prestop/{self.container_id}"


@dataclass(frozen=True, slots=True)
class StopContainer:
    """preStop hook, stop signal, and SIGKILL when the grace is over."""

    name: str
    container_id: str
    deadline: float
    """Monotonic moment of the SIGKILL, so that a repeated plan asks for the same."""
    cause: Cause
    hook: bool = True
    """False when the hook had its turn already."""

    @property
    def slot(self) -> str:
        return f"stop/{self.container_id}"


@dataclass(frozen=True, slots=True)
class ResizeContainer:
    """New cpu and memory limits for a running container."""

    name: str
    container_id: str

    @property
    def slot(self) -> str:
        return f"resize/{self.container_id}"


@dataclass(frozen=True, slots=True)
class ResizePod:
    """New limits and shares for what all containers of a running pod have together."""

    @property
    def slot(self) -> str:
        return "resize/pod"


@dataclass(frozen=True, slots=True)
class RemoveContainer:
    container_id: str

    @property
    def slot(self) -> str:
        return f"remove/{self.container_id}"


@dataclass(frozen=True, slots=True)
class StopSandbox:
    """Kill what is left in it and give its network and host ports back."""

    sandbox_id: str

    @property
    def slot(self) -> str:
        return f"sandbox/{self.sandbox_id}"


@dataclass(frozen=True, slots=True)
class RemoveSandbox:
    sandbox_id: str

    @property
    def slot(self) -> str:
        return f"sandbox/{self.sandbox_id}"


@dataclass(frozen=True, slots=True)
class RemoveVolumes:
    @property
    def slot(self) -> str:
        return "volumes"


@dataclass(frozen=True, slots=True)
class Forget:
    """Nothing of the pod is left and nobody wants it: drop its facts, logs and report."""

    @property
    def slot(self) -> str:
        return "forget"


Action = (
    PrepareVolumes
    | RefreshVolumes
    | StartSandbox
    | EnsureImage
    | StartContainer
    | RunPreStop
    | StopContainer
    | ResizeContainer
    | ResizePod
    | RemoveContainer
    | StopSandbox
    | RemoveSandbox
    | RemoveVolumes
    | Forget
)
