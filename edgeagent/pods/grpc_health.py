"""The gRPC health check (grpc.health.v1), over just as much HTTP/2 as that takes.

Owns a few frames of HTTP/2: one request, no server push, no flow control beyond what one small
answer needs. The gRPC library is the runtime adapter's and far too much for this. Answers are
hostile: frames and their number are bounded.
"""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_MOST_FRAME = 16 * 1024
_MOST_FRAMES = 64
_STATUS = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


class GrpcFailed(Exception):
    """No answer, or not one of gRPC's."""


async def check(host: str, port: int, service: str) -> str:
    """The status that the server gives the service: ``SERVING`` is the good one."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        raise GrpcFailed(f"failed to connect service {host}:{port}: {error.strerror}") from error
    try:
        writer.write(_PREFACE + _frame(_SETTINGS, 0, 0, b"") + _request(host, port, service))
        await writer.drain()
        return _status(await _answer(reader, writer))
    except (OSError, EOFError) as error:
        raise GrpcFailed(f"health rpc probe failed: {error}") from error
    finally:
        writer.close()
        with suppress(OSError, asyncio.CancelledError):
            await writer.wait_closed()


def _request(host: str, port: int, service: str) -> bytes:
    name = service.encode()[:100]
    message = b"\x0a" + bytes([len(name)]) + name if name else b""
    headers = b"".join(
        _header(key, value)
        for key, value in (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", b"/grpc.health.v1.Health/Check"),
            (b":authority", f"{host}:{port}".encode()),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
            (b"user-agent", b"kube-probe/1"),
        )
    )
    body = b"\0" + struct.pack(">I", len(message)) + message
    return _frame(_HEADERS, _END_HEADERS, 1, headers) + _frame(_DATA, _END_STREAM, 1, body)


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


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """The data of our stream until it ends."""
    data = b""
    for _ in range(_MOST_FRAMES):
        head = await reader.readexactly(9)
        size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        if size > _MOST_FRAME:
            raise GrpcFailed("health rpc probe failed: not an HTTP/2 server")
        payload = await reader.readexactly(size)
        if kind in (_SETTINGS, _PING) and not flags & _ACK:
            echo = payload if kind == _PING else b""
            writer.write(_frame(kind, _ACK, 0, echo))
        elif kind in (_RST_STREAM, _GOAWAY):
            break
        elif kind == _DATA:
            data += payload
        if kind in (_DATA, _HEADERS) and flags & _END_STREAM:
            break
    return data


def _status(data: bytes) -> str:
    """Field 1 of the answer; an answer without data is an error of the server."""
    if len(data) < 5:
        raise GrpcFailed("health rpc probe failed: the server gave no health status")
    message = data[5:]
    code = message[1] if len(message) >= 2 and message[0] == 0x08 else 0
    return _STATUS.get(code, str(code))
