"""Cgroups of pods: ``kubepods``, then the QoS class, then the pod, and what each of them gets.

Pure. The layout and the amounts are a kubelet's, for both drivers and versions: a runtime limits
containers only, and what one pod gets of a busy CPU beside another is decided up here. Written by
``cgroup_files.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fractions import Fraction

from edgeagent.pods.model import specs
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.resources import amounts, kernel, quantities
from edgeagent.pods.resources.amounts import Amounts
from shared.objects import Json

Settings = Mapping[str, str]
"""By controller and file (``cpu/cpu.shares``); version 2 has no folders for controllers."""

_MOST_WEIGHT = 10_000
_NO_LIMIT = 2**62
_CLASSES: tuple[list[str], ...] = ([], ["burstable"], ["besteffort"])
_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}")
"""As the API server makes them; static pods have none of the dashes."""
UNITS = "kubepods*-pod*.slice"
"""What systemd knows cgroups of pods as."""


def parent(pod: Json, driver: str) -> str:
    """The cgroup parent that the runtime gets; Guaranteed pods stand directly in kubepods."""
    return path([*_above(pod), f"pod{specs.uid_of(pod)}"], driver)


def path(names: list[str], driver: str) -> str:
    return _slices(names) if driver == "systemd" else "/" + "/".join(names)


def unit(pod: Json, driver: str) -> str:
    """What systemd knows the pod's cgroup as; empty with the driver that does without systemd."""
    return parent(pod, driver).rpartition("/")[2] if driver == "systemd" else ""


def places(driver: str) -> list[str]:
    """Cgroups that have those of pods in them."""
    return [path(["kubepods", *quality], driver) for quality in _CLASSES]


def uid_in(where: str, driver: str) -> str:
    """Whose cgroup it is; empty for a path that no pod has, or none with such a uid."""
    last = where.rpartition("/")[2].removesuffix(".slice").rpartition("pod")[2]
    uid = last.replace("_", "-") if driver == "systemd" else last
    own = (path(["kubepods", *quality, f"pod{uid}"], driver) for quality in _CLASSES)
    return uid if _UID.fullmatch(uid) and where in own else ""


def settings(pod: Json, others: Iterable[Json], node: NodeFacts) -> dict[str, Settings]:
    """By path, from the top: what the pod's cgroup and those above it must have."""
    version, driver = node.cgroup_version, node.cgroup_driver
    found = {path(["kubepods"], driver): _shares(node.allocatable.get("cpu"), version)}
    found |= _class_settings(pod, [pod, *others], node)
    found[parent(pod, driver)] = of_pod(pod, node)
    return {where: wanted for where, wanted in found.items() if wanted}


def left_behind(pod: Json, others: Iterable[Json], node: NodeFacts) -> dict[str, Settings]:
    """What the cgroups above the pod must have when it is gone."""
    return _class_settings(pod, others, node) if _above(pod)[1:] == ["burstable"] else {}


def of_pod(pod: Json, node: NodeFacts) -> Settings:
    """Limits where the pod has one as a whole, or every container has one: else there is none."""
    version, period = node.cgroup_version, str(kernel.PERIOD)
    quota = kernel.quota(amounts.whole_limit(pod, "cpu"))
    memory = quantities.whole(amounts.whole_limit(pod, "memory"))
    most = str(quota or "")
    if version == 2:
        limits = {
            "cpu.max": f"{most or 'max'} {period}",
            "memory.max": str(memory or "max"),
        }
    else:
        limits = {
            "cpu/cpu.cfs_period_us": period,
            "cpu/cpu.cfs_quota_us": most or "-1",
            "memory/memory.limit_in_bytes": str(memory or -1),
        }
    asked = amounts.pod_requests(pod)
    shares = _shares(asked.get("cpu", Fraction(0)), version)
    return {**shares, **limits, **_hugepages(asked, node)}


def _hugepages(asked: Amounts, node: NodeFacts) -> Settings:
    """Used and reserved pages both: of huge pages, nobody gets more than was asked for."""
    parts = (
        ("max", "rsvd.max")
        if node.cgroup_version == 2
        else ("limit_in_bytes", "rsvd.limit_in_bytes")
    )
    folder = "" if node.cgroup_version == 2 else "hugetlb/"
    return {
        f"{folder}hugetlb.{size}.{part}": str(amount)
        for size, amount in kernel.hugepages(asked, node).items()
        for part in parts
    }


def weight(shares: int) -> int:
    """Version 1 counts from 2 to 262144 what version 2 counts from 1 to 10000."""
    least, most = kernel.LEAST_SHARES, kernel.MOST_SHARES
    return 1 + (shares - least) * (_MOST_WEIGHT - 1) // (most - least)


def differs(new: str, old: str) -> bool:
    """Version 1 shows no limit on memory as the largest number that there is."""
    return new != old and not _width(new) == _width(old) == float("inf")


def is_wider(new: str, old: str) -> bool:
    """Whether one setting lets more through than the other."""
    return _width(new) > _width(old)


def _width(text: str) -> float:
    first = text.split(" ")[0]
    width = float("inf") if first in ("max", "-1") else float(first)
    return width if width < _NO_LIMIT else float("inf")


def _above(pod: Json) -> list[str]:
    quality = kernel.qos_class(pod)
    return ["kubepods", *([] if quality == "Guaranteed" else [quality.lower()])]


def _class_settings(pod: Json, pods: Iterable[Json], node: NodeFacts) -> dict[str, Settings]:
    """Of the pod's class, if it has one: all Burstable pods together, the least for BestEffort."""
    quality = _above(pod)[1:]
    if not quality:
        return {}
    cpu = _asked(pods) if quality == ["burstable"] else Fraction(0)
    where = path(["kubepods", *quality], node.cgroup_driver)
    return {where: _shares(cpu, node.cgroup_version)}


def _asked(pods: Iterable[Json]) -> Fraction:
    """By all Burstable pods together."""
    asked = (
        amounts.pod_requests(one).get("cpu", Fraction(0))
        for one in pods
        if kernel.qos_class(one) == "Burstable"
    )
    return sum(asked, Fraction(0))


def _shares(cpu: Fraction | None, version: int) -> Settings:
    if cpu is None:
        return {}
    shares = kernel.shares(cpu)
    return {"cpu.weight": str(weight(shares))} if version == 2 else {"cpu/cpu.shares": str(shares)}


def _slices(names: list[str]) -> str:
    """systemd spells a path in the name of each slice; a dash inside a name would be a level."""
    escaped = [name.replace("-", "_") for name in names]
    return "/" + "/".join(
        "-".join(escaped[: depth + 1]) + ".slice" for depth in range(len(escaped))
    )
