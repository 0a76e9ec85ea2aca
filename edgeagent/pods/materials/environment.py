"""The environment of a container: ``env``, ``envFrom`` and the API's own service variables.

Pure. Order and precedence are the API's: envFrom first (a later source wins), then ``env`` in
order, each value able to refer to what stands above it; of the variables of Services
(``servicevars.py``) those that the pod does not set itself. What cannot be made raises
``ConfigError``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from edgeagent.pods.materials import fieldrefs, sources
from edgeagent.pods.materials.envfiles import BadEnvFile
from edgeagent.pods.materials.expansion import expand
from edgeagent.pods.materials.servicevars import service_variables
from edgeagent.pods.materials.sources import Missing, Sources
from edgeagent.pods.model import specs
from edgeagent.pods.model.errors import ConfigError
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.model.podevents import PodEvent, warning
from edgeagent.pods.resources.quantities import BadQuantity
from shared.objects import Json

_VALID_NAME = re.compile(r"[ -<>-~]+")
"""Printable ASCII without the equals sign."""

_NO_TEXT = re.compile(r"[\ud800-\udfff]")
"""What stands for bytes that are not UTF-8."""

EnvFile = Callable[[str, str, str], str | None]
"""Volume name, path and variable → its value in that file, None if it is not there; OSError,
ValueError or BadEnvFile if that cannot be told."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Everything outside the container that its environment may quote."""

    pod: Json
    node: NodeFacts
    sources: Sources
    ips: tuple[str, ...]
    env_file: EnvFile


@dataclass(frozen=True, slots=True)
class Environment:
    variables: dict[str, str]
    events: tuple[PodEvent, ...] = ()


def environment(container: Json, around: Surroundings) -> Environment:
    services = service_variables(around.pod, around.sources)
    values: dict[str, str] = {}
    events: list[PodEvent] = []
    for source in container.get("envFrom") or ():
        values.update(_from_source(source, container, around=around, events=events))
    for variable in container.get("env") or ():
        value = _value(variable, container, around=around, known={**services, **values})
        if value is not None:
            values[variable["name"]] = value
    for name, value in values.items():
        _verify_passable(name, value)
    return Environment({**values, **_absent(services, values)}, tuple(events))


def _verify_passable(name: str, value: str) -> None:
    """Here and not where it is passed on: what would fail there shows a part of the value."""
    refused = f"environment variable {name!r:.80} cannot be passed to a process"
    if "\0" in value or "\0" in name or "=" in name or not name:
        raise ConfigError(refused)
    if _NO_TEXT.search(value):
        raise ConfigError(f"{refused}: its value is not text in UTF-8")


def _absent(services: dict[str, str], values: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in services.items() if name not in values}


def _from_source(
    source: Json, container: Json, *, around: Surroundings, events: list[PodEvent]
) -> dict[str, str]:
    kind, ref = _reference(source)
    namespace, name = specs.namespace_of(around.pod), ref.get("name", "")
    found = _object(kind, ref, around)
    if found is None:
        return {}
    prefix = source.get("prefix") or ""
    named = {prefix + key: value for key, value in sorted(sources.texts(kind, found).items())}
    invalid = [key for key in named if not _VALID_NAME.fullmatch(key)]
    if invalid:
        message = (
            f"Keys [{', '.join(invalid)}] from the EnvFrom {kind[0].lower()}{kind[1:]}"
            f" {namespace}/{name} were skipped since they are considered invalid environment"
            " variable names."
        )
        where = specs.field_path(around.pod, container["name"])
        events.append(warning("InvalidEnvironmentVariableNames", message, field_path=where))
    return {key: value for key, value in named.items() if key not in invalid}


def _reference(source: Json) -> tuple[str, Json]:
    if source.get("configMapRef") is not None:
        return "ConfigMap", source["configMapRef"]
    if source.get("secretRef") is not None:
        return "Secret", source["secretRef"]
    raise ConfigError("envFrom names neither a ConfigMap nor a Secret")


def _value(
    variable: Json, container: Json, *, around: Surroundings, known: dict[str, str]
) -> str | None:
    """None: an optional source does not have it, and the variable is left out."""
    if variable.get("value"):
        return expand(variable["value"], known)
    origin = variable.get("valueFrom") or {}
    try:
        return _from_origin(origin, container, around) if origin else ""
    except (ValueError, BadQuantity) as error:
        raise ConfigError(str(error)) from error


def _from_origin(origin: Json, container: Json, around: Surroundings) -> str | None:
    if (ref := origin.get("fieldRef")) is not None:
        if ref.get("fieldPath") in ("metadata.labels", "metadata.annotations"):
            raise ValueError(f"unsupported fieldPath: {ref['fieldPath']}")
        path = str(ref.get("fieldPath"))
        return fieldrefs.field_value(around.pod, path, node=around.node, ips=around.ips)
    if (ref := origin.get("resourceFieldRef")) is not None:
        return _resource(ref, container, around)
    if (ref := origin.get("configMapKeyRef")) is not None:
        return _key("ConfigMap", ref, around)
    if (ref := origin.get("secretKeyRef")) is not None:
        return _key("Secret", ref, around)
    if (ref := origin.get("fileKeyRef")) is not None:
        return _from_file(ref, around)
    raise ValueError(f"valueFrom {', '.join(sorted(origin))} is not supported")


def _resource(ref: Json, container: Json, around: Surroundings) -> str:
    """Of init containers that are named a kubelet knows no limits but their own: it says 0."""
    pod, node = around.pod, around.node
    if not ref.get("containerName"):
        return fieldrefs.resource_value(ref, container, pod=pod, node=node)
    named = fieldrefs.container_of(ref, pod)
    is_limited = any(named is one for one in specs.mains(pod))
    return fieldrefs.resource_value(ref, named, pod=pod, node=node, is_limited=is_limited)


def _key(kind: str, ref: Json, around: Surroundings) -> str | None:
    found = _object(kind, ref, around)
    if found is None:
        return None
    value = sources.texts(kind, found).get(ref.get("key", ""))
    if value is None and not ref.get("optional"):
        where = f"{specs.namespace_of(around.pod)}/{ref.get('name', '')}"
        raise ConfigError(f"couldn't find key {ref.get('key', '')} in {kind} {where}")
    return value


def _object(kind: str, ref: Json, around: Surroundings) -> Json | None:
    """None only when it is missing and optional."""
    namespace = specs.namespace_of(around.pod)
    try:
        return sources.need(around.sources, kind, namespace=namespace, name=ref.get("name", ""))
    except Missing as error:
        if ref.get("optional"):
            return None
        raise ConfigError(str(error)) from error


def _from_file(ref: Json, around: Surroundings) -> str | None:
    key = ref.get("key", "")
    try:
        value = around.env_file(ref.get("volumeName", ""), ref.get("path", ""), key)
    except FileNotFoundError as error:
        if ref.get("optional"):
            return None
        raise ConfigError("couldn't parse env file") from error
    except (OSError, ValueError, BadEnvFile) as error:
        raise ConfigError("couldn't parse env file") from error
    if not value and not ref.get("optional"):
        raise ConfigError(f'environment variable key "{key}" not found in file "{ref.get("path")}"')
    return value or None
