"""What hooks and probes do to a container: where to connect, and what the spec's words mean.

Owns the reading of ``httpGet``, ``tcpSocket``, ``exec`` and ``grpc`` handlers; pure but for
``connect``. Ports may be names of the container's own ports.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

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
    if isinstance(port, int):
        return port
    if isinstance(port, str) and port.isdecimal():
        return int(port)
    for one in target.spec.get("ports") or ():
        if one.get("name") == port:
            return int(one["containerPort"])
    raise BadHandler(f"couldn't find port: {port}")


def url_of(target: Target, http_get: Json) -> str:
    scheme = (http_get.get("scheme") or "HTTP").lower()
    host = http_get.get("host") or target.host
    path = http_get.get("path") or "/"
    where = f"[{host}]" if ":" in host else host
    slash = "" if path.startswith("/") else "/"
    return f"{scheme}://{where}:{port_of(target, http_get.get('port'))}{slash}{path}"


def headers_of(http_get: Json) -> dict[str, str]:
    return {one["name"]: one.get("value") or "" for one in http_get.get("httpHeaders") or ()}


async def connect(host: str, port: int) -> None:
    """Raises OSError when nobody listens."""
    _, writer = await asyncio.open_connection(host, port)
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
