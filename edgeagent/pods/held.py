"""A pod of this device as housekeeping and shutdown see it: a value, and the ports to ask for it.

Owns the words between ``edgeagent.housekeeping``, ``edgeagent.shutdown`` and the pod machine, which
is ``workers.Pods``. They never stop a pod themselves: they say ``evict`` or ``shut_down``, and the
planner does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from edgeagent.pods.model.view import Eviction, Shutdown
from edgeagent.runtime.port import Container, ContainerState, Sandbox
from shared.objects import Json


@dataclass(frozen=True, slots=True)
class HeldPod:
    uid: str
    pod: Json
    sandboxes: tuple[Sandbox, ...] = ()
    active: bool = True
    """Taken up, and not ended."""
    leaving: bool = False
    """Being stopped, for whatever cause."""
    ended: bool = False
    """Its last status is stored: what is left of its containers is of no more use to it."""
    rests: bool = False
    """Nothing of it runs, nothing is started, and that is stored and reported."""

    def containers(self, state: ContainerState) -> list[Container]:
        every = (one for sandbox in self.sandboxes for one in sandbox.containers)
        return [one for one in every if one.state is state]


class PodsOfDevice(Protocol):
    @property
    def adopted(self) -> bool:
        """Whether everything that is remembered of pods has been read."""
        ...

    def held(self) -> Sequence[HeldPod]:
        """Every pod that is worked on."""
        ...

    def known(self) -> Iterable[str]:
        """Uids of every pod that is desired, worked on or remembered."""
        ...

    def evict(self, uid: str, eviction: Eviction) -> None:
        """Stop this pod for good; one that is not active any more is left alone."""
        ...


ShutdownOf = Callable[[Json], Shutdown]
"""What a pod has to do while the device shuts down."""


class PodsToStop(Protocol):
    def held(self) -> Sequence[HeldPod]:
        """Every pod that is worked on."""
        ...

    @property
    def looked_through(self) -> bool:
        """Whether every pod that is remembered is worked on."""
        ...

    @property
    def fenced(self) -> bool:
        """Whether nothing is done with pods any more: they are another agent's."""
        ...

    def shut_down(self, shutdown: ShutdownOf | None) -> None:
        """Each pod does what is said for it; with None all run again."""
        ...
