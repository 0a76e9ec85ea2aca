"""The container runtime as the agent sees it: one Protocol, three implementations.

Owns the vocabulary (sandbox, container, image) and nothing else. It is the CRI's: containerd and
CRI-O are the real runtimes (``runtime/cri.py``); ``runtime/process.py`` runs host processes,
``runtime/memory.py`` serves tests and the simulator. All keep, and one contract tests:

* Stop and remove are idempotent: what is not there is a success, never an error.
* Creating is not: the caller looks first (``list_sandboxes``), so that a crashed agent adopts.
* Everything listed was made by a kubelet-like agent: it carries the ``io.kubernetes.*`` labels.
* Errors are ``TemporaryError`` (try again; ``RuntimeAway`` when the runtime itself did not answer,
  so that nothing was learned about the pod) or ``PermanentError`` (this configuration can never
  work); images have the ``ImagePullError`` family below.

Callers: ``edgeagent.pods`` and ``edgeagent.housekeeping``; ``node/reporter.py`` asks which it is.
Times are wall-clock nanoseconds since 1970, 0 = never.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from edgeagent.runtime.abilities import RuntimeInfo
from edgeagent.runtime.limits import UNLIMITED, Resources
from edgeagent.runtime.usage import ContainerStats, FilesystemUsage
from edgeagent.runtime.users import ContainerUser
from shared.errors import PermanentError, TemporaryError

LABEL_POD_NAME = "io.kubernetes.pod.name"
LABEL_POD_NAMESPACE = "io.kubernetes.pod.namespace"
LABEL_POD_UID = "io.kubernetes.pod.uid"
LABEL_CONTAINER_NAME = "io.kubernetes.container.name"


class RuntimeAway(TemporaryError):
    """The runtime does not answer: no verdict on any pod follows from it."""


class ImagePullError(TemporaryError):
    """The image could not be pulled now (registry away, no auth, not found): back off, retry."""


class RegistryUnreachable(ImagePullError):
    """The registry could not be reached at all: a present image may serve instead."""


class InvalidImageName(PermanentError):
    """The reference can never name an image."""


class UnclearImageName(PermanentError):
    """A name without a registry, for which the runtime's settings have none, or several."""


class SandboxState(enum.Enum):
    READY = "ready"
    NOT_READY = "not-ready"


class ContainerState(enum.Enum):
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PortMapping:
    container_port: int
    host_port: int
    protocol: str = "TCP"
    host_ip: str = ""


@dataclass(frozen=True, slots=True)
class DnsConfig:
    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SeccompProfile:
    """``kind`` is RuntimeDefault, Unconfined or Localhost (then ``path`` is absolute)."""

    kind: str = "Unconfined"
    path: str = ""


@dataclass(frozen=True, slots=True)
class IdRange:
    """Users and groups of the device that stand for those from 0 on inside a pod."""

    first: int
    length: int

    @property
    def end(self) -> int:
        return self.first + self.length


@dataclass(frozen=True, slots=True)
class SandboxSecurity:
    host_network: bool = False
    host_pid: bool = False
    host_ipc: bool = False
    share_process_namespace: bool = False
    privileged: bool = False
    run_as_user: int | None = None
    run_as_group: int | None = None
    supplemental_groups: tuple[int, ...] = ()
    seccomp: SeccompProfile = SeccompProfile("RuntimeDefault")
    selinux: Mapping[str, str] = field(default_factory=dict)
    ids: IdRange | None = None
    """Of the pod's own user namespace; None = the device's users are the pod's."""


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """A pod's shared world: names, network, cgroup parent, log folder."""

    name: str
    namespace: str
    uid: str
    attempt: int
    hostname: str
    """Of no effect on the host network: there it is the host's."""
    log_directory: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    dns: DnsConfig | None = None
    ports: tuple[PortMapping, ...] = ()
    cgroup_parent: str = ""
    sysctls: Mapping[str, str] = field(default_factory=dict)
    security: SandboxSecurity = SandboxSecurity()
    runtime_handler: str = ""
    resources: Resources = UNLIMITED
    """Of all containers together, and ``overhead`` beside them: the size of a virtual machine."""
    overhead: Resources = UNLIMITED


@dataclass(frozen=True, slots=True)
class Mount:
    host_path: str
    container_path: str
    readonly: bool = False
    propagation: str = "None"
    """None, HostToContainer or Bidirectional."""
    selinux_relabel: bool = False
    recursive_readonly: bool = False
    image: str = ""
    """Set for an image volume: the mounted image; ``host_path`` is then empty."""
    image_sub_path: str = ""
    user_image: str = ""
    """What the pod's author wrote for it; CRI-O goes by it where images must be signed."""


@dataclass(frozen=True, slots=True)
class Device:
    host_path: str
    container_path: str
    permissions: str = "mrw"


@dataclass(frozen=True, slots=True)
class ContainerSecurity:
    privileged: bool = False
    run_as_user: int | None = None
    run_as_username: str = ""
    run_as_group: int | None = None
    supplemental_groups: tuple[int, ...] = ()
    supplemental_groups_policy: str = "Merge"
    readonly_rootfs: bool = False
    no_new_privs: bool = False
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    seccomp: SeccompProfile = SeccompProfile("Unconfined")
    apparmor: str = ""
    """Empty = the runtime's default, ``unconfined``, or ``localhost/NAME``."""
    selinux: Mapping[str, str] = field(default_factory=dict)
    masked_paths: tuple[str, ...] | None = None
    """None = the usual masked and read-only paths; ``()`` = procMount Unmasked."""


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """One container, all variables already expanded and all files already in place."""

    name: str
    attempt: int
    image: str
    """What the runtime should run: the id or digest that ``image_status`` gave."""
    user_image: str
    """What the pod's author wrote; kept for tools such as crictl."""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[tuple[str, str], ...] = ()
    mounts: tuple[Mount, ...] = ()
    devices: tuple[Device, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    log_path: str = ""
    """Relative to the sandbox's ``log_directory``; lines in the CRI log format."""
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    resources: Resources = UNLIMITED
    security: ContainerSecurity = ContainerSecurity()
    stop_signal: str = ""
    processes_of: str = ""  # Id of the container whose process namespace it joins.


@dataclass(frozen=True, slots=True)
class Container:
    """An observed container. ``list_sandboxes`` may leave what needs a look-up at its default."""

    id: str
    sandbox_id: str
    name: str
    attempt: int
    state: ContainerState
    image: str
    image_ref: str
    """Digest reference (``name@sha256:…``) or image id: becomes ``imageID``."""
    created_at: int
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    reason: str = ""
    """OOMKilled, Completed, Error … as the runtime says it; empty when not looked up."""
    message: str = ""
    log_path: str = ""
    """Absolute."""
    user: ContainerUser | None = None
    """None where the runtime does not say it, and when not looked up."""
    stop_signal: str = ""
    """By which it will be stopped; empty like that."""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sandbox:
    """An observed sandbox with its containers, newest container first."""

    id: str
    name: str
    namespace: str
    uid: str
    attempt: int
    state: SandboxState
    created_at: int
    ips: tuple[str, ...] = ()
    """Primary first; empty for the host network and until looked up."""
    containers: tuple[Container, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    runtime_handler: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """A pod that may have changed, and what the list showed of it: not more than a hint."""

    uid: str
    sandboxes: tuple[Sandbox, ...]


@dataclass(frozen=True, slots=True)
class Image:
    id: str
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    size_bytes: int = 0
    user: str = ""
    """What the image's config says: empty, a number, or a name."""
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class ImageAuth:
    """A login that the caller has already matched to the image's registry."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ExecResult:
    exit_code: int
    stdout: bytes
    stderr: bytes

    def said(self, most: int) -> str:
        """The beginning of both, cut before it is put together: they may be megabytes."""
        return (self.stdout[:most] + self.stderr[:most])[:most].decode(errors="replace")


class Runtime(Protocol):
    """What a container runtime must do. All calls may be made concurrently."""

    async def info(self) -> RuntimeInfo:
        """Also the health check: raises RuntimeAway while the runtime does not answer."""
        ...

    async def network_ready(self) -> tuple[bool, str]:
        """Whether pods can get a network, and the runtime's reason when not."""
        ...

    async def list_sandboxes(self) -> list[Sandbox]:
        """Every sandbox with its containers; cheap (two list calls), for change detection. Exit
        codes, reasons and IPs may be missing here: ``inspect_*`` has them."""
        ...

    async def inspect_sandbox(self, sandbox_id: str, *, new: bool = False) -> Sandbox | None:
        """The sandbox with its IPs and its containers fully looked up; None = not there. A ``new``
        one has no containers yet: none are asked for."""
        ...

    async def inspect_container(self, container_id: str, sandbox_id: str) -> Container | None:
        """The same of one container in that sandbox."""
        ...

    async def start_sandbox(self, config: SandboxConfig) -> str:
        """Create and start the sandbox; returns its id."""
        ...

    async def stop_sandbox(self, sandbox_id: str) -> None:
        """Kill what still runs in it and give its network back."""
        ...

    async def remove_sandbox(self, sandbox_id: str) -> None: ...

    async def create_container(
        self, sandbox_id: str, sandbox: SandboxConfig, config: ContainerConfig
    ) -> str: ...

    async def start_container(self, container_id: str) -> None: ...

    async def stop_container(self, container_id: str, grace_seconds: float) -> None:
        """Stop signal, then SIGKILL after the grace; returns when it is dead."""
        ...

    async def remove_container(self, container_id: str) -> None: ...

    async def update_resources(self, container_id: str, resources: Resources) -> None: ...

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout: float
    ) -> ExecResult:
        """Raises ``TimeoutError`` when the command outlives ``timeout`` seconds (and kills it)."""
        ...

    async def reopen_log(self, container_id: str) -> None:
        """After the log file was moved away (rotation)."""
        ...

    async def pull_image(self, image: str, auth: ImageAuth | None = None) -> str:
        """Returns the image reference to run. Raises the ``ImagePullError`` family."""
        ...

    async def image_status(self, image: str) -> Image | None: ...

    async def list_images(self) -> list[Image]: ...

    async def remove_image(self, image: str) -> None: ...

    async def image_filesystem(self) -> FilesystemUsage | None: ...

    async def stats(self) -> list[ContainerStats]: ...

    def events(self) -> AsyncIterator[Change]:
        """Pods whose containers may have changed; ends with TemporaryError when it breaks.

        Begins with every pod that is there. A runtime without events polls its own cheap list.
        """
        ...

    async def close(self) -> None: ...
