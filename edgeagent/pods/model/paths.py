"""Where everything of a pod lives on the device; the only place that joins such paths.

Uids, namespaces and names come from the API: they are checked here, so that no path can ever
leave its folder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgeagent.pods.model import specs
from shared.errors import PermanentError
from shared.objects import Json

_SAFE = re.compile(r"[A-Za-z0-9]([-_.A-Za-z0-9]{0,251}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class PodPaths:
    data: Path
    """The agent's own folder; pods live below ``pods/<uid>``."""
    logs: Path = Path("/var/log/pods")

    @property
    def links(self) -> Path:
        """Where log collectors look: ``/var/log/containers`` beside ``/var/log/pods``."""
        return self.logs.parent / "containers"

    @property
    def pods(self) -> Path:
        return self.data / "pods"

    def pod(self, uid: str) -> Path:
        return self.pods / safe(uid)

    def volumes(self, uid: str) -> Path:
        return self.pod(uid) / "volumes"

    def volume(self, uid: str, name: str) -> Path:
        return self.volumes(uid) / safe(name)

    def subpath(self, uid: str, volume: str, *, container: str, index: int) -> Path:
        return self.pod(uid) / "subpaths" / safe(volume) / safe(container) / str(index)

    def hosts(self, uid: str) -> Path:
        return self.pod(uid) / "etc-hosts"

    def termination_log(self, uid: str, container: str, *, attempt: int) -> Path:
        return self.pod(uid) / "containers" / safe(container) / f"termination-{attempt}"

    def log_directory(self, pod: Json) -> Path:
        parts = (specs.namespace_of(pod), specs.name_of(pod), specs.uid_of(pod))
        return self.logs / "_".join(safe(part) for part in parts)


def log_path(container: str, attempt: int) -> str:
    """Of one container's log, relative to the pod's log directory."""
    return f"{safe(container)}/{attempt}.log"


def is_safe(part: str) -> bool:
    return _SAFE.fullmatch(part) is not None


def safe(part: str) -> str:
    """``part`` as one component of a path, or PermanentError."""
    if not is_safe(part):
        raise PermanentError(f"{part!r:.80} cannot be part of a path")
    return part
