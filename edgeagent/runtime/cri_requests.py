"""The port's dataclasses as CRI messages: pure functions, one per dataclass.

Called by ``runtime/cri.py`` only. Fields that are left out keep the runtime's default, with one
exception that a kubelet makes too: containerd masks nothing of /proc and /sys unless told to, so
those of ``masking.py`` are always sent for containers that did not ask for other ones.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from typing import Any

from edgeagent.runtime.cri_messages import cri
from edgeagent.runtime.limits import Resources
from edgeagent.runtime.port import (
    ContainerConfig,
    Device,
    DnsConfig,
    IdRange,
    ImageAuth,
    Mount,
    PortMapping,
    SandboxConfig,
    SandboxSecurity,
    SeccompProfile,
)

_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

_PROPAGATION = {
    "None": cri.PROPAGATION_PRIVATE,
    "HostToContainer": cri.PROPAGATION_HOST_TO_CONTAINER,
    "Bidirectional": cri.PROPAGATION_BIDIRECTIONAL,
}
_SECCOMP = {
    "RuntimeDefault": cri.SecurityProfile.RuntimeDefault,
    "Unconfined": cri.SecurityProfile.Unconfined,
    "Localhost": cri.SecurityProfile.Localhost,
}


def sandbox_config(config: SandboxConfig) -> Any:
    message = cri.PodSandboxConfig(
        metadata=cri.PodSandboxMetadata(
            name=config.name, namespace=config.namespace, uid=config.uid, attempt=config.attempt
        ),
        hostname="" if config.security.host_network else config.hostname,
        log_directory=config.log_directory,
        labels=dict(config.labels),
        annotations=dict(config.annotations),
        port_mappings=[_port(port) for port in config.ports],
        linux=cri.LinuxPodSandboxConfig(
            cgroup_parent=config.cgroup_parent,
            sysctls=dict(config.sysctls),
            security_context=_sandbox_security(config.security),
            resources=resources(config.resources),
            overhead=resources(config.overhead),
        ),
    )
    if config.dns is not None:
        message.dns_config.CopyFrom(_dns(config.dns))
    return message


def container_config(
    config: ContainerConfig, sandbox: SandboxSecurity, *, masked: Collection[str]
) -> Any:
    """``masked`` are the paths that are hidden from a container that did not ask otherwise."""
    return cri.ContainerConfig(
        metadata=cri.ContainerMetadata(name=config.name, attempt=config.attempt),
        image=cri.ImageSpec(image=config.image, user_specified_image=config.user_image),
        command=config.command,
        args=config.args,
        working_dir=config.working_dir,
        envs=[cri.KeyValue(key=key, value=value) for key, value in config.env],
        mounts=[_mount(mount, sandbox.ids) for mount in config.mounts],
        devices=[_device(device) for device in config.devices],
        labels=dict(config.labels),
        annotations=dict(config.annotations),
        log_path=config.log_path,
        stdin=config.stdin,
        stdin_once=config.stdin_once,
        tty=config.tty,
        stop_signal=_stop_signal(config.stop_signal),
        linux=cri.LinuxContainerConfig(
            resources=resources(config.resources),
            security_context=_container_security(config, sandbox, masked),
        ),
    )


def resources(limits: Resources) -> Any:
    return cri.LinuxContainerResources(
        cpu_period=limits.cpu_period,
        cpu_quota=limits.cpu_quota,
        cpu_shares=limits.cpu_shares,
        memory_limit_in_bytes=limits.memory_limit_bytes,
        memory_swap_limit_in_bytes=limits.memory_swap_limit_bytes,
        oom_score_adj=limits.oom_score_adj,
        unified=dict(limits.unified),
        hugepage_limits=[
            cri.HugepageLimit(page_size=size, limit=amount)
            for size, amount in limits.hugepages.items()
        ],
    )


def auth_config(auth: ImageAuth | None) -> Any:
    if auth is None:
        return None
    return cri.AuthConfig(
        username=auth.username,
        password=auth.password,
        identity_token=auth.identity_token,
        registry_token=auth.registry_token,
    )


def whole_seconds(seconds: float) -> int:
    """CRI counts whole seconds; rounding up never shortens what was promised."""
    return max(0, math.ceil(seconds))


def _port(port: PortMapping) -> Any:
    return cri.PortMapping(
        protocol=cri.Protocol.Value(port.protocol),
        container_port=port.container_port,
        host_port=port.host_port,
        host_ip=port.host_ip,
    )


def _dns(dns: DnsConfig) -> Any:
    return cri.DNSConfig(servers=dns.servers, searches=dns.searches, options=dns.options)


def _mount(mount: Mount, ids: IdRange | None) -> Any:
    """Files have the owners on the device that the pod sees, so that volumes can be shared."""
    return cri.Mount(
        uidMappings=_mappings(ids),
        gidMappings=_mappings(ids),
        host_path=mount.host_path,
        container_path=mount.container_path,
        readonly=mount.readonly,
        recursive_read_only=mount.recursive_readonly,
        selinux_relabel=mount.selinux_relabel,
        propagation=_PROPAGATION[mount.propagation],
        image=_mounted_image(mount),
        image_sub_path=mount.image_sub_path,
    )


def _mounted_image(mount: Mount) -> Any:
    if not mount.image:
        return None
    return cri.ImageSpec(image=mount.image, user_specified_image=mount.user_image)


def _device(device: Device) -> Any:
    return cri.Device(
        host_path=device.host_path,
        container_path=device.container_path,
        permissions=device.permissions,
    )


def _sandbox_security(security: SandboxSecurity) -> Any:
    return cri.LinuxSandboxSecurityContext(
        namespace_options=_namespaces(security),
        privileged=security.privileged,
        run_as_user=_int64(security.run_as_user),
        run_as_group=_int64(security.run_as_group),
        supplemental_groups=security.supplemental_groups,
        seccomp=_seccomp(security.seccomp),
        selinux_options=_selinux(security.selinux),
    )


def _container_security(
    config: ContainerConfig, sandbox: SandboxSecurity, masked: Collection[str]
) -> Any:
    security = config.security
    masks = masked if security.masked_paths is None else security.masked_paths
    confined = masks and not security.privileged
    return cri.LinuxContainerSecurityContext(
        namespace_options=_namespaces(sandbox, processes_of=config.processes_of),
        privileged=security.privileged,
        run_as_user=_int64(security.run_as_user),
        run_as_username=security.run_as_username,
        run_as_group=_int64(security.run_as_group),
        supplemental_groups=security.supplemental_groups,
        supplemental_groups_policy=cri.SupplementalGroupsPolicy.Value(
            security.supplemental_groups_policy
        ),
        readonly_rootfs=security.readonly_rootfs,
        no_new_privs=security.no_new_privs,
        capabilities=cri.Capability(
            # As they are written: a policy that forbids SYS_ADMIN does not look for CAP_SYS_ADMIN,
            # which containerd takes for no capability at all.
            add_capabilities=security.add_capabilities,
            drop_capabilities=_without_prefix(security.drop_capabilities),
        ),
        seccomp=_seccomp(security.seccomp),
        apparmor=_apparmor(security.apparmor),
        apparmor_profile=security.apparmor,  # All that CRI-O before 1.30 reads.
        selinux_options=_selinux(security.selinux),
        masked_paths=masks if confined else (),
        readonly_paths=_READ_ONLY if confined else (),
    )


def _namespaces(security: SandboxSecurity, *, processes_of: str = "") -> Any:
    return cri.NamespaceOption(
        network=cri.NODE if security.host_network else cri.POD,
        pid=_processes(security, processes_of),
        ipc=cri.NODE if security.host_ipc else cri.POD,
        target_id=processes_of,
        userns_options=_users(security.ids),
    )


def _users(ids: IdRange | None) -> Any:
    if ids is None:
        return None
    return cri.UserNamespace(mode=cri.POD, uids=_mappings(ids), gids=_mappings(ids))


def _mappings(ids: IdRange | None) -> list[Any]:
    """Groups like users, as on a kubelet."""
    if ids is None:
        return []
    return [cri.IDMapping(host_id=ids.first, container_id=0, length=ids.length)]


def _processes(security: SandboxSecurity, of: str) -> Any:
    if of:
        return cri.TARGET
    if security.host_pid:
        return cri.NODE
    return cri.POD if security.share_process_namespace else cri.CONTAINER


def _seccomp(profile: SeccompProfile) -> Any:
    return cri.SecurityProfile(profile_type=_SECCOMP[profile.kind], localhost_ref=profile.path)


def _apparmor(profile: str) -> Any:
    if not profile:
        return None
    if profile == "unconfined":
        return cri.SecurityProfile(profile_type=cri.SecurityProfile.Unconfined)
    return cri.SecurityProfile(
        profile_type=cri.SecurityProfile.Localhost,
        localhost_ref=profile.removeprefix("localhost/"),
    )


def _selinux(options: Any) -> Any:
    return cri.SELinuxOption(**options) if options else None


def _without_prefix(names: Iterable[str]) -> list[str]:
    return [name.removeprefix("CAP_") for name in names]


def _int64(value: int | None) -> Any:
    return None if value is None else cri.Int64Value(value=value)


def _stop_signal(name: str) -> Any:
    """By number: the names differ (RTMIN+1 is SIGRTMINPLUS1), the enum knows them all."""
    return cri.Signal.Value(name.replace("+", "PLUS").replace("-", "MINUS")) if name else 0
