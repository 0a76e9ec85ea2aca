"""From a container's spec to the runtime's configuration of it.

Pure: variables are resolved, mounts and the image are given; nothing is looked up here.
Annotations are those that a kubelet sets, so that tools, and this agent after a restart, can read
from a container alone what it was started with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeagent.pods.materials.expansion import expand
from edgeagent.pods.materials.origins import HASH, RESOURCES
from edgeagent.pods.materials.security import container_security
from edgeagent.pods.model import specs
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.model.paths import log_path
from edgeagent.pods.resources import amounts
from edgeagent.pods.resources.kernel import container_resources
from edgeagent.runtime.port import (
    LABEL_CONTAINER_NAME,
    LABEL_POD_NAME,
    LABEL_POD_NAMESPACE,
    LABEL_POD_UID,
    ContainerConfig,
    Device,
    Image,
    Mount,
)
from shared.objects import Json

RESTART_COUNT = "io.kubernetes.container.restartCount"
TERMINATION_PATH = "io.kubernetes.container.terminationMessagePath"
TERMINATION_POLICY = "io.kubernetes.container.terminationMessagePolicy"
TERMINATION_FILE = "kubetide.io/termination-file"
"""The file on the device that is mounted at the termination message path."""
PRE_STOP = "io.kubernetes.container.preStopHandler"
PORTS = "io.kubernetes.container.ports"
TYPE = "io.kubernetes.container.type"
POD_GRACE = "io.kubernetes.pod.terminationGracePeriod"
DELETION_GRACE = "io.kubernetes.pod.deletionGracePeriod"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was made for a container before it is configured."""

    image: Image
    environment: Mapping[str, str]
    mounts: Sequence[Mount] = ()
    devices: Sequence[Device] = ()
    termination_file: str = ""
    groups: Sequence[int] = ()
    """That the pod's volumes ask for."""


def container_config(
    pod: Json, container: Json, *, attempt: int, node: NodeFacts, prepared: Prepared
) -> ContainerConfig:
    known = prepared.environment
    return ContainerConfig(
        name=container["name"],
        attempt=attempt,
        image=prepared.image.id,
        user_image=container.get("image") or "",
        command=tuple(expand(word, known) for word in container.get("command") or ()),
        args=tuple(expand(word, known) for word in container.get("args") or ()),
        working_dir=container.get("workingDir") or "",
        env=tuple(known.items()),
        mounts=tuple(prepared.mounts),
        devices=tuple(prepared.devices),
        labels=_labels(pod, container),
        annotations=container_annotations(
            pod, container, attempt=attempt, file=prepared.termination_file
        ),
        log_path=log_path(container["name"], attempt),
        stdin=bool(container.get("stdin")),
        stdin_once=bool(container.get("stdinOnce")),
        tty=bool(container.get("tty")),
        resources=container_resources(pod, container, node),
        security=container_security(
            *(pod, container),
            image_user=prepared.image.user,
            volume_groups=prepared.groups,
        ),
        stop_signal=specs.stop_signal(container),
    )


def _labels(pod: Json, container: Json) -> dict[str, str]:
    return {
        LABEL_POD_NAME: specs.name_of(pod),
        LABEL_POD_NAMESPACE: specs.namespace_of(pod),
        LABEL_POD_UID: specs.uid_of(pod),
        LABEL_CONTAINER_NAME: container["name"],
    }


def container_annotations(
    pod: Json, container: Json, *, attempt: int, file: str = ""
) -> dict[str, str]:
    found = {
        HASH: specs.identity(container),
        RESTART_COUNT: str(attempt),
        TERMINATION_PATH: termination_path(container),
        TERMINATION_POLICY: container.get("terminationMessagePolicy") or "File",
        TYPE: _kind(pod, container["name"]),
        RESOURCES: _compact(amounts.given(pod, container)),
        POD_GRACE: str(specs.grace_of(pod)),
    }
    if file:
        found[TERMINATION_FILE] = file
    if (deletion := pod["metadata"].get("deletionGracePeriodSeconds")) is not None:
        found[DELETION_GRACE] = str(deletion)
    if pre_stop := (container.get("lifecycle") or {}).get("preStop"):
        found[PRE_STOP] = _compact(pre_stop)
    if ports := container.get("ports"):
        found[PORTS] = _compact(ports)
    return found


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def termination_path(container: Json) -> str:
    path = container.get("terminationMessagePath") or "/dev/termination-log"
    return path if path.startswith("/") else f"/{path}"


def _kind(pod: Json, name: str) -> str:
    if any(one["name"] == name for one in specs.inits(pod)):
        return "init"
    return "ephemeral" if any(one["name"] == name for one in specs.ephemerals(pod)) else "container"
