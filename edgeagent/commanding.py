"""What people at the device may tell and ask the running agent: a socket in its data folder.

One line of JSON in, one out, then the connection is closed; root's alone (0600) and without any
network. Owns the form and its limits; what a command does is ``app.Agent``'s. The other end is
``local/telling.py``. An agent whose socket cannot be made runs without it, and says so.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from shared.errors import WireError
from shared.objects import Json, ObjectKey

log = structlog.get_logger()

SOCKET = "agent.sock"
LONGEST = 4096
PATIENCE = 5.0
"""Seconds for one whole exchange."""


@dataclass(frozen=True)
class Answers:
    """Who answers."""

    release: Callable[[ObjectKey], Awaitable[str]]
    """What was on hold for that pod and goes on now; empty for nothing."""
    snapshot: Callable[[], Json]
    """How everything stands, as ``snapshot.taken`` makes it."""


@asynccontextmanager
async def commands(data_dir: Path, answers: Answers) -> AsyncIterator[None]:
    """Answer commands until the end of the block."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                writer.write(await _answer(await reader.readline(), answers))
                await writer.drain()
        except (OSError, ValueError, TimeoutError) as error:
            log.warning("command not answered", error=repr(error))
        finally:
            await _hang_up(writer)

    try:
        server = await _listen(data_dir, serve)
    except OSError as error:
        log.error("no commands are taken", data_dir=str(data_dir), error=str(error))
        yield
        return
    async with server:
        yield
    (data_dir / SOCKET).unlink(missing_ok=True)


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    """A client that has stopped reading holds nothing up, and above all no stop of the agent."""
    writer.close()
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(PATIENCE):
            await writer.wait_closed()
    writer.transport.abort()


async def _listen(
    data_dir: Path,
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> asyncio.Server:
    """Through the folder's descriptor: a path of a socket may have 107 bytes only."""
    (data_dir / SOCKET).unlink(missing_ok=True)
    folder = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    before = os.umask(0o177)
    try:
        path = f"/proc/self/fd/{folder}/{SOCKET}"
        return await asyncio.start_unix_server(serve, path, limit=LONGEST)
    finally:
        os.umask(before)
        os.close(folder)


async def _answer(line: bytes, answers: Answers) -> bytes:
    try:
        asked = json.loads(line)
        if asked == {"tell": "snapshot"}:
            return json.dumps(answers.snapshot(), separators=(",", ":")).encode() + b"\n"
        key = ObjectKey("Pod", asked["namespace"], asked["release"])
    except (ValueError, TypeError, KeyError, WireError):
        return b'{"error": "not a command"}\n'
    released = await answers.release(key)
    log.info("release asked for", pod=str(key), released=released)
    return json.dumps({"released": released}).encode() + b"\n"
