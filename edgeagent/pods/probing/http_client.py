"""HTTP GET for hooks and probes: one request per connection, nothing verified, little read.

Owns a client of its own because the agent's memory is a budget and a probe needs so little:
HTTP/1.1, headers, http and https (certificates are not checked, as the API says), redirects
within the same host. Answers are hostile: sizes are bounded.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from edgeagent import KUBERNETES_VERSION
from edgeagent.pods.probing.allowance import Allowance
from edgeagent.pods.probing.dialing import DialFailed, dialed, system_words, within

_MOST_BODY = 10 * 1024
_MOST_REQUESTS = 10
_MOST_HEADS = 6
_LONGEST_HEAD = 64 * 1024
_FOLLOWED = frozenset({301, 302, 303, 307, 308})
_WITHOUT_BODY = frozenset({204, 304})
_OURS = frozenset({"host", "connection", "content-length", "transfer-encoding", "trailer"})
"""Headers that belong to the connection: what the spec says of them is not passed on."""
_IN_PATHS = "/%:@!$&'()*+,;=~?"
_IN_HEADERS = "(Client.Timeout exceeded while awaiting headers)"
_IN_BODY = "(Client.Timeout or context cancellation while reading body)"
USER_AGENT = f"kube-probe/{KUBERNETES_VERSION}"

Headers = Sequence[tuple[str, str]]
"""As the spec lists them; a name may come more than once."""


class HttpFailed(Exception):
    """No answer, or not HTTP; the text says why."""


class BodyFailed(HttpFailed):
    """The head of an answer came, and its body did not, or broke off."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: str
    location: str = ""
    """Of a redirect, which was not followed because it leads to another host."""


async def get(url: str, headers: Headers, *, seconds: float | None = None) -> Answer:
    """Raises HttpFailed, also when ``seconds`` are over."""
    allowance = None if seconds is None else Allowance(seconds)
    target, host = url, urlsplit(url).hostname
    for _ in range(_MOST_REQUESTS):
        answer = await _get_once(target, headers, allowance)
        if not answer.location:
            return answer
        target = _joined(target, answer.location)
        if urlsplit(target).hostname != host:
            return answer
        if urlsplit(answer.location).scheme:
            headers = [(name, value) for name, value in headers if name.lower() != "host"]
    raise HttpFailed(f'Get "{answer.location}": stopped after {_MOST_REQUESTS} redirects')


def _joined(url: str, location: str) -> str:
    try:
        joined = urljoin(url, location)
        scheme = urlsplit(joined).scheme
    except ValueError as error:
        raise HttpFailed(f'Get "{url}": failed to parse Location header: {error}') from error
    if scheme not in ("http", "https"):
        raise HttpFailed(f'Get "{location}": unsupported protocol scheme "{scheme}"')
    return joined


async def _get_once(url: str, headers: Headers, allowance: Allowance | None) -> Answer:
    request = _request(url, headers)
    try:
        parts = urlsplit(url)
        tls = _unverified() if parts.scheme == "https" else None
        port = parts.port or (443 if tls else 80)
        async with dialed(parts.hostname or "", port, allowance=allowance, tls=tls) as (
            reader,
            writer,
        ):
            async with _told(allowance, _IN_HEADERS):
                writer.write(request)
                await writer.drain()
                status, fields = await _head(reader)
            location = fields.get("location", "") if status in _FOLLOWED else ""
            body = b""
            if status not in _WITHOUT_BODY:
                # What an answer says that leads elsewhere does not matter.
                with suppress(*((BodyFailed,) if location else ())):
                    body = await _read(reader, fields, allowance)
    except DialFailed as error:
        late = f" {_IN_HEADERS}" if str(error).endswith("i/o timeout") else ""
        raise HttpFailed(f'Get "{url}": {error}{late}') from error
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
        raise HttpFailed(f'Get "{url}": {_words(error)}') from error
    return Answer(status, body.decode(errors="replace"), location)


@asynccontextmanager
async def _told(allowance: Allowance | None, words: str) -> AsyncIterator[None]:
    try:
        async with within(allowance):
            yield
    except TimeoutError as error:
        raise TimeoutError(f"context deadline exceeded {words}") from error


def _request(url: str, headers: Headers) -> bytes:
    parts = urlsplit(url)
    given = {name.lower(): value for name, value in reversed(headers)}
    sent = [
        ("Host", given.get("host") or parts.netloc),
        ("User-Agent", given.get("user-agent", USER_AGENT)),
        ("Accept", given.get("accept", "*/*")),
    ]
    sent = [(name, value) for name, value in sent if value]
    named = {"user-agent", "accept"}
    sent += [one for one in headers if one[0].lower() not in _OURS | named]
    lines = [f"GET {_path(parts)} HTTP/1.1", *(f"{name}: {value}" for name, value in sent)]
    if any("\r" in line or "\n" in line for line in lines):
        raise HttpFailed(f'Get "{url}": line break in a header')
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1", "replace")


def _path(parts: SplitResult) -> str:
    query = f"?{quote(parts.query, safe=_IN_PATHS)}" if parts.query else ""
    return quote(parts.path or "/", safe=_IN_PATHS) + query


async def _head(reader: asyncio.StreamReader) -> tuple[int, Mapping[str, str]]:
    """Status and header fields of the answer, after what a server may say in advance of it."""
    for _ in range(_MOST_HEADS):
        head = [line async for line in _lines(reader)] or [""]
        version, _, rest = head[0].partition(" ")
        if not version.startswith("HTTP/") or not rest[:3].isdecimal():
            raise ValueError(f'malformed HTTP response "{head[0][:80]}"')
        status = int(rest[:3])
        if status >= 200 or status == 101:
            rows = (line.partition(":") for line in head[1:])
            return status, {name.lower(): value.strip() for name, _, value in rows}
    raise ValueError("too many 1xx informational responses")


async def _lines(reader: asyncio.StreamReader) -> AsyncIterator[str]:
    """To the empty one; each may end without the carriage return, as scripts write it."""
    length = 0
    while line := (await reader.readuntil(b"\n")).decode("latin-1").rstrip("\r\n"):
        length += len(line)
        if length > _LONGEST_HEAD:
            raise ValueError("server response headers too long")
        yield line


async def _read(
    reader: asyncio.StreamReader, fields: Mapping[str, str], allowance: Allowance | None
) -> bytes:
    try:
        async with _told(allowance, _IN_BODY):
            return await _body(reader, fields)
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
        raise BodyFailed(_words(error)) from error


async def _body(reader: asyncio.StreamReader, fields: Mapping[str, str]) -> bytes:
    """As far as it is of use in a message. Raises EOFError for one that breaks off before."""
    if fields.get("transfer-encoding", "").lower() == "chunked":
        return await _chunks(reader)
    length = fields.get("content-length", "")
    if length.isdecimal():
        return await _exactly(reader, min(int(length), _MOST_BODY))
    return await _at_most(reader, _MOST_BODY)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while len(body) < _MOST_BODY:
        line = await reader.readline()
        if not line:
            raise EOFError("unexpected EOF")
        size = line.partition(b";")[0].strip().decode("latin-1")
        if not size.isalnum() or not (length := int(size, 16)):
            break
        wanted = min(length, _MOST_BODY - len(body))
        body += await _exactly(reader, wanted)
        await reader.readline()
    return body


async def _exactly(reader: asyncio.StreamReader, wanted: int) -> bytes:
    body = await _at_most(reader, wanted)
    if len(body) < wanted:
        raise EOFError("unexpected EOF")
    return body


async def _at_most(reader: asyncio.StreamReader, wanted: int) -> bytes:
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
    if isinstance(error, OSError) and error.errno:
        return system_words(error)
    return str(error) or type(error).__name__
