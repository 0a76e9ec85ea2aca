"""What the pod machine needs from its neighbours: desired set, stores, and what pods are made of.

Owns the Protocols and no behaviour; ``edgeagent/app.py`` passes the real things in, tests their
own. The container runtime and the clock have ports of their own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from edgeagent.pods.model.podevents import Record
from edgeagent.pods.model.view import Refusal
from edgeagent.runtime.limits import Resources
from edgeagent.runtime.port import Container, ContainerConfig, Image, SandboxConfig
from shared.messages import ReportedEvent
from shared.objects import Json, ObjectKey


class WantedPod(Protocol):
    """One pod of the desired set."""

    @property
    def uid(self) -> str: ...
    @property
    def key(self) -> ObjectKey: ...
    @property
    def pod(self) -> Json: ...
    @property
    def grace(self) -> int | None:
        """Seconds it may take to stop when it is being deleted; None = it should run."""
        ...


class Desired(Protocol):
    """The newest valid inventory and the bodies that are here."""

    def pods(self) -> Mapping[str, WantedPod]:
        """By uid: every pod whose body is here."""
        ...

    @property
    def revision(self) -> int:
        """Of the inventory; grows with every list that the hub makes for this node."""
        ...

    def may_stop(self, uid: str, key: ObjectKey) -> bool:
        """Whether it is certain that the pod should not be here."""
        ...


class FactStore(Protocol):
    """One JSON record per pod uid; durable when the call returns."""

    async def load_all(self) -> Mapping[str, Json]: ...
    async def save(self, uid: str, record: Json) -> None: ...
    async def delete(self, uid: str) -> None: ...


class Reports(Protocol):
    """Takes the newest status and the new Events of an object, and sends them within seconds."""

    async def put(
        self,
        key: ObjectKey,
        *,
        uid: str,
        status: Json | None,
        events: Sequence[ReportedEvent],
        finished: bool,
        within: float,
    ) -> None: ...


class Materials(Protocol):
    """Configurations, files and images of pods.

    Raises ``PodTrouble`` (with the waiting reason) for what may pass, ``PermanentError`` for what
    cannot.
    """

    def refusal(self, pod: Json) -> Refusal | None:
        """Why this pod can never run here."""
        ...

    def in_the_way(self, pod: Json, leaving: Collection[str]) -> Collection[str]:
        """Uids of the pods that must have ended before this critical one can be taken up."""
        ...

    def resize_refusal(self, allocated: Json, asked: Json) -> Refusal | None:
        """Why a pod that runs cannot have the resources that it asks for anew."""
        ...

    async def prepare(self, pod: Json, record: Record) -> bool:
        """Make every volume; what is there stays. Whether the contents of all are up to date."""
        ...

    async def refresh(self, pod: Json) -> None:
        """Bring the contents of volumes up to date."""
        ...

    async def remove(self, pod: Json) -> None:
        """Volumes and everything else of the pod on disk but its logs."""
        ...

    async def before_sandbox(self, pod: Json, record: Record) -> None:
        """Make what a runtime would make otherwise: the folder of its logs (for root alone, log
        collectors are others) and its cgroup (without limits). A cgroup that cannot be made, or
        limited, is an Event."""
        ...

    async def link_log(self, pod: Json, name: str, *, attempt: int, container_id: str) -> None:
        """Let log collectors find the log of a container that has started; never raises."""
        ...

    async def forget(self, pod: Json) -> None:
        """The rest of a pod whose sandboxes are gone: its logs, and its cgroup, where CRI-O keeps
        something as long as there is a sandbox."""
        ...

    async def remove_files(self, pod: Json, container: Container) -> None:
        """Log and last words of a container that is being removed."""
        ...

    async def image(self, pod: Json, container: Json, record: Record) -> Image:
        """By the pull policy; tells its own Events."""
        ...

    def sandbox(
        self,
        pod: Json,
        *,
        attempt: int,
        seen: float,
        first_id: int,
        record: Record,
        handler: str = "",
    ) -> SandboxConfig:
        """``handler`` is the runtime handler of a sandbox that is there; a new one has that which
        its RuntimeClass names."""
        ...

    async def container(
        self,
        pod: Json,
        container: Json,
        *,
        attempt: int,
        image: Image,
        ips: tuple[str, ...],
        record: Record,
        handler: str = "",
    ) -> ContainerConfig:
        """``ips`` and ``handler`` are those of its sandbox."""
        ...

    def awaits_services(self, pod: Json) -> bool:
        """Whether variables of Services would be missing only because they are on their way."""
        ...

    def resources(self, pod: Json, container: Json) -> Resources: ...

    async def limit_pod(self, pod: Json, *, only_wider: bool = False) -> str:
        """What its containers may use together; ``only_wider`` before one of them gets more.

        Answers what of it could not be done; empty for nothing.
        """
        ...

    async def termination_message(self, pod: Json, container: Json, *, attempt: int) -> str:
        """What the container left at its termination message path; empty for nothing."""
        ...
