"""What hooks and probes do to a container: where to connect, and what the spec's words mean.

Owns the reading of ``httpGet``, ``tcpSocket``, ``exec`` and ``grpc`` handlers; pure but for
``connect``. Ports may be names of the container's own ports.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from edgeagent.pods.materials.expansion import expand
from edgeagent.pods.probing import dialing
from edgeagent.pods.probing.allowance import Allowance
from shared.objects import Json


class BadHandler(Exception):
    """The handler names something that is not there; the text says what."""


@dataclass(frozen=True, slots=True)
class Target:
    """The container that a handler is run against."""

    spec: Json
    container_id: str
    ips: tuple[str, ...]
    """Of the pod; of the device, for a pod on its network."""

    @property
    def host(self) -> str:
        if not self.ips:
            raise BadHandler("the pod has no IP address")
        return self.ips[0]


def port_of(target: Target, port: object) -> int:
    """A number, a number as text, or the name of one of the container's ports."""
    number = _number(target, port)
    if not 0 < number < 65536:
        raise BadHandler(f"invalid port number: {number}")
    return number


def _number(target: Target, port: object) -> int:
    if isinstance(port, int):
        return port
    for one in target.spec.get("ports") or ():
        if one.get("name") == port:
            return int(one["containerPort"])
    if isinstance(port, str) and port.isdecimal():
        return int(port)
    raise BadHandler(f"couldn't find port: {port}")


def url_of(target: Target, http_get: Json) -> str:
    """The path may have a query; what stands for scheme or host in it counts for nothing."""
    scheme = (http_get.get("scheme") or "HTTP").lower()
    host = http_get.get("host") or target.host
    where = dialing.address(host, port_of(target, http_get.get("port")))
    try:
        urlsplit(f"{scheme}://{where}")
        parts = urlsplit(http_get.get("path") or "/")
    except ValueError as error:
        raise BadHandler(f'parse "{where}{http_get.get("path") or ""}": {error}') from error
    slash = "" if parts.path.startswith("/") else "/"
    query = f"?{parts.query}" if parts.query else ""
    return f"{scheme}://{where}{slash}{parts.path}{query}"


def headers_of(http_get: Json) -> list[tuple[str, str]]:
    """All of them, in order: a name may be listed more than once."""
    return [(one["name"], one.get("value") or "") for one in http_get.get("httpHeaders") or ()]


def probe_command_of(target: Target, handler: Json) -> list[str]:
    """The command of an exec probe. What it may refer to are the plain values in ``env``."""
    known = {one["name"]: one.get("value") or "" for one in target.spec.get("env") or ()}
    return [expand(word, known) for word in handler.get("command") or ()]


async def connect(host: str, port: int, *, allowance: Allowance | None = None) -> None:
    """Raises DialFailed when nobody listens."""
    async with dialing.dialed(host, port, allowance=allowance):
        pass
