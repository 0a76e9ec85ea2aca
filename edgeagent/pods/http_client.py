"""HTTP GET for hooks and probes: one request per connection, nothing verified, little read.

Owns a client of its own because the agent's memory is a budget and a probe needs so little:
HTTP/1.1, headers, http and https (certificates are not checked, as the API says), redirects
within the same host. Answers are hostile: sizes are bounded.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

_MOST_HEADER = 16 * 1024
_MOST_BODY = 10 * 1024
_MOST_REDIRECTS = 10


class HttpFailed(Exception):
    """No answer, or not HTTP; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: str
    location: str = ""
    """Of a redirect to another host, which is not followed."""


async def get(url: str, headers: Mapping[str, str]) -> Answer:
    """The caller bounds the time. Raises HttpFailed."""
    target = url
    for _ in range(_MOST_REDIRECTS + 1):
        answer = await _get_once(target, headers)
        if not answer.location:
            return answer
        following = urljoin(target, answer.location)
        if urlsplit(following).hostname != urlsplit(url).hostname:
            return answer
        target = following
    raise HttpFailed(f'Get "{url}": stopped after {_MOST_REDIRECTS} redirects')


async def _get_once(url: str, headers: Mapping[str, str]) -> Answer:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    try:
        port = parts.port or (443 if secure else 80)
        reader, writer = await asyncio.open_connection(
            parts.hostname, port, ssl=_unverified() if secure else None, limit=_MOST_HEADER
        )
    except (OSError, ValueError) as error:
        raise HttpFailed(f'Get "{url}": {_words(error)}') from error
    try:
        writer.write(_request(url, headers))
        await writer.drain()
        return await _read(reader)
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
        raise HttpFailed(f'Get "{url}": {_words(error)}') from error
    finally:
        writer.close()
        with suppress(OSError, asyncio.CancelledError):
            await writer.wait_closed()


def _request(url: str, headers: Mapping[str, str]) -> bytes:
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    sent = {"Host": parts.netloc, "User-Agent": "kube-probe/1", "Accept": "*/*", **headers}
    sent = {name: value for name, value in sent.items() if value}
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
    if any("\r" in line or "\n" in line for line in lines):
        raise HttpFailed(f'Get "{url}": line break in a header')
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1", "replace")


async def _read(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    version, _, rest = head[0].partition(" ")
    if not version.startswith("HTTP/") or not rest[:3].isdecimal():
        raise ValueError("malformed HTTP response")
    status = int(rest[:3])
    fields = {name.lower(): value.strip() for name, _, value in (h.partition(":") for h in head)}
    location = fields.get("location", "") if 300 <= status < 400 else ""
    body = await _body(reader, fields)
    return Answer(status, body.decode(errors="replace"), location)


async def _body(reader: asyncio.StreamReader, fields: Mapping[str, str]) -> bytes:
    """As far as it is of use in a message; how it is chunked does not matter for that."""
    length = fields.get("content-length", "")
    wanted = min(int(length), _MOST_BODY) if length.isdecimal() else _MOST_BODY
    body = b""
    while len(body) < wanted and (chunk := await reader.read(wanted - len(body))):
        body += chunk
    return body


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _words(error: Exception) -> str:
    if isinstance(error, asyncio.IncompleteReadError):
        return "EOF"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
