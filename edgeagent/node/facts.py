"""The device as the pods layer wants to know it. Reads the device's own resolv.conf."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from edgeagent.node.allocatable import allocatable_amounts
from edgeagent.node.device import Device, Readings
from edgeagent.pods.model import addresses
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.runtime.abilities import RuntimeInfo
from edgeagent.runtime.port import DnsConfig
from edgeagent.settings import Settings
from shared import node_affinity

RESOLV_CONF = (Path("/run/systemd/resolve/resolv.conf"), Path("/etc/resolv.conf"))
"""systemd-resolved's stub on 127.0.0.53 is of no use in a pod: its real servers come first."""


def node_facts(
    settings: Settings,
    device: Device,
    readings: Readings,
    runtime: RuntimeInfo,
    *,
    pressures: tuple[str, ...] = (),
) -> NodeFacts:
    return NodeFacts(
        name=settings.node,
        ips=addresses.of_node(readings.addresses),
        named_ips=settings.node_ips,
        labels={
            node_affinity.HOSTNAME: settings.node,
            node_affinity.OS: "linux",
            node_affinity.ARCH: device.architecture,
        },
        allocatable={name: Fraction(amount) for name, amount in allocatable_amounts(device)},
        memory_capacity=device.memory,
        runtime_name=runtime.name,
        runtime_version=runtime.version,
        handlers=runtime.handlers,
        cgroup_driver=runtime.cgroup_driver,
        cgroup_version=device.cgroup_version,
        swap_limits=device.swap_limits,
        cluster_dns=settings.cluster_dns,
        cluster_domain=settings.cluster_domain,
        host_dns=read_resolv_conf(),
        strict_groups=bool(runtime.strict_groups),
        apparmor=device.apparmor,
        selinux=device.selinux,
        first_ids=device.first_ids,
        pressures=pressures,
    )


def read_resolv_conf() -> DnsConfig:
    for path in RESOLV_CONF:
        try:
            return parse_resolv_conf(path.read_text(errors="replace"))
        except OSError:
            continue
    return DnsConfig()


def parse_resolv_conf(text: str) -> DnsConfig:
    servers: list[str] = []
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    for line in text.splitlines():
        words = line.split("#")[0].split(";")[0].split()
        match words:
            case ["nameserver", address, *_]:
                servers.append(address)
            case ["search" | "domain", *names]:
                # systemd-resolved writes a lone dot where there is no domain to search.
                searches = tuple(one.removesuffix(".") for one in names if one != ".")
            case ["options", *names]:
                options += tuple(names)
    return DnsConfig(tuple(servers), searches, options)
