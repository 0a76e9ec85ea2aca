"""Whether this device takes a pod up at all, decided once, before anything is made for it.

Pure. The reasons and words are a kubelet's. A pod that was taken up is never asked again: nothing
that runs is stopped for what this module says. What is not known about the node refuses nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction

from edgeagent.pods.admission.supported import unsupported
from edgeagent.pods.admission.tolerations import tolerated
from edgeagent.pods.materials import security, userids
from edgeagent.pods.model import specs
from edgeagent.pods.model.nodefacts import NodeFacts, Taint
from edgeagent.pods.model.view import Refusal
from edgeagent.pods.resources import amounts, kernel, quantities
from edgeagent.runtime.abilities import no_image_volume
from shared import node_affinity
from shared.objects import Json
from shared.static_pods import is_static

SAFE_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    }
)

_MEMORY_TAINT = Taint("node.kubernetes.io/memory-pressure", "", "NoSchedule")
_ALWAYS_THERE = ("pods", "cpu", "memory", "ephemeral-storage")
"""Every device has them, so without an amount it is only not known yet. Of several that are short
the first is told, before all others by name, as by a kubelet."""


def refusal(pod: Json, others: Iterable[Json], node: NodeFacts) -> Refusal | None:
    """Why the pod cannot run here; ``others`` are the active pods of this device without it.

    Whether there is room for a critical pod is ``preemption.py``'s to say, after all of this.
    """
    kept = list(others)
    return (
        _not_supported(pod)
        or _pressure(pod, node)
        or _operating_system(pod)
        or _sysctls(pod)
        or _security(pod, node)
        or _users(pod)
        or _image_volumes(pod, node)
        or (None if kernel.is_critical(pod) else _room(pod, kept, node))
        or _place(pod, node)
        or _ports(pod, kept)
        or _taints(pod, node)
    )


def _not_supported(pod: Json) -> Refusal | None:
    """First of all: what comes after relies on every field having the type it should."""
    fatal = [one for one in unsupported(pod) if one.fatal]
    if not fatal:
        return None
    words = "; ".join(f"{one.field}: {one.message}" for one in fatal[:5])
    return Refusal("UnsupportedPodField", words)


def _pressure(pod: Json, node: NodeFacts) -> Refusal | None:
    """Short of memory, the device still takes what has asked for its share of it."""
    if not node.pressures or kernel.is_critical(pod):
        return None
    if node.pressures == ("MemoryPressure",) and (
        kernel.qos_class(pod) != "BestEffort" or tolerated(pod, _MEMORY_TAINT)
    ):
        return None
    words = f"The node had condition: [{' '.join(node.pressures)}]. "
    return Refusal("Evicted", words)


def _operating_system(pod: Json) -> Refusal | None:
    """A pod can have the label ``kubernetes.io/os`` as well as a node."""
    if (pod["metadata"].get("labels") or {}).get("kubernetes.io/os", "linux") != "linux":
        words = "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label"
        return Refusal("PodOSSelectorNodeLabelDoesNotMatch", words)
    if (pod["spec"].get("os") or {}).get("name", "linux") != "linux":
        words = "Failed to admit pod as the OS field doesn't match node OS"
        return Refusal("PodOSNotSupported", words)
    return None


def _sysctls(pod: Json) -> Refusal | None:
    for one in (pod["spec"].get("securityContext") or {}).get("sysctls") or ():
        name = one["name"].replace("/", ".")
        if name not in SAFE_SYSCTLS:
            return Refusal("SysctlForbidden", f'forbidden sysctl: "{name}" not allowlisted')
        if name.startswith("net.") and specs.on_host_network(pod):
            words = f'forbidden sysctl: "{name}" not allowed with host net enabled'
            return Refusal("SysctlForbidden", words)
        if name.startswith("kernel.shm") and pod["spec"].get("hostIPC"):
            words = f'forbidden sysctl: "{name}" not allowed with host ipc enabled'
            return Refusal("SysctlForbidden", words)
    return None


def _security(pod: Json, node: NodeFacts) -> Refusal | None:
    """What the runtime or the kernel would leave out without a word."""
    context = pod["spec"].get("securityContext") or {}
    if context.get("supplementalGroupsPolicy") == "Strict" and not node.strict_groups:
        words = "SupplementalGroupsPolicy=Strict is not supported in this node"
        return Refusal("SupplementalGroupsPolicyNotSupported", words)
    if not node.apparmor and security.wants_apparmor(pod):
        words = "Cannot enforce AppArmor: AppArmor is not enabled on the host"
        return Refusal("AppArmor", words)
    return None


def _users(pod: Json) -> Refusal | None:
    """What the API does not allow together; static pods never were there."""
    if not userids.are_own(pod):
        return None
    spec = pod["spec"]
    bad = [f"spec.{name}" for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    for one in specs.every_container(pod):
        if one.get("volumeDevices"):
            bad.append(f"volumeDevices of container {one['name']}")
    if not bad:
        return None
    return Refusal("UnsupportedPodField", f"{bad[0]}: Forbidden: when `hostUsers` is false")


def _image_volumes(pod: Json, node: NodeFacts) -> Refusal | None:
    """An old runtime would leave them out, or mount the whole image for a folder of it."""
    runtime = node.runtime_name, node.runtime_version
    images = specs.image_volumes(pod)
    if images and (words := no_image_volume(*runtime)):
        return Refusal("UnsupportedPodField", f"volume {min(images)}: {words}")
    for one in specs.every_container(pod):
        for mount in one.get("volumeMounts") or ():
            folder = mount.get("subPath") or mount.get("subPathExpr")
            words = no_image_volume(*runtime, folder=bool(folder))
            if mount["name"] in images and words:
                where = f"container {one['name']}, subPath {folder} of volume {mount['name']}"
                return Refusal("UnsupportedPodField", f"{where}: {words}")
    return None


def _room(pod: Json, others: list[Json], node: NodeFacts) -> Refusal | None:
    missing = shortage(pod, others, node)
    if not missing:
        return None
    name = next(iter(missing))
    taken, wanted = _taken(others), {"pods": Fraction(1), **amounts.pod_requests(pod)}
    capacity = node.allocatable.get(name, Fraction(0))
    return out_of(name, wanted[name], taken[name], capacity=capacity)


def shortage(pod: Json, others: Iterable[Json], node: NodeFacts) -> dict[str, Fraction]:
    """How much of each resource is missing for the pod to fit."""
    taken, room = _taken(others), node.allocatable
    wanted, missing = {"pods": Fraction(1), **amounts.pod_requests(pod)}, {}
    for name in sorted(wanted, key=_rank):
        amount = wanted[name]
        over = amount + taken[name] - room.get(name, Fraction(0))
        if _is_counted(name, node) and amount > 0 and over > 0:
            missing[name] = over if name in room else amount
    return missing


def _rank(name: str) -> tuple[int, str]:
    first = _ALWAYS_THERE
    return (first.index(name) if name in first else len(first)), name


def _is_counted(name: str, node: NodeFacts) -> bool:
    """Extended resources that somebody advertised for the Node, or that a scheduler has for the
    whole cluster, are not known on the device: the scheduler has counted them."""
    return name in node.allocatable or not (name in _ALWAYS_THERE or _is_extended(name))


def _is_extended(name: str) -> bool:
    return "/" in name and "kubernetes.io/" not in name


def _taken(others: Iterable[Json]) -> defaultdict[str, Fraction]:
    taken: defaultdict[str, Fraction] = defaultdict(Fraction)
    for other in others:
        taken["pods"] += 1
        for name, amount in amounts.pod_requests(other).items():
            taken[name] += amount
    return taken


def out_of(name: str, requested: Fraction, used: Fraction, *, capacity: Fraction) -> Refusal:
    """cpu in thousandths, as a kubelet counts it."""
    shown = quantities.milli if name == "cpu" else quantities.whole
    words = (
        f"Node didn't have enough resource: {name}, requested: {shown(requested)},"
        f" used: {shown(used)}, capacity: {shown(capacity)}"
    )
    return Refusal(f"OutOf{name}", words)


def _place(pod: Json, node: NodeFacts) -> Refusal | None:
    wanted = pod["spec"].get("nodeName")
    if wanted and wanted != node.name:
        words = "Predicate NodeName failed: node(s) didn't match the requested node name"
        return Refusal("NodeName", words)
    told = {} if is_static(specs.uid_of(pod)) else node.told_labels
    if not node_affinity.fits(pod, {**told, **node.labels}, name=node.name):
        words = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
        return Refusal("NodeAffinity", words)
    return None


_ANY_ADDRESS = ("", "0.0.0.0", "::")


def _ports(pod: Json, others: list[Json]) -> Refusal | None:
    taken = [one for other in others for one in _host_ports(other)]
    for protocol, port, address in _host_ports(pod):
        for its_protocol, its_port, its_address in taken:
            overlap = address == its_address or _ANY_ADDRESS[0] in (address, its_address)
            if overlap and (protocol, port) == (its_protocol, its_port):
                words = (
                    "Predicate NodePorts failed: node(s) didn't have free ports for the requested"
                    " pod ports"
                )
                return Refusal("NodePorts", words)
    return None


def _host_ports(pod: Json) -> list[tuple[str, int, str]]:
    """Protocol, port and address; every spelling of "all addresses" is empty."""
    return [
        (port.get("protocol") or "TCP", port["hostPort"], _address(port.get("hostIP")))
        for port in specs.host_ports(pod)
    ]


def _address(text: str | None) -> str:
    return "" if (text or "") in _ANY_ADDRESS else str(text)


def _taints(pod: Json, node: NodeFacts) -> Refusal | None:
    """Who is to leave for a taint that comes later is the control plane's to say."""
    if is_static(specs.uid_of(pod)) or all(tolerated(pod, one) for one in node.taints):
        return None
    words = "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate"
    return Refusal("TaintToleration", words)
