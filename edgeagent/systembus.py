"""The only door to D-Bus: a connection to the system bus, for talks with one service of it.

Owns the socket, and how long an answer is waited for. Whatever goes wrong is the service's own kind
of ``BusAway``. Signals are counted, never believed: one is a reason to ask (``news``). The library
is loaded only where there is a bus. Called by ``shutdown/logind.py`` and
``pods/resources/slices.py``.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from shared.errors import TemporaryError

SYSTEM_BUS = "SYSTEM"
_SOCKET = Path("/run/dbus/system_bus_socket")
_ANSWER_SECONDS = 5.0


class BusAway(TemporaryError):
    """There is no such bus or service, it does not answer, or it refused."""

    refusal = ""
    """The error by its name on the bus, when the service refused."""


@dataclass(frozen=True, slots=True)
class Service:
    """One object of a peer, and what of it is talked to."""

    called: str
    """In what is said of it."""
    name: str
    path: str
    interface: str
    away: type[BusAway] = BusAway


@asynccontextmanager
async def connected(service: Service, bus: str = SYSTEM_BUS) -> AsyncIterator[Bus]:
    """``bus`` is an address in D-Bus' own form. Raises ``service.away``, also inside the block."""
    if bus == SYSTEM_BUS and not _may_have_a_bus():
        raise service.away("there is no D-Bus on this machine")
    connection = Bus(await _authenticated(service, bus), service)
    try:
        await connection.hello()
        yield connection
    finally:
        connection.close()


def _may_have_a_bus() -> bool:
    return bool(os.environ.get("DBUS_SYSTEM_BUS_ADDRESS")) or _SOCKET.exists()


async def _authenticated(service: Service, bus: str) -> socket.socket:
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
                    raise service.away("D-Bus closed the connection")
                steps.feed(answer)
            await loop.sock_sendall(end, BEGIN)
    except BaseException as error:
        end.close()
        if isinstance(error, Exception) and not isinstance(error, BusAway):
            raise service.away(f"D-Bus cannot be used: {error or repr(error)}") from error
        raise
    return end


class Bus:
    """One connection: calls wait for their replies, signals are counted as news."""

    def __init__(self, end: socket.socket, service: Service) -> None:
        from jeepney import Parser

        self._end = end
        self._service = service
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

        await self._ask(message_bus.Hello())

    async def call(self, method: str, signature: str, body: tuple[Any, ...]) -> Any:
        """The body of the reply."""
        from jeepney import new_method_call

        return await self._ask(new_method_call(self._address(), method, signature, body))

    async def property(self, name: str) -> Any:
        from jeepney import Properties

        ((_, value),) = await self._ask(Properties(self._address()).get(name))
        return value

    async def listen(self, signal: str) -> None:
        """For a signal of the service, and for the service going away."""
        from jeepney import MatchRule, message_bus

        wanted = MatchRule(
            type="signal",
            sender=self._service.name,
            interface=self._service.interface,
            member=signal,
            path=self._service.path,
        )
        owner = MatchRule(type="signal", sender=message_bus.bus_name, member="NameOwnerChanged")
        owner.add_arg_condition(0, self._service.name)
        for rule in (wanted, owner):
            await self._ask(message_bus.AddMatch(rule))

    async def news(self) -> None:
        await self._news.wait()
        self._news.clear()
        self._check()

    def _address(self) -> Any:
        from jeepney import DBusAddress

        service = self._service
        return DBusAddress(service.path, bus_name=service.name, interface=service.interface)

    async def _ask(self, message: Any) -> Any:
        self._check()
        serial = next(self._serials)
        self._waiting[serial] = self._loop.create_future()
        called = self._service.called
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._loop.sock_sendall(self._end, message.serialise(serial))
                reply = await self._waiting[serial]
        except TimeoutError as error:
            why = f"{called} did not answer within {_ANSWER_SECONDS:g} s"
            raise self._service.away(why) from error
        except OSError as error:
            raise self._service.away(f"D-Bus: {error}") from error
        finally:
            del self._waiting[serial]
        return self._unwrapped(reply)

    def _unwrapped(self, reply: Any) -> Any:
        from jeepney import HeaderFields, MessageType

        if reply.header.message_type is MessageType.error:
            name = reply.header.fields.get(HeaderFields.error_name, "")
            words = " ".join(map(str, reply.body))
            refused = self._service.away(f"{self._service.called} refused: {name} {words}")
            refused.refusal = name
            raise refused
        return reply.body

    def _check(self) -> None:
        if self._lost:
            raise self._service.away(self._lost)

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
            if fields.get(HeaderFields.interface) == self._service.interface:
                self._news.set()
            elif fields.get(HeaderFields.member) == "NameOwnerChanged" and message.body[1]:
                self._lose(f"{self._service.called} has ended")

    def _lose(self, why: str) -> None:
        """Everybody who waits is told."""
        self._loop.remove_reader(self._end)
        self._lost = why
        self._news.set()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(self._service.away(why))
