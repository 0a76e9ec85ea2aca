"""A TCP switch between a client and a server: the network cable of the demo and of tests.

``cut`` closes what is open and refuses what comes; ``freeze`` is the nastier failure, a half-open
link: connections stay, bytes vanish. ``restore`` ends both.
"""

from __future__ import annotations

import asyncio
import contextlib

from shared.tasks import stop


class Switch:
    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._flows: set[asyncio.Task[None]] = set()
        self._open = True
        self._frozen = False
        self.port = 0

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        self._open = False
        if self._server is not None:
            self._server.close()
        # A connection that was just accepted has no task yet that would close it.
        await asyncio.sleep(0)
        await stop(*self._flows)
        if self._server is not None:
            await self._server.wait_closed()

    def cut(self) -> None:
        self._open = False
        for flow in self._flows:
            flow.cancel()

    def freeze(self) -> None:
        self._frozen = True

    def restore(self) -> None:
        """What went through a freeze is lost for good, so its connections end now."""
        self._open = True
        if self._frozen:
            self._frozen = False
            for flow in self._flows:
                flow.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._flows.add(task)
        try:
            if self._open:
                await self._relay(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # a cable's end: either side went away, or the switch was cut
        finally:
            self._flows.discard(task)
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        up = asyncio.create_task(self._pump(reader, far_writer))
        down = asyncio.create_task(self._pump(far_reader, writer))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await stop(up, down)
            far_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self._frozen:
                    continue
                writer.write(data)
                await writer.drain()
