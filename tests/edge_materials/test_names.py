"""Hostnames, DNS and /etc/hosts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edgeagent.pods.materials import hosts
from edgeagent.pods.materials.naming import dns, hostname
from edgeagent.pods.model.errors import SandboxConfigError
from edgeagent.runtime.port import DnsConfig
from tests.edge_materials.making import NODE, pod

CLUSTER = replace(NODE, cluster_dns=("10.96.0.10",))


def kernel_name(**spec: Any) -> str:
    return hostname(pod(**spec), NODE).kernel


def test_the_hostname_is_the_name_of_the_pod_or_its_hostname() -> None:
    assert kernel_name() == "web"
    assert kernel_name(hostname="shop") == "shop"


def test_a_subdomain_gives_a_fully_qualified_name() -> None:
    found = hostname(pod(hostname="shop", subdomain="sub"), NODE)
    assert (found.short, found.domain) == ("shop", "sub.default.svc.cluster.local")
    assert found.kernel == "shop"
    full = kernel_name(hostname="shop", subdomain="sub", setHostnameAsFQDN=True)
    assert full == "shop.sub.default.svc.cluster.local"


def test_set_hostname_as_fqdn_without_a_subdomain_changes_nothing() -> None:
    assert kernel_name(setHostnameAsFQDN=True) == "web"


def test_a_fully_qualified_name_over_64_characters_is_refused() -> None:
    with pytest.raises(SandboxConfigError, match=r"too long \(64 characters is the max, 6"):
        kernel_name(hostname="s" * 36, subdomain="sub", setHostnameAsFQDN=True)


def test_a_long_name_is_cut_at_63_characters_and_does_not_end_in_a_dash() -> None:
    long = pod(metadata={"name": "a" * 60 + "--." + "b" * 20})
    assert hostname(long, NODE).kernel == "a" * 60


def test_hostname_override_beats_everything() -> None:
    found = hostname(pod(hostname="shop", subdomain="sub", hostnameOverride="my.host"), NODE)
    assert (found.short, found.domain, found.kernel) == ("my.host", "", "my.host")


@pytest.mark.parametrize(
    "spec", [{"hostname": "A.b"}, {"subdomain": "-x"}, {"hostnameOverride": "_"}]
)
def test_names_that_are_none_are_refused(spec: dict[str, str]) -> None:
    with pytest.raises(SandboxConfigError, match="is not a valid DNS"):
        kernel_name(**spec)


def test_cluster_first_asks_the_cluster_and_searches_the_namespace_first() -> None:
    config, events = dns(pod(), CLUSTER)
    assert config == DnsConfig(
        servers=("10.96.0.10",),
        searches=(
            "default.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.net"
        ),
        options=("ndots:5",),
    )  # fmt: skip
    assert not events


def test_cluster_first_on_the_host_network_is_default_unless_it_says_otherwise() -> None:
    assert dns(pod(hostNetwork=True), CLUSTER)[0] == NODE.host_dns
    chosen = pod(hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet")
    assert dns(chosen, CLUSTER)[0].servers == ("10.96.0.10",)


def test_default_takes_the_resolution_of_the_node() -> None:
    assert dns(pod(dnsPolicy="Default"), CLUSTER) == (NODE.host_dns, ())


def test_without_a_cluster_dns_the_policy_falls_back_to_default_with_an_event() -> None:
    config, (event,) = dns(pod(), NODE)
    assert config == NODE.host_dns
    assert event.reason == "MissingClusterDNS"
    assert 'Falling back to "Default" policy.' in event.message


def test_none_takes_everything_from_the_dns_config() -> None:
    extra = {
        "nameservers": ["192.0.2.1"],
        "searches": ["a.example"],
        "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
    }
    config, _ = dns(pod(dnsPolicy="None", dnsConfig=extra), CLUSTER)
    assert config == DnsConfig(
        servers=("192.0.2.1",), searches=("a.example",), options=("ndots:2", "edns0")
    )


def test_the_dns_config_is_merged_into_the_policy() -> None:
    extra = {
        "nameservers": ["10.96.0.10", "192.0.2.1"],
        "searches": ["example.net", "b.example"],
        "options": [{"name": "ndots", "value": "1"}],
    }
    config, _ = dns(pod(dnsConfig=extra), CLUSTER)
    assert config.servers == ("10.96.0.10", "192.0.2.1")
    assert config.searches[-2:] == ("example.net", "b.example")
    assert config.options == ("ndots:1",)


def test_what_resolv_conf_cannot_hold_is_left_out_with_events() -> None:
    extra = {
        "nameservers": [f"192.0.2.{n}" for n in range(5)],
        "searches": [f"s{n}.example" for n in range(40)],
    }
    config, events = dns(pod(dnsPolicy="None", dnsConfig=extra), CLUSTER)
    assert (len(config.servers), len(config.searches)) == (3, 32)
    assert [event.reason for event in events] == ["DNSConfigForming"] * 2
    assert events[0].message.endswith("line is: 192.0.2.0 192.0.2.1 192.0.2.2")
    long = {"searches": [f"{n}{'x' * 60}.example" for n in range(32)]}
    config, _ = dns(pod(dnsPolicy="None", dnsConfig=long), CLUSTER)
    assert len(" ".join(config.searches)) <= 2048


def test_the_hosts_file_names_the_pod_under_all_its_addresses() -> None:
    text = hosts.for_pod(("10.0.0.7", "fd00::7"), "web", domain="sub.default.svc.cluster.local")
    assert text.startswith("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n")
    assert "10.0.0.7\tweb.sub.default.svc.cluster.local\tweb\n" in text
    assert text.endswith("fd00::7\tweb.sub.default.svc.cluster.local\tweb\n")


def test_host_aliases_are_added_below() -> None:
    aliases = [{"ip": "127.0.0.1", "hostnames": ["foo.local", "bar.local"]}]
    text = hosts.for_pod(("10.0.0.7",), "web", aliases=aliases)
    assert text.endswith(
        "10.0.0.7\tweb\n\n# Entries added by HostAliases.\n127.0.0.1\tfoo.local\tbar.local\n"
    )
    node = hosts.for_host_network("127.0.0.1 localhost\n", aliases)
    assert node.startswith("# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n")
    assert node.endswith("foo.local\tbar.local\n")
