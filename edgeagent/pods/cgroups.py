"""Where a pod's cgroup hangs: ``kubepods``, then its QoS class, then the pod.

Pure. The layout is a kubelet's, for both drivers, so that tools find pods where they expect them.
"""

from __future__ import annotations

from edgeagent.pods import resources, specs
from shared.objects import Json


def parent(pod: Json, driver: str) -> str:
    """The cgroup parent that the runtime gets; Guaranteed pods stand directly in kubepods."""
    quality = resources.qos_class(pod)
    names = ["kubepods", *([] if quality == "Guaranteed" else [quality.lower()])]
    names.append(f"pod{specs.uid_of(pod)}")
    return _slices(names) if driver == "systemd" else "/" + "/".join(names)


def _slices(names: list[str]) -> str:
    """systemd spells a path in the name of each slice; a dash inside a name would be a level."""
    escaped = [name.replace("-", "_") for name in names]
    return "/" + "/".join(
        "-".join(escaped[: depth + 1]) + ".slice" for depth in range(len(escaped))
    )
