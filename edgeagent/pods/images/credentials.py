"""imagePullSecrets: which login fits which image.

Pure. Reads both Secret types (``dockerconfigjson`` and ``dockercfg``). An entry names a registry,
perhaps with wildcards in its host labels, perhaps with a path; the most specific one that matches
is tried first. Broken Secrets hold no logins, and no login ever enters a message.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from edgeagent.pods.images.references import DOCKER_HUB, Reference
from edgeagent.pods.materials.sources import contents
from edgeagent.runtime.port import ImageAuth
from shared.objects import Json

_HUB_NAMES = {"index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}


def logins(secrets: Iterable[Json], image: Reference) -> list[ImageAuth]:
    """Every login that fits the image, without repetitions, the most specific entry first."""
    fitting = [
        (len(pattern), auth)
        for secret in secrets
        for pattern, auth in _entries(secret)
        if _matches(pattern, image)
    ]
    fitting.sort(key=lambda one: one[0], reverse=True)
    return list(dict.fromkeys(auth for _, auth in fitting))


def _entries(secret: Json) -> list[tuple[str, ImageAuth]]:
    """(registry and path, login) of one Secret."""
    data = contents("Secret", secret)
    config = _json(data.get(".dockerconfigjson"))
    logged_in = config.get("auths") if config else _json(data.get(".dockercfg"))
    if not isinstance(logged_in, dict):
        return []
    found = ((_normal(server), _auth(entry)) for server, entry in logged_in.items())
    return [(server, auth) for server, auth in found if auth is not None]


def _json(data: bytes | None) -> dict[str, Any]:
    try:
        value = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _normal(server: str) -> str:
    """Host and path, without scheme, API version and the many names of Docker Hub."""
    host, slash, rest = server.split("://", 1)[-1].partition("/")
    path = slash + rest
    if path.startswith(("/v1/", "/v2/")):
        path = path[3:]
    return f"{DOCKER_HUB if host in _HUB_NAMES else host}{'' if path == '/' else path}"


def _auth(entry: Any) -> ImageAuth | None:
    if not isinstance(entry, dict):
        return None
    name, password = _decoded(entry.get("auth"))
    auth = ImageAuth(
        username=name or _text(entry, "username"),
        password=password or _text(entry, "password"),
        identity_token=_text(entry, "identitytoken"),
        registry_token=_text(entry, "registrytoken"),
    )
    return None if auth == ImageAuth() else auth


def _text(entry: dict[str, Any], field: str) -> str:
    """Half a character, which JSON lets pass, is in no login."""
    value = entry.get(field)
    if not isinstance(value, str) or any("\ud800" <= one <= "\udfff" for one in value):
        return ""
    return value


def _decoded(auth: Any) -> tuple[str, str]:
    """Line breaks in it, and padding that it lacks, are as good as none, as for a kubelet."""
    bare = str(auth or "").replace("\r", "").replace("\n", "")
    padded = bare if bare.endswith("=") else bare + "=" * (-len(bare) % 4)
    try:
        text = base64.b64decode(padded, validate=True).decode()
    except (binascii.Error, ValueError):
        return "", ""
    name, _, password = text.partition(":")
    return name, password


def _matches(pattern: str, image: Reference) -> bool:
    """Label by label, so that a wildcard never spans a dot; the path is a plain prefix: as on a
    kubelet, ``/team`` fits ``/teams/app``, and ``/team/`` does not."""
    host, slash, path = pattern.partition("/")
    wanted, wanted_port = _host(host)
    found, found_port = _host(image.domain)
    labels, found_labels = wanted.split("."), found.split(".")
    return (
        wanted_port == found_port
        and len(labels) == len(found_labels)
        and all(map(fnmatchcase, found_labels, labels))
        and f"/{image.path}".startswith(slash + path)
    )


def _host(text: str) -> tuple[str, str]:
    host, colon, port = text.rpartition(":")
    return (host, port) if colon and port.isdecimal() else (text, "")
