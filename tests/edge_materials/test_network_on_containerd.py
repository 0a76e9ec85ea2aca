"""Names, resolution and addresses of pods, as their processes see them on a real containerd."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from edgeagent.pods.model.errors import SandboxConfigError
from shared.objects import Json
from tests.edge_materials.device import NODE, Device, a_device, a_pod, printed, seen_by
from tests.parts.containerd import Containerd
from tests.parts.ports import free_ports
from tests.runtime_contract.worlds import eventually

CLUSTER = replace(NODE, cluster_dns=("10.96.0.10",))


@pytest.fixture
async def device(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Device]:
    async with a_device(containerd, tmp_path) as one:
        yield one


# Names


@pytest.mark.parametrize(
    ("spec", "short", "host_names"),
    [
        ({}, "web-0", ["web-0"]),
        ({"hostname": "shop"}, "shop", ["shop"]),
        ({"hostname": "shop", "subdomain": "sub"}, "shop",
         ["shop.sub.default.svc.cluster.local", "shop"]),
        ({"subdomain": "sub", "setHostnameAsFQDN": True}, "web-0.sub.default.svc.cluster.local",
         ["web-0.sub.default.svc.cluster.local", "web-0"]),
        ({"setHostnameAsFQDN": True}, "web-0", ["web-0"]),
        ({"hostname": "shop", "hostnameOverride": "a.b"}, "a.b", ["a.b"]),
    ],
)  # fmt: skip
async def test_the_hostname_of_a_pod_is_its_name_or_what_it_says(
    device: Device, spec: Json, short: str, host_names: list[str]
) -> None:
    """In the kernel, and with its address in the managed hosts file."""
    script = "hostname; grep $(hostname -i | cut -d' ' -f1) /etc/hosts"
    whole = a_pod(script, spec=spec)
    whole["metadata"]["name"] = "web-0"
    name, line = printed(await device.ended(whole))
    assert name == short
    assert line.split()[1:] == host_names


async def test_a_long_name_is_cut_to_what_a_hostname_may_be(device: Device) -> None:
    whole = a_pod("hostname")
    whole["metadata"]["name"] = "a" * 61 + "--b"
    assert printed(await device.ended(whole)) == ["a" * 61]
    too_long = a_pod("", spec={"subdomain": "s" * 50, "setHostnameAsFQDN": True})
    with pytest.raises(SandboxConfigError, match=r"is too long \(64 characters is the max"):
        await device.start(too_long)


async def test_the_hosts_file_is_managed_and_has_the_host_aliases(device: Device) -> None:
    aliases = [
        {"ip": "127.0.0.9", "hostnames": ["foo.local", "bar.local"]},
        {"ip": "10.1.2.3", "hostnames": ["foo.remote"]},
    ]
    lines = await device.output("cat /etc/hosts", spec={"hostAliases": aliases})
    assert lines[0] == "# Kubernetes-managed hosts file."
    assert "127.0.0.1\tlocalhost" in lines
    assert lines[-3:] == [
        "# Entries added by HostAliases.",
        "127.0.0.9\tfoo.local\tbar.local",
        "10.1.2.3\tfoo.remote",
    ]


async def test_on_the_host_network_names_and_addresses_are_the_hosts(device: Device) -> None:
    aliases = [{"ip": "127.0.0.9", "hostnames": ["foo.local"]}]
    spec = {"hostNetwork": True, "hostAliases": aliases, "hostname": "of-no-effect"}
    env = [
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": f"status.{name}"}}}
        for name in ("podIP", "hostIP")
    ]
    script = "hostname; echo $podIP $hostIP; cat /etc/hosts"
    name, addresses, *lines = await device.output(script, spec=spec, env=env)
    assert name == socket.gethostname()
    assert addresses == "192.0.2.10 192.0.2.10"
    assert lines[0] == "# Kubernetes-managed hosts file (host network)."
    own = Path("/etc/hosts").read_text().splitlines()
    assert lines[1 : len(own) + 1] == own
    assert lines[-1] == "127.0.0.9\tfoo.local"


# Resolution

OF_CLUSTER = [
    "nameserver 10.96.0.10",
    "options ndots:5",
    "search default.svc.cluster.local svc.cluster.local cluster.local example.net",
]
OF_NODE = ["nameserver 192.0.2.53", "search example.net"]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, OF_CLUSTER),
        ({"dnsPolicy": "ClusterFirst"}, OF_CLUSTER),
        ({"dnsPolicy": "ClusterFirst", "hostNetwork": True}, OF_NODE),
        ({"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": True}, OF_CLUSTER),
        ({"dnsPolicy": "Default"}, OF_NODE),
        (
            {
                "dnsPolicy": "None",
                "dnsConfig": {
                    "nameservers": ["1.2.3.4"],
                    "searches": ["ns1.svc.example", "my.dns.search"],
                    "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
                },
            },
            [
                "nameserver 1.2.3.4",
                "options ndots:2 edns0",
                "search ns1.svc.example my.dns.search",
            ],
        ),
        (
            {
                "dnsConfig": {
                    "nameservers": ["1.2.3.4", "10.96.0.10"],
                    "searches": ["own.example", "cluster.local"],
                    "options": [{"name": "ndots", "value": "2"}, {"name": "rotate", "value": ""}],
                }
            },
            [
                "nameserver 10.96.0.10",
                "nameserver 1.2.3.4",
                "options ndots:2 rotate",
                f"{OF_CLUSTER[2]} own.example",
            ],
        ),
    ],
)
async def test_resolv_conf_follows_the_dns_policy_and_the_dns_config(
    device: Device, spec: Json, expected: list[str]
) -> None:
    device.materials.node_changed(CLUSTER)
    lines = await device.output("cat /etc/resolv.conf", spec=spec)
    assert sorted(lines) == sorted(expected)
    assert [line for line in lines if line.startswith("nameserver")] == [
        line for line in expected if line.startswith("nameserver")
    ]
    assert "MissingClusterDNS" not in [one.reason for one in device.events]


async def test_without_a_cluster_dns_cluster_first_is_default_and_an_event_says_so(
    device: Device,
) -> None:
    assert sorted(await device.output("cat /etc/resolv.conf")) == OF_NODE
    assert [one.reason for one in device.events][:1] == ["MissingClusterDNS"]


# Addresses and ports


async def test_host_ports_reach_the_pod_by_protocol_and_address(device: Device) -> None:
    """On every address without a hostIP, with one on that address only."""
    tcp, udp, local = free_ports(3)
    ports = [
        {"containerPort": 8080, "hostPort": tcp},
        {"containerPort": 8053, "hostPort": udp, "protocol": "UDP"},
        {"containerPort": 8080, "hostPort": local, "hostIP": "127.0.0.1"},
        {"containerPort": 9999},
    ]
    # Four dollars are two to the shell: its own pid, as the host counts.
    script = "echo $$$$; while :; do echo answer | nc -l -p 8080; done"
    whole = a_pod(script, ports=ports, spec={"hostPID": True})
    container_id = await device.start(whole)

    async def its_pid() -> str:
        return "".join(printed(await seen_by(device.runtime, container_id))[:1])

    other = _own_address()
    with _udp_server_beside(await eventually(its_pid)):
        for address, port in (("127.0.0.1", tcp), (other, tcp), ("127.0.0.1", local)):
            await eventually(lambda address=address, port=port: _tcp(address, port))  # type: ignore[misc]
        assert not await _tcp(other, local)
        for address in ("127.0.0.1", other):
            await eventually(lambda address=address: _udp(address, udp))  # type: ignore[misc]


_UDP_SERVER = """
import socket
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.bind(("0.0.0.0", 8053))
while True:
    one.sendto(b"answer\\n", one.recvfrom(100)[1])
"""


@contextmanager
def _udp_server_beside(pid: str) -> Iterator[None]:
    """In the network of the process: the image has nothing that answers over UDP."""
    command = ["nsenter", "--net", "--target", pid, sys.executable, "-c", _UDP_SERVER]
    with subprocess.Popen(command) as server:
        try:
            yield
        finally:
            server.kill()


def _own_address() -> str:
    """An address of this machine that is not the loopback's; nothing is sent for it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


async def _tcp(host: str, port: int) -> bool:
    def ask() -> bool:
        try:
            with socket.create_connection((host, port), timeout=1) as connection:
                return connection.recv(100) == b"answer\n"
        except OSError:
            return False

    return await asyncio.to_thread(ask)


async def _udp(host: str, port: int) -> bool:
    def ask() -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.settimeout(0.5)
            one.sendto(b"ask\n", (host, port))
            try:
                return one.recv(100) == b"answer\n"
            except OSError:
                return False

    return await asyncio.to_thread(ask)
