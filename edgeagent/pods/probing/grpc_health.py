"""The gRPC health check (grpc.health.v1), over just as much HTTP/2 as that takes.

Owns a few frames of HTTP/2: one request, no server push, no flow control beyond what one small
answer needs. The gRPC library is the runtime adapter's and far too much for this; what it uses to
read headers (``hpack``) serves here too, for what a server that has no status says instead.
Answers are hostile: frames and their number are bounded.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Coroutine
from dataclasses import dataclass, field
from urllib.parse import unquote

from edgeagent.pods.model.durations import go_duration
from edgeagent.pods.probing.allowance import Allowance
from edgeagent.pods.probing.dialing import DialFailed, address, dialed
from edgeagent.pods.probing.http_client import USER_AGENT

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _CONTINUATION = 0, 1, 3, 4, 6, 7, 9
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _PRIORITY = 1, 1, 4, 8, 32
_MOST_FRAME = 16 * 1024
_MOST_FRAMES = 64
_BETWEEN_TRIES = 1.0
_HEALTH = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_LONGEST_CODE = 10
"""Digits of a status; of thousands of them Python makes no number."""
_OK, _UNKNOWN, _UNIMPLEMENTED, _INTERNAL, _UNAVAILABLE = 0, 2, 12, 13, 14
_CODES = (
    *("OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound"),
    *("AlreadyExists", "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted"),
    *("OutOfRange", "Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated"),
)
_FAILED = "error: health rpc probe failed: rpc error: code = {} desc = {}"
_NO_HEALTH = (
    "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {}"
)


class GrpcFailed(Exception):
    """No answer, or not one of gRPC's."""


async def check(host: str, port: int, service: str, *, seconds: float) -> str:
    """The status that the server gives the service: ``SERVING`` is the good one."""
    allowance = Allowance(seconds)
    while True:
        try:
            async with dialed(host, port, allowance=allowance) as (reader, writer):
                answer = _asked(reader, writer, _request(host, port, service))
                return await _in_time(answer, allowance, seconds)
        except DialFailed as error:
            if not await _waited(allowance):
                where = f'"{address(host, port)}" within {go_duration(seconds)}'
                words = f"timeout: failed to connect service {where}: context deadline exceeded"
                raise GrpcFailed(words) from error
        except (OSError, EOFError) as error:
            words = _FAILED.format(_CODES[_UNAVAILABLE], f"error reading from server: {error}")
            raise GrpcFailed(words) from error


async def _waited(allowance: Allowance) -> bool:
    """A server that is not there yet may come while the time lasts; False when it is over."""
    try:
        async with allowance.running():
            await asyncio.sleep(_BETWEEN_TRIES)
    except TimeoutError:
        return False
    return True


async def _in_time(answer: Coroutine[None, None, str], allowance: Allowance, seconds: float) -> str:
    try:
        async with allowance.running():
            return await answer
    except TimeoutError as error:
        words = f"timeout: health rpc did not complete within {go_duration(seconds)}"
        raise GrpcFailed(words) from error


async def _asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> str:
    writer.write(_PREFACE + _frame(_SETTINGS, 0, 0, b"") + request)
    await writer.drain()
    return _status(await _answer(reader, writer))


def _request(host: str, port: int, service: str) -> bytes:
    name = service.encode()
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    headers = b"".join(
        _header(key, value)
        for key, value in (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", b"/grpc.health.v1.Health/Check"),
            (b":authority", address(host, port).encode()),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
            (b"user-agent", USER_AGENT.encode()),
        )
    )
    body = b"\0" + struct.pack(">I", len(message)) + message
    return _frame(_HEADERS, _END_HEADERS, 1, headers) + _frame(_DATA, _END_STREAM, 1, body)


def _varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def _header(name: bytes, value: bytes) -> bytes:
    """HPACK: a literal that is not indexed; both parts are shorter than 127 bytes."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value[:126])]) + value[:126]


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return (
        struct.pack(">I", len(payload))[1:]
        + bytes([kind, flags])
        + struct.pack(">I", stream)
        + payload
    )


@dataclass
class _Answer:
    data: bytes = b""
    headers: list[bytes] = field(default_factory=list)
    """Compressed, each block whole, in the order that they came in."""


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Answer:
    """What comes on our stream until it ends."""
    answer = _Answer()
    ended = False
    for _ in range(_MOST_FRAMES):
        head = await reader.readexactly(9)
        size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        if size > _MOST_FRAME:
            raise GrpcFailed(_FAILED.format(_CODES[_UNAVAILABLE], "not an HTTP/2 server"))
        payload = await reader.readexactly(size)
        if kind in (_SETTINGS, _PING) and not flags & _ACK:
            echo = payload if kind == _PING else b""
            writer.write(_frame(kind, _ACK, 0, echo))
        elif kind in (_RST_STREAM, _GOAWAY):
            break
        elif kind == _DATA:
            answer.data += _unpadded(payload, flags)
        elif kind == _HEADERS:
            priority = 5 if flags & _PRIORITY else 0
            answer.headers.append(_unpadded(payload, flags)[priority:])
        elif kind == _CONTINUATION and answer.headers:
            answer.headers[-1] += payload
        ended = ended or bool(kind in (_DATA, _HEADERS) and flags & _END_STREAM)
        if ended and (kind == _DATA or flags & _END_HEADERS):
            break
    return answer


def _unpadded(payload: bytes, flags: int) -> bytes:
    if not flags & _PADDED or not payload:
        return payload
    return payload[1 : max(len(payload) - payload[0], 1)]


def _status(answer: _Answer) -> str:
    """Field 1 of the message; an answer without one is an error of the server."""
    code, message = _outcome(answer.headers)
    if code == _UNIMPLEMENTED:
        raise GrpcFailed(_NO_HEALTH.format(message))
    if code == _OK and len(answer.data) < 5:
        code, message = _UNKNOWN, "the server gave no health status"
    if code != _OK:
        name = _CODES[code] if code < len(_CODES) else f"Code({code})"
        raise GrpcFailed(_FAILED.format(name, message))
    body = answer.data[5:]
    health = body[1] if len(body) >= 2 and body[0] == 0x08 else 0
    return _HEALTH.get(health, str(health))


def _outcome(blocks: list[bytes]) -> tuple[int, str]:
    """gRPC's status code and message."""
    # Late, since most devices have no gRPC probes; with a CRI it is there already.
    from hpack import Decoder, HPACKError

    decoder = Decoder(max_header_list_size=_MOST_FRAME)
    fields: dict[str, str] = {}
    try:
        for block in blocks:
            for name, value in decoder.decode(block, raw=True):
                fields[name.decode("latin-1")] = value.decode("latin-1")
    except HPACKError as error:
        words = f"headers that cannot be read: {error}"
        raise GrpcFailed(_FAILED.format(_CODES[_INTERNAL], words)) from error
    if (code := fields.get("grpc-status")) is not None:
        if not code.isdecimal() or len(code) > _LONGEST_CODE:
            return _UNKNOWN, f"transport: malformed grpc-status: {code:.40}"
        return int(code), unquote(fields.get("grpc-message", ""))
    status = fields.get(":status", "")
    if status in ("", "200"):
        return _OK if blocks else _UNAVAILABLE, ""
    return _UNKNOWN, f"unexpected HTTP status code received from server: {status}"
