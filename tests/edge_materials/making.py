"""Pods, nodes and objects as these tests write them: only what a test is about stands in it."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.runtime.port import DnsConfig
from shared.objects import Json, ObjectKey

UID = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"

NODE = NodeFacts(
    name="edge-1",
    ips=("192.0.2.10",),
    allocatable={
        "cpu": Fraction(2),
        "memory": Fraction(4 * 1024**3),
        "pods": Fraction(3),
        "ephemeral-storage": Fraction(10**10),
    },
    memory_capacity=4 * 1024**3,
    host_dns=DnsConfig(servers=("192.0.2.53",), searches=("example.net",)),
)


def container(name: str = "main", **fields: Any) -> Json:
    return {"name": name, "image": "busybox:1", **fields}


def pod(*containers: Json, metadata: Json | None = None, **spec: Any) -> Json:
    """Without containers of its own, one that mounts all volumes."""
    names = [one["name"] for one in spec.get("volumes") or ()]
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in names]
    return {
        "metadata": {"name": "web", "namespace": "default", "uid": UID, **(metadata or {})},
        "spec": {"containers": list(containers) or [container(volumeMounts=mounts)], **spec},
    }


def config_map(name: str, **data: str) -> Json:
    return {"kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": data}


def secret(name: str, **data: str) -> Json:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"kind": "Secret", "metadata": {"name": name, "namespace": "default"}, "data": encoded}


def claim(name: str = "data", *, volume: str = "pv-1", **status: Any) -> Json:
    return {
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-of-{name}"},
        "spec": {"volumeName": volume},
        "status": {"phase": "Bound", **status},
    }


def persistent_volume(name: str = "pv-1", *, of: str = "data", **spec: Any) -> Json:
    """As the hub sends it; ``of`` is the claim that it is bound to."""
    return {
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "claimRef": {"uid": f"uid-of-{of}"}, **spec},
    }


def service(name: str, ip: str, *ports: Json, namespace: str = "default") -> Json:
    """As the hub sends it."""
    metadata = {"name": name, "namespace": namespace}
    spec = {"clusterIP": ip, "ports": list(ports)}
    return {"kind": "Service", "metadata": metadata, "spec": spec}


class Objects:
    """The objects that this node has."""

    def __init__(self, *objects: Json) -> None:
        self._objects = dict(_keyed(objects))
        self.awaited: set[ObjectKey] = set()

    def get(self, key: ObjectKey) -> Json | None:
        return self._objects.get(key)

    def services(self, namespace: str) -> dict[str, Json]:
        there = self._objects.items()
        return {k.name: one for k, one in there if (k.kind, k.namespace) == ("Service", namespace)}

    def awaited_services(self, namespace: str) -> set[str]:
        return {key.name for key in self.awaited if key.namespace == namespace}

    def put(self, *objects: Json) -> None:
        self._objects.update(_keyed(objects))

    def drop(self, obj: Json) -> None:
        del self._objects[ObjectKey.of(obj["kind"], obj)]


def _keyed(objects: Iterable[Json]) -> Iterable[tuple[ObjectKey, Json]]:
    return [(ObjectKey.of(one["kind"], one), one) for one in objects]


class SteppedClock:
    """Stands still; ``sleep`` and ``pass_by`` move it."""

    def __init__(self) -> None:
        self._moved = 0.0

    def now(self) -> float:
        return 1_700_000_000.0 + self._moved

    def monotonic(self) -> float:
        return self._moved

    async def sleep(self, seconds: float) -> None:
        self._moved += seconds

    def pass_by(self, seconds: float) -> None:
        self._moved += seconds
