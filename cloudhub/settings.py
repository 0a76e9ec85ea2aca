"""What a user may set about the hub, as values that are already checked.

``shared/settings.py`` reads flags, environment and file; here are the meanings. Raises
``SettingsError`` naming the key, the value and the way out. Built by ``__main__.py``.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from shared.errors import SettingsError
from shared.link import Broker
from shared.objects import Json, is_name
from shared.topics import Topics

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_PART = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_TAINT = re.compile(rf"((?:[a-z0-9.-]{{1,253}}/)?{_PART})(?:=({_PART})?)?:(\w+)")


@dataclass(frozen=True, kw_only=True)
class HubSettings:
    broker: Broker
    """Where the MQTT broker is."""
    topics: Topics
    """All topics, below the configured root."""
    replica: str
    """Name of this replica, unlike that of any other; its Lease and its MQTT client ids have it."""
    namespace: str
    """Where the replicas keep their Leases."""
    taints: tuple[Json, ...] = ()
    """Set on a Node when it is created, and never again."""
    keep_pods_when_offline: bool = True
    """Let Kubernetes evict no pod from a node for being offline; see ``tolerating.py``."""


def replica_name(given: str) -> str:
    """``given``, or the name of this host, which in a cluster is the pod's."""
    name = given or socket.gethostname().lower()
    if not is_name(name):
        way_out = "use lower-case letters, digits, '-' and '.'"
        raise SettingsError(f"replica: {name!r} cannot name a Lease: {way_out}")
    return name


def own_namespace() -> str:
    """The namespace of this pod; empty outside a cluster."""
    try:
        return NAMESPACE_FILE.read_text().strip()
    except OSError:
        return ""


def parse_taints(texts: Iterable[str]) -> tuple[Json, ...]:
    return tuple(parse_taint(text) for text in texts)


def parse_taint(text: str) -> Json:
    """``KEY[=VALUE]:EFFECT``, as ``kubectl taint`` has it."""
    found = _TAINT.fullmatch(text)
    if found is None or found[3] not in EFFECTS:
        effects = ", ".join(EFFECTS)
        raise SettingsError(
            f"node-taint: {text!r} is not KEY[=VALUE]:EFFECT with an effect of {effects}"
        )
    key, value, effect = found.groups()
    return {"key": key, "effect": effect} | ({"value": value} if value else {})
