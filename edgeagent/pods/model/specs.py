"""Reading a v1.Pod: the few questions that planning and status ask again and again.

Pure. A pod is the API's JSON as it came; whether it can run at all was decided at admission
(``admission/refusals.py``), so that nothing here meets a list where a map should be.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from typing import Any

from shared.objects import Json

DEFAULT_GRACE = 30
CRITICAL_PRIORITY = 2_000_000_000
"""The least that is reserved for pods of the system."""


def name_of(pod: Json) -> str:
    return str(pod["metadata"]["name"])


def namespace_of(pod: Json) -> str:
    return str(pod["metadata"].get("namespace") or "default")


def uid_of(pod: Json) -> str:
    return str(pod["metadata"].get("uid") or "")


def title(pod: Json) -> str:
    """How a kubelet names a pod in its messages."""
    return f"{name_of(pod)}_{namespace_of(pod)}({uid_of(pod)})"


def mains(pod: Json) -> list[Json]:
    return pod["spec"].get("containers") or []


def inits(pod: Json) -> list[Json]:
    """Init containers in order, the restartable ones (sidecars) among them."""
    return pod["spec"].get("initContainers") or []


def ephemerals(pod: Json) -> list[Json]:
    return pod["spec"].get("ephemeralContainers") or []


def sidecars(pod: Json) -> list[Json]:
    return [one for one in inits(pod) if is_sidecar(one)]


def is_sidecar(init: Json) -> bool:
    return init.get("restartPolicy") == "Always"


def runs_once(pod: Json, container: Json) -> bool:
    """Init containers without the sidecars, and ephemeral ones: a changed spec leaves them be."""
    regular = any(container is one for one in inits(pod)) and not is_sidecar(container)
    return regular or any(container is one for one in ephemerals(pod))


def every_container(pod: Json) -> Iterator[Json]:
    yield from inits(pod)
    yield from mains(pod)
    yield from ephemerals(pod)


def container_named(pod: Json, name: str) -> Json | None:
    return next((one for one in every_container(pod) if one["name"] == name), None)


def restart_policy(pod: Json) -> str:
    return pod["spec"].get("restartPolicy") or "Always"


def grace_of(pod: Json) -> int:
    grace = pod["spec"].get("terminationGracePeriodSeconds")
    if grace is None:
        return DEFAULT_GRACE
    # Older API servers let a negative one through, which stands for one second.
    return int(grace) if int(grace) >= 0 else 1


def deadline_of(pod: Json) -> int | None:
    deadline = pod["spec"].get("activeDeadlineSeconds")
    return None if deadline is None else int(deadline)


def host_ports(pod: Json) -> Iterator[Json]:
    """Ports that the pod takes on the device for as long as it runs; as they are in the spec."""
    for container in (*sidecars(pod), *mains(pod)):
        yield from (port for port in container.get("ports") or () if port.get("hostPort"))


def has_host_ports(pod: Json) -> bool:
    return any(True for _ in host_ports(pod))


def images(pod: Json) -> Iterator[str]:
    """Everything that must be pulled for it, as it is written there."""
    yield from (one.get("image") or "" for one in every_container(pod))
    yield from (str(one.get("reference") or "") for one in image_volumes(pod).values())


def used_volumes(pod: Json) -> set[str]:
    """Names of those that a container mounts or has as a device."""
    used = set[str]()
    for one in every_container(pod):
        used.update(mount["name"] for mount in one.get("volumeMounts") or ())
        used.update(device["name"] for device in one.get("volumeDevices") or ())
    return used


def image_volumes(pod: Json) -> dict[str, Json]:
    """Volumes that are images, by name: ``reference`` and ``pullPolicy``."""
    volumes = pod["spec"].get("volumes") or ()
    return {one["name"]: one["image"] for one in volumes if one.get("image") is not None}


def claims(pod: Json) -> dict[str, str]:
    """Names of the claims that its volumes stand for, by volume; the cluster makes those of
    ephemeral ones for the pod alone."""
    volumes = pod["spec"].get("volumes") or ()
    named = {
        one["name"]: str(one["persistentVolumeClaim"].get("claimName"))
        for one in volumes
        if one.get("persistentVolumeClaim") is not None
    }
    own = (one["name"] for one in volumes if one.get("ephemeral") is not None)
    return {**named, **{name: f"{name_of(pod)}-{name}" for name in own}}


def runtime_class(pod: Json) -> str:
    """Empty for none."""
    return str(pod["spec"].get("runtimeClassName") or "")


def on_host_network(pod: Json) -> bool:
    return bool(pod["spec"].get("hostNetwork"))


def placed(pod: Json) -> Iterator[tuple[str, Json]]:
    """The containers and init containers, each with its path from the pod's root."""
    for field, containers in (("containers", mains(pod)), ("initContainers", inits(pod))):
        for index, one in enumerate(containers):
            yield f"spec.{field}[{index}]", one


def stop_signal(container: Json) -> str:
    """Empty when it is left to the image."""
    return str((container.get("lifecycle") or {}).get("stopSignal") or "")


def field_path(pod: Json, name: str) -> str:
    """Where an Event about a container points to."""
    for field, containers in (
        ("containers", mains(pod)),
        ("initContainers", inits(pod)),
        ("ephemeralContainers", ephemerals(pod)),
    ):
        if any(one["name"] == name for one in containers):
            return f"spec.{field}{{{name}}}"
    return ""


def identity(container: Json) -> str:
    """Changes when a running container no longer is what the spec asks for (as on a kubelet)."""
    named: dict[str, Any] = {"name": container["name"], "image": container.get("image", "")}
    return f"{zlib.crc32(json.dumps(named, sort_keys=True).encode()):08x}"
