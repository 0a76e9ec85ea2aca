"""Links by which log collectors find the logs of containers, in ``/var/log/containers``.

Owns their names, which are a kubelet's (``POD_NAMESPACE_CONTAINER-ID.log``): Fluent Bit, Fluentd
and Filebeat look there by default and read pod and container from the name. A link lives as long as
the container that it belongs to. The folder may be shared with another kubelet: only links that
point into the agent's own log folder are ever removed, and what is no link never. Blocking. Called
by ``podmaterials.py``, ``leftovers.py`` and housekeeping.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from edgeagent.pods.model import specs
from edgeagent.pods.model.paths import PodPaths, log_path, safe
from edgeagent.pods.volumes import nested
from shared.objects import Json

_LONGEST = 255 - len(".log")
"""Of a file's name; a longer one is cut, as by a kubelet."""


def make(paths: PodPaths, pod: Json, container: str, *, attempt: int, container_id: str) -> None:
    """Where there is a log; what is there already stays."""
    link = link_path(paths, pod, container, container_id)
    written = paths.log_directory(pod) / log_path(container, attempt)
    if os.path.lexists(link) or not written.exists():
        return
    if not link.parent.is_dir():
        # Open: collectors need not be root; the names say no more than the API does.
        nested.make(link.parent.parent.resolve(), [link.parent.name], group=None)
    with suppress(FileExistsError):
        link.symlink_to(written)


def remove(paths: PodPaths, pod: Json, container: str, *, container_id: str) -> None:
    link = link_path(paths, pod, container, container_id)
    if _target(paths, link) is not None:
        link.unlink(missing_ok=True)


def remove_below(paths: PodPaths, folder: Path) -> None:
    """All that point into this folder of a pod's logs."""
    for link, target in _every(paths):
        if target.is_relative_to(folder):
            link.unlink(missing_ok=True)


def remove_dead(paths: PodPaths) -> None:
    """Those of pods whose logs are gone with their folder: a log alone is gone while it rotates."""
    if not paths.logs.is_dir():
        return
    for link, target in _every(paths):
        of_pod, *rest = target.relative_to(paths.logs).parts or ("",)
        if rest and not (paths.logs / of_pod).exists():
            link.unlink(missing_ok=True)


def link_path(paths: PodPaths, pod: Json, container: str, container_id: str) -> Path:
    of_pod = f"{safe(specs.name_of(pod))}_{safe(specs.namespace_of(pod))}"
    whole = f"{of_pod}_{safe(container)}-{safe(container_id)}"
    return paths.links / f"{whole[:_LONGEST]}.log"


def _every(paths: PodPaths) -> Iterator[tuple[Path, Path]]:
    """Every link of ours and where it points."""
    for name in os.listdir(paths.links) if paths.links.is_dir() else []:
        link = paths.links / name
        if (target := _target(paths, link)) is not None:
            yield link, target


def _target(paths: PodPaths, link: Path) -> Path | None:
    """Where a link of ours points; None for anything else."""
    try:
        target = Path(os.readlink(link))
    except OSError:
        return None
    return target if target.is_relative_to(paths.logs) else None
