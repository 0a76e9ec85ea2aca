"""What stands in a pod's managed ``/etc/hosts``. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from shared.objects import Json

_HEADER = "# Kubernetes-managed hosts file.\n"
_HOST_NETWORK_HEADER = "# Kubernetes-managed hosts file (host network).\n"
_LOCAL = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::0\tip6-localnet\n"
    "fe00::0\tip6-mcastprefix\n"
    "fe00::1\tip6-allnodes\n"
    "fe00::2\tip6-allrouters\n"
)


def for_pod(
    ips: Iterable[str], hostname: str, *, domain: str = "", aliases: Iterable[Json] = ()
) -> str:
    names = f"{hostname}.{domain}\t{hostname}" if domain else hostname
    own = "".join(f"{ip}\t{names}\n" for ip in ips)
    return _HEADER + _LOCAL + own + _aliases(aliases)


def for_host_network(node_file: str, aliases: Iterable[Json] = ()) -> str:
    return _HOST_NETWORK_HEADER + node_file + _aliases(aliases)


def _aliases(aliases: Iterable[Json]) -> str:
    lines = [f"{one['ip']}\t" + "\t".join(one.get("hostnames") or ()) + "\n" for one in aliases]
    return "\n# Entries added by HostAliases.\n" + "".join(lines) if lines else ""
