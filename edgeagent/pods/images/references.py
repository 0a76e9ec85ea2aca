"""Image references: ``registry:port/path/name:tag@digest``, as Docker and Kubernetes read them.

Pure. ``busybox`` means ``docker.io/library/busybox:latest``. What is no reference raises
``InvalidImageName``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgeagent.runtime.port import InvalidImageName

DOCKER_HUB = "docker.io"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PART}(?:/{_PART})*")
_LABEL = r"[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,128}")
_LONGEST_NAME = 255


@dataclass(frozen=True, slots=True)
class Reference:
    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def repository(self) -> str:
        return f"{self.domain}/{self.path}"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.repository}{tag}" + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """Normalised: the registry is always there, and a tag unless there is a digest."""
    rest, at, digest = text.partition("@")
    name, tag = _split_tag(rest)
    domain, path = _split_domain(name)
    ok = (
        _DOMAIN.fullmatch(domain)
        and _PATH.fullmatch(path)
        and len(path) <= _LONGEST_NAME
        and (not at or _DIGEST.fullmatch(digest))
        and (tag is None or _TAG.fullmatch(tag))
    )
    if not ok:
        raise InvalidImageName(f'couldn\'t parse image name "{text:.300}": {_why(path)}')
    return Reference(domain, path, tag or ("" if digest else "latest"), digest)


def tagged(text: str) -> str:
    """As it was written, with ``:latest`` where neither tag nor digest was."""
    reference = parse(text)
    bare = not reference.digest and _split_tag(text)[1] is None
    return f"{text}:latest" if bare else text


def pull_policy(container_policy: str, image: str) -> str:
    """What the API server fills in when a pod says nothing."""
    if container_policy:
        return container_policy
    return "Always" if tagged(image).endswith(":latest") else "IfNotPresent"


def _split_tag(text: str) -> tuple[str, str | None]:
    head, colon, tail = text.rpartition(":")
    return (head, tail) if colon and "/" not in tail else (text, None)


def _split_domain(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    is_domain = "." in first or ":" in first or first == "localhost" or first != first.lower()
    if slash and is_domain:
        domain = DOCKER_HUB if first == "index.docker.io" else first
        path = rest if domain != DOCKER_HUB or "/" in rest else f"library/{rest}"
        return domain, path
    return DOCKER_HUB, name if slash else f"library/{name}"


def _why(path: str) -> str:
    if path != path.lower():
        return f"invalid reference format: repository name ({path:.300}) must be lowercase"
    return "invalid reference format"
