"""What pods need to know about the device they run on, as one frozen value.

Gathered by the agent at start and whenever the device changes; planning only reads it. Amounts
are exact (``quantities.py``): cpu in cores, everything else in bytes or pieces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

from edgeagent.runtime.abilities import Handler
from edgeagent.runtime.port import DnsConfig
from shared import node_affinity

FIRST_IDS = range(65_536, 2**32 - 65_536, 65_536)
"""Where the users of a pod may begin, and how many it has. The lowest are the device's own; the
highest have among them the one that stands for "no user", and no kernel maps them."""


@dataclass(frozen=True, slots=True)
class Taint:
    key: str
    value: str
    effect: str


@dataclass(frozen=True, slots=True)
class NodeFacts:
    name: str
    ips: tuple[str, ...] = ()
    """Primary first; one of each family. They come and go with the device's networks."""
    named_ips: tuple[str, ...] = ()
    """Those that its settings name: they say which family is a pod's primary one, for good."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Those known here; the Node may have more in the API, so one that is missing says nothing."""
    allocatable: Mapping[str, Fraction] = field(default_factory=dict)
    """By resource name; what is not named is not limited."""
    memory_capacity: int = 0
    """Bytes of the device; the OOM score is a share of it."""
    runtime_name: str = "containerd"
    """Scheme of ``containerID``."""
    runtime_version: str = ""
    """Empty while it is not known."""
    handlers: tuple[Handler, ...] = (Handler(),)
    """RuntimeClass handlers that the runtime has."""
    runtime_classes: Mapping[str, str] = field(default_factory=dict)
    """Handlers of the cluster's RuntimeClasses that pods here name; empty = not known yet."""
    cgroup_driver: str = "cgroupfs"
    cgroup_version: int = 1
    swap_limits: bool = False
    """Whether the kernel can keep a cgroup from swapping."""
    cluster_dns: tuple[str, ...] = ()
    cluster_domain: str = "cluster.local"
    host_dns: DnsConfig = field(default_factory=DnsConfig)
    """The device's own resolv.conf."""
    strict_groups: bool = False
    """Whether the runtime knows supplementalGroupsPolicy Strict."""
    apparmor: bool = False
    selinux: bool = False
    first_ids: range = FIRST_IDS
    """Those of them that pods may get for themselves."""
    told_labels: node_affinity.Labels = field(default_factory=dict)
    """Those of the Node in the API that refuse new pods, and None for what it does not have."""
    taints: tuple[Taint, ...] = ()
    """NoExecute ones of the Node in the API, as far as they say anything of new pods."""
    pressures: tuple[str, ...] = ()
    """Node conditions that say the device is short of something."""

    def handler(self, runtime_class: str) -> Handler | None:
        """None when the runtime has none of that class, or it is not known which one it is.

        A class that the cluster does not tell of (to a static pod, or by an older hub) is the
        handler of its name. Without a class a pod has the default handler.
        """
        name = self.runtime_classes.get(runtime_class, runtime_class)
        if runtime_class and not name:
            return None
        return next((one for one in self.handlers if one.name == name), None)

    def bound(self, runtime_class: str, handler: str) -> NodeFacts:
        """As they are for a sandbox that runs by ``handler``, if that is said: of its class counts
        what it was when the sandbox was made, whatever it names now."""
        if not (runtime_class and handler):
            return self
        classes = {**self.runtime_classes, runtime_class: handler}
        if any(one.name == handler for one in self.handlers):
            return replace(self, runtime_classes=classes)
        # Configured no more: the runtime will say what that means.
        every = (*self.handlers, Handler(handler))
        return replace(self, runtime_classes=classes, handlers=every)
