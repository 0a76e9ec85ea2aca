"""From a container's volumeMounts and volumeDevices to what the runtime puts into it.

subPaths are made safe on the way. Raises ``ConfigError`` with a kubelet's words. Details about
the device's files are left out of messages that a pod's author sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import structlog

from edgeagent.pods.materials.expansion import expand, missing
from edgeagent.pods.model import specs
from edgeagent.pods.model.errors import ConfigError
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.model.paths import PodPaths
from edgeagent.pods.volumes import recursive, subpaths
from edgeagent.pods.volumes.making import IMAGE, Volume
from edgeagent.pods.volumes.subpaths import NotMade
from edgeagent.runtime.abilities import no_image_volume
from edgeagent.runtime.port import Device, Mount
from shared.objects import Json

log = structlog.get_logger()


def mounts(
    pod: Json,
    container: Json,
    *,
    volumes: Mapping[str, Volume],
    environment: Mapping[str, str],
    node: NodeFacts,
    paths: PodPaths,
    images: Mapping[str, str] | None = None,
) -> list[Mount]:
    """Blocking: binds subPaths. ``images`` are the ids of those that are volumes, by volume."""
    made = []
    for index, wanted in enumerate(container.get("volumeMounts") or ()):
        volume = _volume(wanted, container, volumes)
        path = _sub_path(wanted, environment)
        if volume.kind == IMAGE:
            image = _image(wanted, images or {}, path, node)
            mount = _mount(pod, wanted, volume, source="", node=node)
            written = str(specs.image_volumes(pod)[volume.name].get("reference") or "")
            made.append(replace(mount, image=image, image_sub_path=path, user_image=written))
            continue
        at = paths.subpath(specs.uid_of(pod), volume.name, container=container["name"], index=index)
        source = _exposed(volume, path, at=at, container=container) if path else volume.path
        made.append(_mount(pod, wanted, volume, source=source, node=node))
    return made


def _image(wanted: Json, images: Mapping[str, str], path: str, node: NodeFacts) -> str:
    """Asked again here: the runtime may not have been known when the pod was taken up."""
    runtime = node.runtime_name, node.runtime_version
    if words := no_image_volume(*runtime, folder=bool(path)):
        raise ConfigError(f'volume "{wanted["name"]}": {words}')
    return images[wanted["name"]]


def devices(container: Json, volumes: Mapping[str, Volume]) -> list[Device]:
    made = []
    for wanted in container.get("volumeDevices") or ():
        volume = volumes.get(wanted["name"])
        if volume is None or not volume.is_block:
            name = container["name"]
            raise ConfigError(
                f'cannot find volume "{wanted["name"]}" to pass into container "{name}"'
            )
        permissions = "r" if volume.readonly else "mrw"
        made.append(Device(volume.path, str(wanted["devicePath"]), permissions))
    return made


def _mount(pod: Json, wanted: Json, volume: Volume, *, source: str, node: NodeFacts) -> Mount:
    path = str(wanted["mountPath"])
    return Mount(
        host_path=source,
        container_path=path if path.startswith("/") else f"/{path}",
        readonly=bool(wanted.get("readOnly")) or volume.readonly,
        propagation=wanted.get("mountPropagation") or "None",
        selinux_relabel=node.selinux and volume.kind != "hostPath",
        recursive_readonly=_recursive_readonly(pod, wanted, node),
    )


def _volume(wanted: Json, container: Json, volumes: Mapping[str, Volume]) -> Volume:
    volume = volumes.get(wanted["name"])
    if volume is None:
        name = container["name"]
        raise ConfigError(f'cannot find volume "{wanted["name"]}" to mount into container "{name}"')
    return volume


def _sub_path(wanted: Json, environment: Mapping[str, str]) -> str:
    """An empty variable is as good as none: the container would see the whole volume."""
    expression = wanted.get("subPathExpr") or ""
    given = {name: value for name, value in environment.items() if value}
    if unknown := missing(expression, given):
        raise ConfigError(f"missing value for {', '.join(sorted(set(unknown)))}")
    try:
        return subpaths.check(expand(expression, environment) or wanted.get("subPath") or "")
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _exposed(volume: Volume, path: str, *, at: Path, container: Json) -> str:
    try:
        return subpaths.expose(Path(volume.path), path, at=at)
    except (OSError, ValueError) as error:
        log.warning("subPath refused", volume=volume.name, error=str(error))
        failed = "create subPath directory" if isinstance(error, NotMade) else "prepare subPath"
        where = f'volumeMount "{volume.name}" of container "{container["name"]}"'
        raise ConfigError(f"failed to {failed} for {where}") from error


def _recursive_readonly(pod: Json, wanted: Json, node: NodeFacts) -> bool:
    try:
        return recursive.resolved(pod, wanted, node)
    except ValueError as wrong:
        raise ConfigError(
            f'failed to resolve recursive read-only mode: volume "{wanted["name"]}" requested'
            f" recursive read-only mode, but {wrong}"
        ) from wrong
