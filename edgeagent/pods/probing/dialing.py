"""TCP connections to containers, for hooks and probes: opened in time, failures in known words.

Owns what a user reads when nothing answers: ``dial tcp 10.1.0.7:80: connect: connection refused``,
as every other tool of Kubernetes says it. No allowance is no limit. Called by ``handlers``,
``http_client`` and ``grpc_health``.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress

from edgeagent.pods.probing import names
from edgeagent.pods.probing.allowance import Allowance

_LINE_LIMIT = 64 * 1024
"""Bytes that are looked through for the end of a line or of a header."""
_CLOSING_SECONDS = 0.5
"""A peer that does not end TLS in good manners holds nobody up for longer."""


class DialFailed(Exception):
    """Nobody there, or nobody in time; the text says what and where."""


@asynccontextmanager
async def dialed(
    host: str, port: int, *, allowance: Allowance | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection for the time of the block. Raises DialFailed."""
    where = address(host, port)
    try:
        async with within(allowance):
            reader, writer = await _opened(host, port, tls)
    except (OSError, ValueError) as error:
        raise DialFailed(_words(where, error)) from error
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            async with asyncio.timeout(_CLOSING_SECONDS):
                await writer.wait_closed()


async def _opened(
    host: str, port: int, tls: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """At the first of its addresses that answers."""
    name = host if tls is not None else None
    *others, last = await names.addresses(host)
    for ip in others:
        with suppress(OSError):
            return await asyncio.open_connection(
                ip, port, ssl=tls, server_hostname=name, limit=_LINE_LIMIT
            )
    return await asyncio.open_connection(
        last, port, ssl=tls, server_hostname=name, limit=_LINE_LIMIT
    )


def within(allowance: Allowance | None) -> AbstractAsyncContextManager[object]:
    """Raises TimeoutError when that is spent."""
    return allowance.running() if allowance is not None else nullcontext()


def address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def system_words(error: OSError) -> str:
    """``connection refused``; asyncio's own text repeats the address."""
    if error.errno is not None and error.errno in errno.errorcode:
        return os.strerror(error.errno).lower()
    return error.strerror or str(error) or type(error).__name__


def _words(where: str, error: Exception) -> str:
    if isinstance(error, TimeoutError) and error.errno is None:
        return f"dial tcp {where}: i/o timeout"
    if isinstance(error, socket.gaierror):
        return f"dial tcp: lookup {where.rpartition(':')[0]}: no such host"
    if isinstance(error, ssl.SSLError):
        return f"tls: {(error.reason or 'handshake failed').replace('_', ' ').lower()}"
    if isinstance(error, OSError):
        return f"dial tcp {where}: connect: {system_words(error)}"
    return f"dial tcp {where}: {error}"
