"""What stands in the files of configMap, secret, downwardAPI and projected volumes.

Pure: from a volume and the objects it names to ``Files``; nothing is written here. Raises
``ValueError`` or ``Missing`` with a kubelet's words when something is not there that is not
optional. Paths are checked again although the API server did: they become paths on this device.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from edgeagent.pods.materials import fieldrefs, sources
from edgeagent.pods.materials.sources import Missing, Sources
from edgeagent.pods.model import specs
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.model.podevents import Record
from shared.asking import DEFAULT_SECONDS
from shared.objects import Json

DEFAULT_MODE = 0o644
_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")


@dataclass(frozen=True, slots=True)
class File:
    data: bytes
    mode: int
    owner: int | None = None
    """Uid, where only one user may read it."""


Files = Mapping[str, File]


class Tokens(Protocol):
    """Service account tokens of pods, as the hub delivered them."""

    async def ready(self, pod: Json) -> None:
        """Wait, for seconds at most, for what may come any moment."""
        ...

    def token(self, pod: Json, *, audience: str, seconds: int) -> bytes:
        """The newest there is; raises ``Missing`` with the reason. Called from any thread."""
        ...


class NoTokens:
    """For an agent that no hub gives tokens."""

    async def ready(self, pod: Json) -> None:
        """Nothing will come."""

    def token(self, pod: Json, *, audience: str, seconds: int) -> bytes:
        account = pod["spec"].get("serviceAccountName") or "default"
        raise Missing(
            f'failed to fetch token: this node gets no tokens for service account "{account}" yet;'
            " a pod that needs none says automountServiceAccountToken: false"
        )


@dataclass(frozen=True, slots=True)
class Origin:
    """Everything that the contents of a volume may quote, and who hears of what comes of it."""

    pod: Json
    node: NodeFacts
    sources: Sources
    tokens: Tokens
    record: Record = lambda event: None


@dataclass(frozen=True, slots=True)
class _Defaults:
    """Mode and owner of files that say nothing of their own."""

    mode: int
    owner: int | None

    def file(self, data: bytes, item: Json) -> File:
        owner = item.get("user")
        return File(
            data, _mode(item.get("mode"), self.mode), self.owner if owner is None else owner
        )


def files_of(kind: str, volume: Json, origin: Origin) -> dict[str, File]:
    """``volume`` is the part below ``configMap:``, ``secret:``, ``downwardAPI:``, ``projected:``"""
    defaults = _Defaults(_mode(volume.get("defaultMode"), DEFAULT_MODE), volume.get("defaultUser"))
    if kind == "projected":
        projected = volume.get("sources") or ()
        return _together(partial(_projected, one, origin, defaults) for one in projected)
    return _single(kind, volume, origin, defaults=defaults)


def _together(parts: Iterable[Callable[[], dict[str, File]]]) -> dict[str, File]:
    """All of them, or everything that is lacking: each is said once, and one alone plainly."""
    files: dict[str, File] = {}
    lacking: dict[str, Exception] = {}
    for part in parts:
        try:
            files.update(part())
        except (ValueError, Missing) as error:
            words = error.args if isinstance(error, _Several) else (str(error),)
            lacking |= dict.fromkeys(words, error)
    if len(lacking) > 1:
        raise _Several(*lacking)
    if lacking:
        raise next(iter(lacking.values()))
    return files


class _Several(Missing):
    """What is lacking, in the order of the volume."""

    def __str__(self) -> str:
        return f"[{', '.join(self.args)}]"


def _projected(source: Json, origin: Origin, defaults: _Defaults) -> dict[str, File]:
    for kind, part in source.items():
        if part is not None:
            return _single(kind, part, origin, defaults=defaults)
    return {}


def _single(kind: str, part: Json, origin: Origin, *, defaults: _Defaults) -> dict[str, File]:
    if kind == "configMap":
        return _keys("ConfigMap", part, origin, defaults=defaults)
    if kind == "secret":
        return _keys("Secret", part, origin, defaults=defaults)
    if kind == "downwardAPI":
        return _downward(part, origin, defaults)
    if kind == "serviceAccountToken":
        return _token(part, origin, defaults)
    raise ValueError(f"projected source {kind} is not supported on this node")


def _keys(kind: str, part: Json, origin: Origin, *, defaults: _Defaults) -> dict[str, File]:
    name = part.get("secretName") or part.get("name") or ""
    namespace = specs.namespace_of(origin.pod)
    optional = bool(part.get("optional"))
    found = sources.find(origin.sources, kind, namespace=namespace, name=name)
    if found is None and not optional:
        raise Missing(f'{kind.lower()} "{name}" not found')
    data = sources.contents(kind, found or {})
    if not part.get("items"):
        return {_key(key): defaults.file(value, {}) for key, value in data.items()}
    files: dict[str, File] = {}
    for item in part["items"]:
        if item["key"] in data:
            files[checked(item["path"])] = defaults.file(data[item["key"]], item)
        elif not optional:
            config = "configmap " if kind == "ConfigMap" else ""
            what = "config" if kind == "ConfigMap" else "secret"
            raise ValueError(f"{config}references non-existent {what} key: {item['key']}")
    return files


def _downward(part: Json, origin: Origin, defaults: _Defaults) -> dict[str, File]:
    return _together(partial(_shown, one, origin, defaults) for one in part.get("items") or ())


def _shown(item: Json, origin: Origin, defaults: _Defaults) -> dict[str, File]:
    return {checked(item["path"]): defaults.file(_field(item, origin).encode(), item)}


def _field(item: Json, origin: Origin) -> str:
    if (ref := item.get("fieldRef")) is not None:
        path = str(ref.get("fieldPath"))
        return fieldrefs.field_value(origin.pod, path, node=origin.node, ips=())
    ref = item.get("resourceFieldRef") or {}
    container = fieldrefs.container_of(ref, origin.pod)
    return fieldrefs.resource_value(ref, container, pod=origin.pod, node=origin.node)


def _token(part: Json, origin: Origin, defaults: _Defaults) -> dict[str, File]:
    """For the one user it is meant for, or that all containers run as; else the pod's group."""
    token = origin.tokens.token(
        origin.pod,
        audience=part.get("audience") or "",
        seconds=int(part.get("expirationSeconds") or DEFAULT_SECONDS),
    )
    context = origin.pod["spec"].get("securityContext") or {}
    owner = defaults.file(b"", part).owner
    owner = _only_user(origin.pod) if owner is None else owner
    private = owner is not None or context.get("fsGroup") is not None
    return {checked(part["path"]): File(token, 0o600 if private else defaults.mode, owner)}


def _only_user(pod: Json) -> int | None:
    default = (pod["spec"].get("securityContext") or {}).get("runAsUser")
    users = {
        (one.get("securityContext") or {}).get("runAsUser", default)
        for one in specs.every_container(pod)
    }
    only = users.pop() if len(users) == 1 else None
    return None if only is None else int(only)


def _mode(value: Any, default: int) -> int:
    if value is None:
        return default
    if not isinstance(value, int) or not 0 <= value <= 0o777:
        raise ValueError(f"{value!r:.20} is not a file mode")
    return value


def _key(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r:.80} is not a valid key")
    return checked(key)


def checked(path: str) -> str:
    """A relative path that stays inside its volume and apart from the ``..`` names used there.

    Written as short as it can be: ``./a//b/`` is a good name for ``a/b``, as on a kubelet.
    """
    parts = path.split("/")
    if not path or path.startswith("/") or "\0" in path or ".." in parts:
        raise ValueError(f"invalid path: {path!r:.200}")
    named = [part for part in parts if part not in ("", ".")]
    if not named or named[0].startswith(".."):
        raise ValueError(f"invalid path: {path!r:.200}")
    return "/".join(named)
