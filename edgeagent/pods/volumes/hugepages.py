"""Which pages an emptyDir of huge pages has. Pure; the rules and words are a kubelet's.

The medium names a size (``HugePages-2Mi``), or the pod asks for pages of one size only.
"""

from __future__ import annotations

from edgeagent.pods.model import specs
from edgeagent.pods.resources import amounts
from shared.objects import Json

MEDIUM = "HugePages"


def is_medium(medium: str) -> bool:
    return medium == MEDIUM or medium.startswith(f"{MEDIUM}-")


def page_size(medium: str, pod: Json) -> str:
    """As Kubernetes writes it, ``2Mi``. Raises ValueError where the pod asks for no such pages."""
    asked = {
        name.removeprefix(amounts.HUGEPAGES)
        for owner in (pod["spec"], *specs.mains(pod), *specs.inits(pod))
        for name in amounts.requested(owner)
        if name.startswith(amounts.HUGEPAGES)
    }
    if medium == MEDIUM and len(asked) > 1:
        raise ValueError(
            f"medium: {medium} can't be used if container requests multiple huge page sizes"
        )
    fitting = asked if medium == MEDIUM else asked & {medium.removeprefix(f"{MEDIUM}-")}
    if not fitting:
        raise ValueError(
            f"medium {medium}: hugePages storage requested, but there is no resource request for"
            " huge pages"
        )
    return fitting.pop()
