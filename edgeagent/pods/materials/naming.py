"""A pod's hostname and domain, and the resolv.conf that its DNS policy asks for.

Pure. Follows the API: ``hostname`` and ``subdomain`` make a domain, ``hostnameOverride`` replaces
both, names are cut at 63 characters, a fully qualified hostname must fit into 64. Limits of
resolv.conf (3 servers, 32 search domains, 2048 characters) cut the rest off with an Event.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgeagent.pods.model import specs
from edgeagent.pods.model.errors import SandboxConfigError
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.model.podevents import PodEvent, warning
from edgeagent.runtime.port import DnsConfig
from shared.objects import Json, is_name

_LONGEST_HOSTNAME = 63
_LONGEST_FQDN = 64
_MOST_SERVERS = 3
_MOST_SEARCHES = 32
_LONGEST_NAME = 253
_LONGEST_SEARCH_LINE = 2048
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class HostName:
    short: str
    domain: str
    """Without the hostname; empty when the pod has no subdomain."""
    kernel: str
    """What ``hostname`` prints in the pod."""


def hostname(pod: Json, node: NodeFacts) -> HostName:
    spec = pod["spec"]
    if (override := spec.get("hostnameOverride")) is not None:
        if not is_name(override):
            raise SandboxConfigError(
                f'pod HostnameOverride "{override:.80}" is not a valid DNS subdomain'
            )
        short = _cut(override)
        return HostName(short, "", short)
    short = _cut(_label(spec, "hostname") or specs.name_of(pod))
    subdomain = _label(spec, "subdomain")
    if not subdomain:
        return HostName(short, "", short)
    domain = f"{subdomain}.{specs.namespace_of(pod)}.svc.{node.cluster_domain}"
    return HostName(short, domain, _kernel_name(spec, short, domain=domain))


def _label(spec: Json, field: str) -> str:
    label = str(spec.get(field) or "")
    if label and not _LABEL.fullmatch(label):
        what = field.capitalize()
        raise SandboxConfigError(f'pod {what} "{label:.80}" is not a valid DNS label')
    return label


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_HOSTNAME else name[:_LONGEST_HOSTNAME].rstrip("-.")


def _kernel_name(spec: Json, short: str, *, domain: str) -> str:
    if not spec.get("setHostnameAsFQDN"):
        return short
    full = f"{short}.{domain}"
    if len(full) > _LONGEST_FQDN:
        raise SandboxConfigError(
            f"failed to construct FQDN from pod hostname and cluster domain, FQDN {full} is too"
            f" long ({_LONGEST_FQDN} characters is the max, {len(full)} characters requested)"
        )
    return full


def dns(pod: Json, node: NodeFacts) -> tuple[DnsConfig, tuple[PodEvent, ...]]:
    events: list[PodEvent] = []
    base = _by_policy(pod, node, events)
    return _limited(_merged(base, pod["spec"].get("dnsConfig") or {}), events), tuple(events)


def _by_policy(pod: Json, node: NodeFacts, events: list[PodEvent]) -> DnsConfig:
    policy = pod["spec"].get("dnsPolicy") or "ClusterFirst"
    if policy == "None":
        return DnsConfig()
    on_host = specs.on_host_network(pod)
    if policy == "Default" or (policy == "ClusterFirst" and on_host):
        return node.host_dns
    if not node.cluster_dns:
        message = (
            f'pod: "{specs.title(pod)}". kubelet does not have ClusterDNS IP configured and cannot'
            f' create Pod using "ClusterFirst" policy. Falling back to "Default" policy.'
        )
        events.append(warning("MissingClusterDNS", message))
        return node.host_dns
    domain = node.cluster_domain
    own = (f"{specs.namespace_of(pod)}.svc.{domain}", f"svc.{domain}", domain) if domain else ()
    searches = _distinct((*own, *node.host_dns.searches))
    return DnsConfig(servers=node.cluster_dns, searches=searches, options=("ndots:5",))


def _merged(base: DnsConfig, extra: Json) -> DnsConfig:
    """Servers and searches are added, an option of the pod replaces one of the same name."""
    wanted = [
        f"{one['name']}:{one['value']}" if one.get("value") else str(one["name"])
        for one in extra.get("options") or ()
    ]
    options = {option.partition(":")[0]: option for option in (*base.options, *wanted)}
    return DnsConfig(
        servers=_distinct((*base.servers, *(extra.get("nameservers") or ()))),
        searches=_distinct((*base.searches, *(extra.get("searches") or ()))),
        options=tuple(options.values()),
    )


def _limited(config: DnsConfig, events: list[PodEvent]) -> DnsConfig:
    servers = config.servers[:_MOST_SERVERS]
    if len(servers) < len(config.servers):
        events.append(
            warning(
                "DNSConfigForming",
                "Nameserver limits were exceeded, some nameservers have been omitted, the applied"
                f" nameserver line is: {' '.join(servers)}",
            )
        )
    searches = _fitting(config.searches[:_MOST_SEARCHES])
    if len(searches) < len(config.searches):
        events.append(
            warning(
                "DNSConfigForming",
                "Search Line limits were exceeded, some search paths have been omitted, the"
                f" applied search line is: {' '.join(searches)}",
            )
        )
    return DnsConfig(servers=servers, searches=searches, options=config.options)


def _fitting(searches: Sequence[str]) -> tuple[str, ...]:
    """As many whole domains as one line of resolv.conf holds; some resolvers end their program
    over one that no name could be."""
    kept: list[str] = []
    for one in (one for one in searches if len(one) <= _LONGEST_NAME):
        if len(" ".join((*kept, one))) > _LONGEST_SEARCH_LINE:
            break
        kept.append(one)
    return tuple(kept)


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
