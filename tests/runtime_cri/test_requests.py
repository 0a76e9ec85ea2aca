"""The port's dataclasses as CRI messages."""

from __future__ import annotations

from typing import Any

import pytest

from edgeagent.runtime import cri_requests
from edgeagent.runtime.cri_messages import cri
from edgeagent.runtime.limits import Resources
from edgeagent.runtime.port import (
    ContainerConfig,
    ContainerSecurity,
    DnsConfig,
    IdRange,
    ImageAuth,
    Mount,
    PortMapping,
    SandboxConfig,
    SandboxSecurity,
    SeccompProfile,
)

LABELS = {"io.kubernetes.pod.uid": "u-1"}


def sandbox(**fields: object) -> SandboxConfig:
    given = {"name": "p", "namespace": "ns", "uid": "u-1", "attempt": 2, "hostname": "host"}
    return SandboxConfig(**{**given, "log_directory": "/logs", **fields})  # type: ignore[arg-type]


def container(**fields: object) -> ContainerConfig:
    given = {"name": "c", "attempt": 1, "image": "sha256:1", "user_image": "app:1"}
    return ContainerConfig(**{**given, **fields})  # type: ignore[arg-type]


def security_of(**fields: object) -> Any:
    made = container(security=ContainerSecurity(**fields))  # type: ignore[arg-type]
    return message_of(made, SandboxSecurity()).linux.security_context


def message_of(config: ContainerConfig, security: SandboxSecurity) -> Any:
    return cri_requests.container_config(config, security, masked=("/proc/kcore", "/sys/own"))


def test_a_sandbox_keeps_its_names_and_labels() -> None:
    message = cri_requests.sandbox_config(sandbox(labels=LABELS, annotations={"a": "b"}))
    names = message.metadata
    assert (names.name, names.namespace, names.uid, names.attempt) == ("p", "ns", "u-1", 2)
    assert (message.hostname, message.log_directory) == ("host", "/logs")
    assert (dict(message.labels), dict(message.annotations)) == (LABELS, {"a": "b"})
    assert not message.HasField("dns_config")


def test_a_sandbox_has_the_size_of_its_machine_and_its_overhead() -> None:
    size, beside = Resources(1, 2, 3, 4), Resources(5, 6, 7, 8)
    message = cri_requests.sandbox_config(sandbox(resources=size, overhead=beside))
    assert message.linux.resources == cri_requests.resources(size)
    assert message.linux.overhead == cri_requests.resources(beside)
    assert message.linux.resources.memory_limit_in_bytes == 4


def test_the_host_network_has_no_host_name_of_its_own() -> None:
    message = cri_requests.sandbox_config(sandbox(security=SandboxSecurity(host_network=True)))
    assert message.hostname == ""
    assert message.linux.security_context.namespace_options.network == cri.NODE


def test_ports_and_dns() -> None:
    ports = (
        PortMapping(53, 5353, "UDP", "127.0.0.1"),
        PortMapping(80, 8080),
        PortMapping(9, 9, "SCTP"),
    )
    dns = DnsConfig(("192.0.2.1",), ("a.test",), ("ndots:5",))
    message = cri_requests.sandbox_config(sandbox(ports=ports, dns=dns))
    udp, tcp, sctp = message.port_mappings
    assert (udp.protocol, udp.container_port, udp.host_port) == (cri.UDP, 53, 5353)
    assert (udp.host_ip, tcp.protocol) == ("127.0.0.1", cri.TCP)
    assert sctp.protocol == cri.SCTP
    assert list(message.dns_config.servers) == ["192.0.2.1"]


def test_a_container_can_join_the_processes_of_another() -> None:
    message = message_of(container(processes_of="c-1"), SandboxSecurity())
    options = message.linux.security_context.namespace_options
    assert (options.pid, options.target_id) == (cri.TARGET, "c-1")


@pytest.mark.parametrize(
    ("security", "pid", "ipc"),
    [
        (SandboxSecurity(), cri.CONTAINER, cri.POD),
        (SandboxSecurity(share_process_namespace=True), cri.POD, cri.POD),
        (SandboxSecurity(host_pid=True, share_process_namespace=True), cri.NODE, cri.POD),
        (SandboxSecurity(host_ipc=True), cri.CONTAINER, cri.NODE),
    ],
)
def test_containers_get_the_namespaces_of_their_sandbox(
    security: SandboxSecurity, pid: int, ipc: int
) -> None:
    options = message_of(container(), security).linux.security_context.namespace_options
    assert (options.pid, options.ipc, options.network) == (pid, ipc, cri.POD)
    assert not options.HasField("userns_options")


def test_a_pod_with_users_of_its_own_has_them_in_sandbox_containers_and_mounts() -> None:
    own = SandboxSecurity(ids=IdRange(131072, 65536))
    made = container(mounts=(Mount("/host", "/in"), Mount("", "/image", image="sha256:2")))
    message = message_of(made, own)
    around = cri_requests.sandbox_config(sandbox(security=own))
    mapping = [cri.IDMapping(host_id=131072, container_id=0, length=65536)]
    users = cri.UserNamespace(mode=cri.POD, uids=mapping, gids=mapping)
    for context in (message.linux.security_context, around.linux.security_context):
        assert context.namespace_options.userns_options == users
    for mount in message.mounts:
        assert list(mount.uidMappings) == list(mount.gidMappings) == mapping


def test_without_them_nothing_is_said_about_users() -> None:
    message = message_of(container(mounts=(Mount("/host", "/in"),)), SandboxSecurity())
    assert not message.linux.security_context.namespace_options.HasField("userns_options")
    assert not message.mounts[0].uidMappings and not message.mounts[0].gidMappings


def test_a_container_says_what_to_run_and_what_was_written() -> None:
    message = message_of(
        container(command=("a",), args=("b", "c"), env=(("K", "v"), ("K", "w"))), SandboxSecurity()
    )
    assert (message.image.image, message.image.user_specified_image) == ("sha256:1", "app:1")
    assert (list(message.command), list(message.args)) == (["a"], ["b", "c"])
    assert [(one.key, one.value) for one in message.envs] == [("K", "v"), ("K", "w")]


def test_mounts_and_image_volumes() -> None:
    mounts = (
        Mount("/host", "/in", readonly=True, propagation="Bidirectional"),
        Mount("", "/image", image="sha256:1", image_sub_path="sub", user_image="data:1"),
    )
    host, image = message_of(container(mounts=mounts), SandboxSecurity()).mounts
    assert (host.host_path, host.container_path, host.readonly) == ("/host", "/in", True)
    assert host.propagation == cri.PROPAGATION_BIDIRECTIONAL
    assert not host.HasField("image")
    assert (image.image.image, image.image_sub_path) == ("sha256:1", "sub")
    assert image.image.user_specified_image == "data:1", "CRI-O wants it with a signature policy"


def test_the_usual_masks_unless_asked_otherwise() -> None:
    usual = security_of()
    assert "/proc/kcore" in usual.masked_paths and "/proc/sys" in usual.readonly_paths
    assert list(usual.masked_paths)[-1] == "/sys/own"
    own = security_of(masked_paths=("/proc/own",))
    assert list(own.masked_paths) == ["/proc/own"] and own.readonly_paths
    for free in (security_of(masked_paths=()), security_of(privileged=True)):
        assert not free.masked_paths and not free.readonly_paths


def test_no_user_is_not_user_zero() -> None:
    assert not security_of().HasField("run_as_user")
    assert security_of(run_as_user=0).HasField("run_as_user")


def test_a_prefix_adds_no_capability_and_does_not_keep_one_from_being_dropped() -> None:
    """What a policy would refuse by its name is not to be had under another one."""
    capabilities = security_of(
        add_capabilities=("CAP_SYS_ADMIN", "NET_ADMIN"), drop_capabilities=("ALL", "CAP_NET_RAW")
    ).capabilities
    assert list(capabilities.add_capabilities) == ["CAP_SYS_ADMIN", "NET_ADMIN"]
    assert list(capabilities.drop_capabilities) == ["ALL", "NET_RAW"]


@pytest.mark.parametrize(
    ("profile", "kind", "name"),
    [
        ("unconfined", cri.SecurityProfile.Unconfined, ""),
        ("localhost/mine", cri.SecurityProfile.Localhost, "mine"),
    ],
)
def test_apparmor_profiles(profile: str, kind: int, name: str) -> None:
    security = security_of(apparmor=profile)
    apparmor = security.apparmor
    assert (apparmor.profile_type, apparmor.localhost_ref) == (kind, name)
    assert security.apparmor_profile == profile, "all that CRI-O before 1.30 reads"
    assert not security_of().HasField("apparmor") and not security_of().apparmor_profile


def test_seccomp_profiles() -> None:
    local = security_of(seccomp=SeccompProfile("Localhost", "/p.json")).seccomp
    assert (local.profile_type, local.localhost_ref) == (cri.SecurityProfile.Localhost, "/p.json")


def test_limits_and_stop_signals() -> None:
    limits = Resources(1, 2, 3, 4, 5, 6, {"memory.high": "6"}, {"2MB": 4194304, "1GB": 0})
    message = cri_requests.resources(limits)
    assert (message.cpu_period, message.cpu_quota, message.cpu_shares) == (1, 2, 3)
    assert (message.memory_limit_in_bytes, message.memory_swap_limit_in_bytes) == (4, 5)
    assert message.oom_score_adj == 6
    assert dict(message.unified) == {"memory.high": "6"}
    huge = [(one.page_size, one.limit) for one in message.hugepage_limits]
    assert huge == [("2MB", 4194304), ("1GB", 0)]
    for name, number in (("", 0), ("SIGUSR1", cri.SIGUSR1), ("SIGRTMIN+1", cri.SIGRTMINPLUS1)):
        sent = message_of(container(stop_signal=name), SandboxSecurity())
        assert sent.stop_signal == number


def test_a_login_is_sent_and_never_shown() -> None:
    auth = ImageAuth(username="me", password="secret", registry_token="token")
    message = cri_requests.auth_config(auth)
    assert (message.username, message.password, message.registry_token) == ("me", "secret", "token")
    assert "secret" not in repr(auth) and "token" not in repr(auth).replace("_token", "")
    assert cri_requests.auth_config(None) is None


@pytest.mark.parametrize(("seconds", "whole"), [(-1, 0), (0, 0), (0.1, 1), (2.0, 2), (29.5, 30)])
def test_seconds_are_rounded_up(seconds: float, whole: int) -> None:
    assert cri_requests.whole_seconds(seconds) == whole
