"""The objects that a pod names, the Services, and the values of ConfigMaps and Secrets.

``Sources`` is the port: the desired set of the device. Values of a Secret never enter a message.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Mapping
from typing import Protocol

from shared.objects import NO_NAMESPACE, Json, ObjectKey, is_name


class Sources(Protocol):
    def get(self, key: ObjectKey) -> Json | None:
        """The object as last delivered; None = it is not among what this node should have."""
        ...

    def services(self, namespace: str) -> Mapping[str, Json]:
        """By name, those of the namespace that are here."""
        ...

    def awaited_services(self, namespace: str) -> Collection[str]:
        """Names of those that this node should have and of which nothing has come yet."""
        ...


class Missing(Exception):
    """An object is not here; the text is a kubelet's."""


def find(sources: Sources, kind: str, *, namespace: str, name: str) -> Json | None:
    """None for an object that is not here, or that cannot exist under such a name."""
    if not is_name(name) or not (is_name(namespace) or namespace == NO_NAMESPACE):
        return None
    return sources.get(ObjectKey(kind, namespace, name))


def need(sources: Sources, kind: str, *, namespace: str, name: str) -> Json:
    found = find(sources, kind, namespace=namespace, name=name)
    if found is None:
        raise Missing(f'{kind.lower()} "{name}" not found')
    return found


def contents(kind: str, obj: Json) -> dict[str, bytes]:
    """Every key of a ConfigMap or Secret as bytes."""
    data = obj.get("data") or {}
    if kind == "Secret":
        return {key: _decoded(value) for key, value in data.items()}
    texts = {key: str(value).encode() for key, value in data.items()}
    return {**texts, **{key: _decoded(one) for key, one in (obj.get("binaryData") or {}).items()}}


def texts(kind: str, obj: Json) -> dict[str, str]:
    """What environment variables can be made of: of a ConfigMap only ``data``, not binaryData."""
    data = obj.get("data") or {}
    if kind == "ConfigMap":
        return {key: str(value) for key, value in data.items()}
    return {key: _decoded(value).decode(errors="surrogateescape") for key, value in data.items()}


def _decoded(value: object) -> bytes:
    """Base64 as the API server validated it; what is not is empty rather than a crash."""
    try:
        return base64.b64decode(str(value), validate=True)
    except (binascii.Error, ValueError):
        return b""
