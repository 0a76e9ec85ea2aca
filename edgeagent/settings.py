"""The agent's settings: what ``edgeagent run`` was told, checked and made into values.

Only what a wrong value would break at once is checked here; files for TLS are opened at every
connect, because a device must run its pods even when they are missing.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeagent.pods.model.specs import CRITICAL_PRIORITY
from edgeagent.windows import Window, parse_window
from shared.errors import SettingsError
from shared.link import Broker
from shared.objects import is_name
from shared.settings import broker_from
from shared.topics import Topics

CONFIG = "/etc/kubetide/edgeagent.toml"
"""The file that the unit of ``deploy/systemd`` names to ``run``."""
DATA_DIR = "/var/lib/kubetide"
LOG_DIR = "/var/log/pods"
CLUSTER_DOMAIN = "cluster.local"
SHUTDOWN_GRACE, SHUTDOWN_GRACE_CRITICAL = 30, 10
"""Seconds for all pods, and those of them for pods of a system priority."""
SOCKETS = ("/run/containerd/containerd.sock", "/run/crio/crio.sock")
"""Where a container runtime is looked for when none is named."""


@dataclass(frozen=True)
class Settings:
    node: str
    """The node's name in Kubernetes."""
    broker: Broker
    topics: Topics
    data_dir: Path
    log_dir: Path
    """Container logs, in a kubelet's layout."""
    runtime: str
    """``cri:unix:///…`` or ``process``."""
    node_ips: tuple[str, ...] = ()
    """Empty = the addresses of the default routes."""
    cluster_dns: tuple[str, ...] = ()
    """Servers for pods with dnsPolicy ClusterFirst; empty = the device's own."""
    cluster_domain: str = CLUSTER_DOMAIN
    windows: tuple[Window, ...] = ()
    """When pods on hold may be updated."""
    static_pods: Path | None = None
    """Folder with manifests of pods that this device runs by itself."""
    log_level: str = "info"
    shutdown_grace: Mapping[int, int] = field(
        default_factory=lambda: _classes(SHUTDOWN_GRACE, SHUTDOWN_GRACE_CRITICAL)
    )
    """Seconds that a shutdown of the device waits for the pods of each class, by its least
    priority, the lowest first; all 0 = not at all."""


def settings_from(options: Mapping[str, Any]) -> Settings:
    """From the values of ``edgeagent run``; SettingsError names the key, the value, the way out."""
    return Settings(
        node=_node_name(options["node_name"]),
        broker=broker_from(options),
        topics=Topics(options["root"]),
        data_dir=_folder("data-dir", options["data_dir"]),
        log_dir=_folder("log-dir", options["log_dir"]),
        runtime=_runtime(options["runtime"]),
        node_ips=_addresses("node-ip", options["node_ip"]),
        cluster_dns=_addresses("cluster-dns", options["cluster_dns"]),
        cluster_domain=_domain(options["cluster_domain"]),
        windows=tuple(map(parse_window, options["maintenance_window"])),
        static_pods=_optional_folder("static-pods", options["static_pods"]),
        log_level=options["log_level"],
        shutdown_grace=_shutdown(options),
    )


def _shutdown(options: Mapping[str, Any]) -> dict[int, int]:
    if by_priority := options["shutdown_grace_period_by_pod_priority"]:
        return _by_priority(by_priority)
    total = options["shutdown_grace_period"]
    critical = options["shutdown_grace_period_critical_pods"]
    if total and critical > total:
        raise SettingsError(
            f"shutdown-grace-period-critical-pods: {critical} is more than shutdown-grace-period"
            f" ({total}), of which it is a part: make it smaller or that one larger"
        )
    return _classes(total, min(critical, total))


def _classes(total: int, critical: int) -> dict[int, int]:
    return {0: total - critical, CRITICAL_PRIORITY: critical}


def _by_priority(given: Iterable[str]) -> dict[int, int]:
    key, classes = "shutdown-grace-period-by-pod-priority", {}
    for text in given:
        parts = re.fullmatch(r"(-?[0-9]{1,10})=([0-9]{1,6})", text.strip())
        if parts is None:
            raise SettingsError(f"{key}: {text!r}: write PRIORITY=SECONDS, for instance 1000=30")
        least, seconds = map(int, parts.groups())
        if least in classes:
            raise SettingsError(f"{key}: {least} has two times: leave {text!r} or the other out")
        classes[least] = seconds
    return classes


def _node_name(given: str | None) -> str:
    name = given or socket.gethostname().lower()
    if not is_name(name):
        raise SettingsError(
            f"node-name: {name!r} is not a node name: use lower-case letters, digits, '-' and '.'"
        )
    return name


def _folder(key: str, given: str) -> Path:
    path = Path(given)
    if not path.is_absolute():
        raise SettingsError(f"{key}: {given!r} is not an absolute path: begin it with '/'")
    return path


def _optional_folder(key: str, given: str) -> Path | None:
    """It may come later: a disk that is not mounted yet must not keep pods from running."""
    return _folder(key, given) if given else None


def _runtime(given: str | None) -> str:
    if not given:
        for socket_path in SOCKETS:
            if Path(socket_path).is_socket():
                return f"cri:unix://{socket_path}"
        raise SettingsError(
            f"runtime is not set and there is no {' or '.join(SOCKETS)}: start containerd or"
            " CRI-O, name its socket (cri:unix:///path.sock), or use 'process' for a trial"
        )
    if given == "process" or given.startswith("cri:unix:///"):
        return given
    raise SettingsError(f"runtime: {given!r}: use cri:unix:///path/to/the.sock or process")


def _addresses(key: str, given: tuple[str, ...]) -> tuple[str, ...]:
    for address in given:
        try:
            ipaddress.ip_address(address)
        except ValueError as error:
            raise SettingsError(f"{key}: {address!r} is not an address such as 10.0.0.1") from error
    return tuple(given)


def _domain(given: str) -> str:
    if not is_name(given):
        raise SettingsError(f"cluster-domain: {given!r} is not a domain: write {CLUSTER_DOMAIN}")
    return given
