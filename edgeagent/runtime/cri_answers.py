"""CRI messages as the port's dataclasses: pure functions, one per message.

Called by ``runtime/cri.py`` only. Unknown enum numbers of a newer runtime become the port's
``UNKNOWN``; what an older runtime does not fill in stays at the port's default.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from edgeagent.runtime.abilities import Handler, RuntimeInfo
from edgeagent.runtime.cri_messages import cri
from edgeagent.runtime.looking import newest_first
from edgeagent.runtime.port import (
    LABEL_CONTAINER_NAME,
    LABEL_POD_UID,
    Container,
    ContainerState,
    Image,
    Sandbox,
    SandboxState,
)
from edgeagent.runtime.usage import ContainerStats, FilesystemUsage
from edgeagent.runtime.users import ContainerUser

_CONTAINER_STATE = {
    cri.CONTAINER_CREATED: ContainerState.CREATED,
    cri.CONTAINER_RUNNING: ContainerState.RUNNING,
    cri.CONTAINER_EXITED: ContainerState.EXITED,
}


def listed(sandboxes: Iterable[Any], containers: Iterable[Any]) -> list[Sandbox]:
    """Both list answers as one; what carries no pod uid is not a kubelet's and is left out."""
    inside: dict[str, list[Container]] = defaultdict(list)
    for message in containers:
        inside[message.pod_sandbox_id].append(_listed_container(message))
    return [
        _sandbox(message, containers=newest_first(inside[message.id]))
        for message in sandboxes
        if LABEL_POD_UID in message.labels
    ]


def inspected(status: Any, containers: Iterable[Container]) -> Sandbox:
    network = status.network
    ips = (network.ip, *(other.ip for other in network.additional_ips)) if network.ip else ()
    return _sandbox(status, containers=newest_first(containers), ips=ips)


def container(status: Any, sandbox_id: str) -> Container:
    return Container(
        id=status.id,
        sandbox_id=sandbox_id,
        name=status.metadata.name,
        attempt=status.metadata.attempt,
        state=_CONTAINER_STATE.get(status.state, ContainerState.UNKNOWN),
        image=status.image.image,
        image_ref=status.image_ref,
        created_at=status.created_at,
        started_at=_moment(status.started_at),
        finished_at=_moment(status.finished_at),
        exit_code=status.exit_code,
        reason=status.reason,
        message=status.message,
        log_path=status.log_path,
        user=_user(status),
        stop_signal=_stop_signal(status.stop_signal),
        labels=dict(status.labels),
        annotations=dict(status.annotations),
    )


def _moment(nanoseconds: int) -> int:
    """CRI-O sends the year 1754 of what never was."""
    return max(int(nanoseconds), 0)


def _user(status: Any) -> ContainerUser | None:
    """containerd before 2.0 and CRI-O before 1.31 do not say it."""
    if not (status.HasField("user") and status.user.HasField("linux")):
        return None
    found = status.user.linux
    return ContainerUser(found.uid, found.gid, tuple(found.supplemental_groups))


def _stop_signal(number: int) -> str:
    """Runtimes that stop containers by the signal of their image, whatever is asked, say none."""
    name: str = cri.Signal.Name(number) if number in cri.Signal.values() else ""
    return name.replace("PLUS", "+").replace("MINUS", "-") if number else ""


def image(message: Any) -> Image:
    return Image(
        id=message.id,
        tags=tuple(message.repo_tags),
        digests=tuple(message.repo_digests),
        size_bytes=message.size,
        user=str(message.uid.value) if message.HasField("uid") else message.username,
        pinned=message.pinned,
    )


def stats(message: Any) -> ContainerStats:
    labels = message.attributes.labels
    return ContainerStats(
        container_id=message.attributes.id,
        name=labels[LABEL_CONTAINER_NAME],
        pod_uid=labels[LABEL_POD_UID],
        cpu_usage_ns=message.cpu.usage_core_nano_seconds.value,
        memory_working_set_bytes=message.memory.working_set_bytes.value,
        memory_usage_bytes=message.memory.usage_bytes.value,
        rootfs_used_bytes=message.writable_layer.used_bytes.value,
        rootfs_inodes_used=message.writable_layer.inodes_used.value,
    )


def filesystem(message: Any) -> FilesystemUsage:
    return FilesystemUsage(
        mountpoint=message.fs_id.mountpoint,
        used_bytes=message.used_bytes.value,
        inodes_used=message.inodes_used.value,
    )


def runtime_info(version: Any, status: Any, *, driver: str, has_events: bool) -> RuntimeInfo:
    listed_handlers = tuple(
        sorted(map(_handler, status.runtime_handlers), key=lambda one: one.name)
    )
    return RuntimeInfo(
        name=version.runtime_name,
        version=version.runtime_version,
        has_events=has_events,
        handlers=listed_handlers or _configured_handlers(status),
        lists_handlers=bool(listed_handlers),
        cgroup_driver=driver or _configured_driver(version.runtime_name, status),
        strict_groups=_strict_groups(status),
        sandbox_image=_sandbox_image(status),
    )


def _handler(message: Any) -> Handler:
    return Handler(
        message.name,
        recursive_readonly=message.features.recursive_read_only_mounts,
        user_namespaces=message.features.user_namespaces,
    )


def _strict_groups(status: Any) -> bool | None:
    known = status.HasField("features")
    return bool(status.features.supplemental_groups_policy) if known else None


def network_ready(status: Any) -> tuple[bool, str]:
    for condition in status.status.conditions:
        if condition.type == "NetworkReady":
            return condition.status, condition.message or condition.reason
    return False, "the runtime does not say whether its network is ready"


def driver_name(message: Any) -> str:
    systemd = message.linux.cgroup_driver == cri.SYSTEMD
    return "systemd" if systemd else "cgroupfs"


def _listed_container(message: Any) -> Container:
    return Container(
        id=message.id,
        sandbox_id=message.pod_sandbox_id,
        name=message.metadata.name,
        attempt=message.metadata.attempt,
        state=_CONTAINER_STATE.get(message.state, ContainerState.UNKNOWN),
        image=message.image.image,
        image_ref=message.image_ref,
        created_at=message.created_at,
        labels=dict(message.labels),
        annotations=dict(message.annotations),
    )


def _sandbox(
    message: Any, *, containers: tuple[Container, ...], ips: tuple[str, ...] = ()
) -> Sandbox:
    """From a PodSandbox or a PodSandboxStatus: the fields read here have the same names."""
    ready = message.state == cri.SANDBOX_READY
    return Sandbox(
        id=message.id,
        name=message.metadata.name,
        namespace=message.metadata.namespace,
        uid=message.metadata.uid,
        attempt=message.metadata.attempt,
        state=SandboxState.READY if ready else SandboxState.NOT_READY,
        created_at=message.created_at,
        ips=ips,
        containers=containers,
        labels=dict(message.labels),
        annotations=dict(message.annotations),
        runtime_handler=message.runtime_handler,
    )


def _configuration(status: Any) -> dict[str, Any]:
    """containerd before 2.0 shows its handlers and cgroup driver in the verbose status only."""
    try:
        found = json.loads(status.info["config"])
    except (KeyError, TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _configured(status: Any) -> dict[str, Any]:
    try:
        runtimes = _configuration(status)["containerd"]["runtimes"]
    except (KeyError, TypeError):
        return {}
    return runtimes if isinstance(runtimes, dict) else {}


def _sandbox_image(status: Any) -> str:
    named = _configuration(status).get("sandboxImage")
    return named if isinstance(named, str) else ""


def _configured_handlers(status: Any) -> tuple[Handler, ...]:
    return (Handler(), *map(Handler, sorted(_configured(status))))


def _configured_driver(name: str, status: Any) -> str:
    """CRI-O before 1.28 says nothing; unless it was told otherwise it uses systemd."""
    if name == "cri-o":
        return "systemd"
    options = [one.get("options") or {} for one in _configured(status).values()]
    return "systemd" if any(one.get("SystemdCgroup") for one in options) else "cgroupfs"
