"""What a server refuses in a new object, field by field. Pure: an object in, causes out.

Only rules that a user of this project can meet are here: names, labels, annotations, and the parts
of pods, config maps, secrets and events that the clients rely on. ``updates`` has the rules for a
change of an existing object.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Iterator
from typing import Any

from devcluster.apiserver.resources import Resource
from devcluster.apiserver.status import (
    Cause,
    Json,
    duplicate_value,
    invalid_value,
    required,
    unsupported_value,
)

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(rf"{_LABEL.pattern}(\.{_LABEL.pattern})*")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+")

_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_QUALIFIED_TEXT = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character"
)
_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character"
)
_KEY_TEXT = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"

_ANNOTATION_BYTES = 256 * 1024
_DATA_BYTES = 1024 * 1024


def validate(resource: Resource, obj: Json) -> list[Cause]:
    """Every cause to refuse ``obj`` as a new or as a changed object."""
    causes = list(_metadata(resource, obj["metadata"]))
    check = _CHECKS.get(resource.kind)
    if check is not None:
        causes += check(obj)
    return causes


def _metadata(resource: Resource, metadata: Json) -> Iterator[Cause]:
    name = metadata.get("name")
    if not name:
        yield required("metadata.name", "name or generateName is required")
    else:
        labels_only = resource.kind in ("Namespace", "Service")
        yield from name_causes("metadata.name", name, label=labels_only)
    yield from labels_causes("metadata.labels", metadata.get("labels") or {})
    for key in metadata.get("annotations") or {}:
        yield from _qualified("metadata.annotations", key.lower())
    if _size(metadata.get("annotations") or {}) > _ANNOTATION_BYTES:
        text = f"Too long: must have at most {_ANNOTATION_BYTES} bytes"
        yield Cause("metadata.annotations", text, "FieldValueTooLong")
    for finalizer in metadata.get("finalizers") or []:
        yield from _qualified("metadata.finalizers", finalizer)


def name_causes(field: str, name: str, *, label: bool) -> Iterator[Cause]:
    pattern, text, most = (_LABEL, _LABEL_TEXT, 63) if label else (_SUBDOMAIN, _SUBDOMAIN_TEXT, 253)
    if len(name) > most:
        yield invalid_value(field, name, f"must be no more than {most} characters")
    if not pattern.fullmatch(name):
        yield invalid_value(field, name, text)


def labels_causes(field: str, labels: Json) -> Iterator[Cause]:
    for key, value in labels.items():
        yield from _qualified(field, key)
        if len(value) > 63:
            yield invalid_value(field, value, "must be no more than 63 characters")
        elif value and not _QUALIFIED.fullmatch(value):
            yield invalid_value(field, value, _VALUE_TEXT)


def _qualified(field: str, key: str) -> Iterator[Cause]:
    prefix, slash, name = key.rpartition("/")
    if slash and (not _SUBDOMAIN.fullmatch(prefix) or len(prefix) > 253):
        yield invalid_value(field, key, f"prefix part {_SUBDOMAIN_TEXT}")
    if len(name) > 63 or not _QUALIFIED.fullmatch(name):
        yield invalid_value(field, key, _QUALIFIED_TEXT)


def _size(data: Json) -> int:
    return sum(len(key.encode()) + len(value.encode()) for key, value in data.items())


def _pod(pod: Json) -> Iterator[Cause]:
    spec = pod.get("spec") or {}
    if not spec.get("containers"):
        yield required("spec.containers")
    if spec.get("restartPolicy") not in ("Always", "OnFailure", "Never"):
        choices = ("Always", "OnFailure", "Never")
        yield unsupported_value("spec.restartPolicy", spec.get("restartPolicy"), choices)
    if (grace := spec.get("terminationGracePeriodSeconds", 0)) < 0:
        text = "must be greater than or equal to 0"
        yield invalid_value("spec.terminationGracePeriodSeconds", grace, text)
    if name := spec.get("nodeName"):
        yield from name_causes("spec.nodeName", name, label=False)
    yield from _unique_names("spec.volumes", spec.get("volumes") or [])
    yield from _containers(spec)


def _containers(spec: Json) -> Iterator[Cause]:
    volumes = {volume.get("name") for volume in spec.get("volumes") or []}
    taken: set[str] = set()
    for field in ("containers", "initContainers"):
        for at, container in enumerate(spec.get(field) or []):
            where = f"spec.{field}[{at}]"
            name = container.get("name", "")
            yield from _name_within(where, name, taken)
            yield from _container(where, container, volumes)


def _name_within(where: str, name: str, taken: set[str]) -> Iterator[Cause]:
    """A DNS label that nothing before it in the pod has."""
    if not name:
        yield required(f"{where}.name")
        return
    yield from name_causes(f"{where}.name", name, label=True)
    if name in taken:
        yield duplicate_value(f"{where}.name", name)
    taken.add(name)


def _container(where: str, container: Json, volumes: set[Any]) -> Iterator[Cause]:
    if not container.get("image"):
        yield required(f"{where}.image")
    policies = ("Always", "IfNotPresent", "Never")
    if container.get("imagePullPolicy") not in policies:
        yield unsupported_value(
            f"{where}.imagePullPolicy", container.get("imagePullPolicy"), policies
        )
    for at, port in enumerate(container.get("ports") or []):
        yield from _port(f"{where}.ports[{at}]", port)
    for at, mount in enumerate(container.get("volumeMounts") or []):
        field = f"{where}.volumeMounts[{at}]"
        if mount.get("name") not in volumes:
            text = f'Not found: "{mount.get("name", "")}"'
            yield Cause(f"{field}.name", text, "FieldValueNotFound")
        if not mount.get("mountPath"):
            yield required(f"{field}.mountPath")
    for at, variable in enumerate(container.get("env") or []):
        if not variable.get("name"):
            yield required(f"{where}.env[{at}].name")
        if variable.get("value") and variable.get("valueFrom"):
            text = "may not be specified when `value` is not empty"
            yield invalid_value(f"{where}.env[{at}].valueFrom", "", text)


def _port(field: str, port: Json) -> Iterator[Cause]:
    if not port.get("containerPort"):
        yield required(f"{field}.containerPort")
    for name in ("containerPort", "hostPort"):
        if port.get(name) and not 0 < port[name] < 65536:
            text = "must be between 1 and 65535, inclusive"
            yield invalid_value(f"{field}.{name}", port[name], text)
    protocols = ("SCTP", "TCP", "UDP")
    if port.get("protocol") not in protocols:
        yield unsupported_value(f"{field}.protocol", port.get("protocol"), protocols)


def _unique_names(field: str, items: list[Json]) -> Iterator[Cause]:
    taken: set[str] = set()
    for at, item in enumerate(items):
        yield from _name_within(f"{field}[{at}]", item.get("name", ""), taken)


def _config_map(config_map: Json) -> Iterator[Cause]:
    text, binary = config_map.get("data") or {}, config_map.get("binaryData") or {}
    for field, part in (("data", text), ("binaryData", binary)):
        for key in part:
            if not _CONFIG_KEY.fullmatch(key) or len(key) > 253:
                yield invalid_value(f"{field}[{key}]", key, _KEY_TEXT)
    for key in text.keys() & binary.keys():
        yield invalid_value(f"data[{key}]", key, "duplicate of key present in binaryData")
    if _size(text) + sum(len(b64decode(value)) for value in binary.values()) > _DATA_BYTES:
        yield Cause("", f"Too long: must have at most {_DATA_BYTES} bytes", "FieldValueTooLong")


def _secret(secret: Json) -> Iterator[Cause]:
    data = secret.get("data") or {}
    for key in data:
        if not _CONFIG_KEY.fullmatch(key) or len(key) > 253:
            yield invalid_value(f"data[{key}]", key, _KEY_TEXT)
    if sum(len(b64decode(value)) for value in data.values()) > _DATA_BYTES:
        text = f"Too long: must have at most {_DATA_BYTES} bytes"
        yield Cause("data", text, "FieldValueTooLong")


def _event(event: Json) -> Iterator[Cause]:
    about = event.get("involvedObject") or {}
    namespace = event["metadata"].get("namespace")
    if about.get("namespace", "default") != namespace and (
        about.get("namespace") or namespace != "default"
    ):
        text = "does not match event.namespace"
        yield invalid_value("involvedObject.namespace", about.get("namespace", ""), text)


def _node(node: Json) -> Iterator[Cause]:
    effects = ("NoSchedule", "PreferNoSchedule", "NoExecute")
    seen: set[tuple[Any, Any]] = set()
    for at, taint in enumerate((node.get("spec") or {}).get("taints") or []):
        field = f"spec.taints[{at}]"
        yield from _qualified(f"{field}.key", taint.get("key", ""))
        if taint.get("effect") not in effects:
            yield unsupported_value(f"{field}.effect", taint.get("effect", ""), effects)
        pair = (taint.get("key"), taint.get("effect"))
        if pair in seen:
            yield duplicate_value(field, taint)
        seen.add(pair)


def _lease(lease: Json) -> Iterator[Cause]:
    duration = (lease.get("spec") or {}).get("leaseDurationSeconds")
    if duration is not None and duration <= 0:
        yield invalid_value("spec.leaseDurationSeconds", duration, "must be greater than 0")


_CHECKS: dict[str, Callable[[Json], Iterator[Cause]]] = {
    "Pod": _pod,
    "Node": _node,
    "ConfigMap": _config_map,
    "Secret": _secret,
    "Event": _event,
    "Lease": _lease,
}
