"""Pods, and what they name, as the API server has them: only what a test is about stands in it."""

from __future__ import annotations

from typing import Any

from shared.objects import NO_NAMESPACE, ObjectKey

CLAIMS = ["claim-1", "claim-2"]


def pod(name: str, node: str, named: list[str], *, uid: str = "u", version: int = 1) -> Any:
    """``named`` are ConfigMaps and claims."""
    sources = [{"configMapRef": {"name": one}} for one in named if one not in CLAIMS]
    volumes = [
        {"name": one, "persistentVolumeClaim": {"claimName": one}} for one in named if one in CLAIMS
    ]
    spec = {"nodeName": node, "containers": [{"name": "c", "envFrom": sources}]}
    return {
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": uid,
            "resourceVersion": str(version),
        },
        "spec": {**spec, "volumes": volumes},
        "status": {"phase": "Pending"},
    }


def config(name: str, text: str, version: int) -> Any:
    metadata = {"name": name, "namespace": "default", "uid": "u", "resourceVersion": str(version)}
    return {"metadata": metadata, "data": {"text": text}}


def claim(name: str, volume: str | None, version: int = 1) -> Any:
    metadata = {"name": name, "namespace": "default", "uid": "u", "resourceVersion": str(version)}
    return {
        "metadata": {**metadata, "annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
        "spec": {"volumeName": volume, "resources": {"requests": {"storage": "1Gi"}}},
        "status": {"phase": "Bound" if volume else "Pending", "capacity": {"storage": "1Gi"}},
    }


def volume(name: str, path: str, version: int = 1) -> Any:
    return {
        "metadata": {"name": name, "resourceVersion": str(version)},
        "spec": {"capacity": {"storage": "1Gi"}, "local": {"path": path}},
        "status": {"phase": "Bound"},
    }


def key(kind: str, name: str) -> ObjectKey:
    return ObjectKey(kind, "default", name)


def claim_key(name: str) -> ObjectKey:
    return key("PersistentVolumeClaim", name)


def volume_key(name: str) -> ObjectKey:
    return ObjectKey("PersistentVolume", NO_NAMESPACE, name)
