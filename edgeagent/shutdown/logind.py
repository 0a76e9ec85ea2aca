"""The only door to D-Bus: what systemd-logind says about a shutdown, and the lock that delays it.

Owns the connection to the system bus, and of what is there three calls and two signals of
org.freedesktop.login1. A signal is never believed: it is a reason to ask (``news``). Whatever goes
wrong is ``LogindAway``. The library is loaded only where there is a bus to talk to.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

from edgeagent.shutdown.port import LogindAway

NAME = "org.freedesktop.login1"
OBJECT = "/org/freedesktop/login1"
MANAGER = "org.freedesktop.login1.Manager"
SYSTEM_BUS = "SYSTEM"
_SOCKET = Path("/run/dbus/system_bus_socket")
_ANSWER_SECONDS = 5.0


class Lock:
    """A file descriptor that logind waits to see closed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @property
    def held(self) -> bool:
        return self._descriptor is not None

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Logind:
    """Implements ``port.Logind``."""

    def __init__(self, bus: _Bus) -> None:
        self._bus = bus

    async def preparing(self) -> bool:
        return bool(await self._property("PreparingForShutdown"))

    async def longest_delay(self) -> float:
        return int(await self._property("InhibitDelayMaxUSec")) / 1e6

    async def inhibit(self) -> Lock:
        body = ("shutdown", "Kubetide", "Pods are stopped in their order", "delay")
        (descriptor,) = await self._call("Inhibit", "ssss", body)
        return Lock(descriptor.to_raw_fd())

    async def news(self) -> None:
        await self._bus.signal()

    async def _property(self, name: str) -> Any:
        from jeepney import DBusAddress, Properties

        address = DBusAddress(OBJECT, bus_name=NAME, interface=MANAGER)
        ((_, value),) = await self._bus.call(Properties(address).get(name))
        return value

    async def _call(self, method: str, signature: str, body: tuple[str, ...]) -> Any:
        from jeepney import DBusAddress, new_method_call

        address = DBusAddress(OBJECT, bus_name=NAME, interface=MANAGER)
        return await self._bus.call(new_method_call(address, method, signature, body))


@asynccontextmanager
async def connected(bus: str = SYSTEM_BUS) -> AsyncIterator[Logind]:
    """``bus`` is an address in D-Bus' own form. Raises LogindAway, also inside the block."""
    if bus == SYSTEM_BUS and not _may_have_a_bus():
        raise LogindAway("there is no D-Bus on this machine")
    connection = _Bus(await _authenticated(bus))
    try:
        await connection.hello()
        await connection.listen()
        yield Logind(connection)
    finally:
        connection.close()


def _may_have_a_bus() -> bool:
    return bool(os.environ.get("DBUS_SYSTEM_BUS_ADDRESS")) or _SOCKET.exists()


async def _authenticated(bus: str) -> socket.socket:
    loop = asyncio.get_running_loop()
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    end.setblocking(False)
    try:
        from jeepney.auth import BEGIN, Authenticator
        from jeepney.bus import get_bus

        async with asyncio.timeout(_ANSWER_SECONDS):
            await loop.sock_connect(end, get_bus(bus))
            steps = Authenticator(enable_fds=True)
            for said in steps:
                await loop.sock_sendall(end, said)
                answer = await loop.sock_recv(end, 1024)
                if not answer:
                    raise LogindAway("D-Bus closed the connection")
                steps.feed(answer)
            await loop.sock_sendall(end, BEGIN)
    except BaseException as error:
        end.close()
        if isinstance(error, Exception) and not isinstance(error, LogindAway):
            raise LogindAway(f"D-Bus cannot be used: {error or repr(error)}") from error
        raise
    return end


class _Bus:
    """One connection: calls wait for their replies, signals are counted as news."""

    def __init__(self, end: socket.socket) -> None:
        from jeepney import Parser

        self._end = end
        self._loop = asyncio.get_running_loop()
        self._parser = Parser()
        self._serials = count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._news = asyncio.Event()
        self._lost = ""
        self._loop.add_reader(end, self._readable)

    def close(self) -> None:
        self._loop.remove_reader(self._end)
        self._end.close()

    async def hello(self) -> None:
        from jeepney import message_bus

        await self.call(message_bus.Hello())

    async def listen(self) -> None:
        """For a shutdown, and for logind going away."""
        from jeepney import MatchRule, message_bus

        shutdown = MatchRule(
            type="signal",
            sender=NAME,
            interface=MANAGER,
            member="PrepareForShutdown",
            path=OBJECT,
        )
        owner = MatchRule(type="signal", sender=message_bus.bus_name, member="NameOwnerChanged")
        owner.add_arg_condition(0, NAME)
        for rule in (shutdown, owner):
            await self.call(message_bus.AddMatch(rule))

    async def signal(self) -> None:
        await self._news.wait()
        self._news.clear()
        self._check()

    async def call(self, message: Any) -> Any:
        """The body of the reply."""
        from jeepney import HeaderFields, MessageType

        self._check()
        serial = next(self._serials)
        self._waiting[serial] = self._loop.create_future()
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._loop.sock_sendall(self._end, message.serialise(serial))
                reply = await self._waiting[serial]
        except TimeoutError as error:
            raise LogindAway(f"logind did not answer within {_ANSWER_SECONDS:g} s") from error
        except OSError as error:
            raise LogindAway(f"D-Bus: {error}") from error
        finally:
            del self._waiting[serial]
        if reply.header.message_type is MessageType.error:
            name = reply.header.fields.get(HeaderFields.error_name, "")
            raise LogindAway(f"logind refused: {name} {' '.join(map(str, reply.body))}")
        return reply.body

    def _check(self) -> None:
        if self._lost:
            raise LogindAway(self._lost)

    def _readable(self) -> None:
        from jeepney.fds import FileDescriptor, fds_buf_size

        try:
            wanted = self._parser.bytes_desired()
            data, ancillary, _, _ = self._end.recvmsg(wanted, fds_buf_size())
            if not data:
                self._lose("D-Bus closed the connection")
                return
            self._parser.add_data(data, fds=FileDescriptor.from_ancdata(ancillary))
            while (message := self._parser.get_next_message()) is not None:
                self._take(message)
        except BlockingIOError:
            return
        except Exception as error:  # Whatever the library makes of bytes that are no message.
            self._lose(f"D-Bus: {error!r}")

    def _take(self, message: Any) -> None:
        from jeepney import HeaderFields, MessageType

        fields = message.header.fields
        future = self._waiting.get(fields.get(HeaderFields.reply_serial, 0))
        if future is not None:
            if not future.done():
                future.set_result(message)
        elif message.header.message_type is MessageType.signal:
            member = fields.get(HeaderFields.member)
            if member == "PrepareForShutdown":
                self._news.set()
            elif member == "NameOwnerChanged" and message.body[1]:
                self._lose("logind has ended")

    def _lose(self, why: str) -> None:
        """Everybody who waits is told."""
        self._loop.remove_reader(self._end)
        self._lost = why
        self._news.set()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(LogindAway(why))
