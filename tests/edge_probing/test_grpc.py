"""The gRPC health check against a real gRPC server, and against what is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from grpclib.health.check import ServiceStatus
from grpclib.health.service import Health
from grpclib.server import Server
from hpack import Encoder
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.pods.probing.grpc_health import GrpcFailed, _Answer, _status, _varint, check
from tests.parts.ports import free_port

LONG = "shop." + "very" * 40


class _Named:
    """What the health service wants to know of a service: its name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __mapping__(self) -> dict[str, object]:
        return {f"/{self._name}/Buy": None}


@asynccontextmanager
async def a_server(*handlers: object) -> AsyncIterator[int]:
    server = Server(list(handlers))  # type: ignore[arg-type]
    await server.start("127.0.0.1", 0)
    try:
        yield server._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    finally:
        server.close()
        await server.wait_closed()


async def health_of(port: int, service: str = "", *, seconds: float = 5) -> str:
    return await check("127.0.0.1", port, service, seconds=seconds)


async def test_a_serving_service_is_healthy_and_another_is_not() -> None:
    status = ServiceStatus()
    names = ("shop.Orders", LONG)
    health = Health({_Named(name): [status] for name in names})  # type: ignore[dict-item]
    async with a_server(health) as port:
        status.set(True)
        for name in (*names, ""):
            assert await health_of(port, name) == "SERVING"
        status.set(False)
        assert await health_of(port, "shop.Orders") == "NOT_SERVING"
        with pytest.raises(GrpcFailed, match=r"health rpc probe failed: .*code = NotFound"):
            await health_of(port, "unheard.Of")


async def test_a_server_without_the_health_service_is_told_so() -> None:
    async with a_server() as port:
        with pytest.raises(GrpcFailed, match="does not implement the grpc health protocol"):
            await health_of(port)


async def test_a_server_that_is_not_there_is_waited_for_until_the_time_is_over() -> None:
    port = free_port()
    late = f'timeout: failed to connect service "127.0.0.1:{port}" within 300ms'
    with pytest.raises(GrpcFailed, match=late):
        await health_of(port, seconds=0.3)
    asking = asyncio.create_task(health_of(port, seconds=10))
    await asyncio.sleep(0.2)
    server = Server([Health()])
    await server.start("127.0.0.1", port)
    assert await asking == "SERVING"
    server.close()
    await server.wait_closed()


async def test_a_server_that_does_not_answer_fails_in_time() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(GrpcFailed, match="health rpc did not complete within 500ms"):
            await health_of(port, seconds=0.5)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 60_000])
async def test_what_is_not_grpc_fails(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(GrpcFailed):
            await health_of(port)


@given(st.binary(max_size=60), st.lists(st.binary(max_size=60), max_size=3))
def test_any_bytes_are_a_status_or_a_failure(data: bytes, headers: list[bytes]) -> None:
    try:
        _status(_Answer(data, headers))
    except GrpcFailed as error:
        assert str(error)


@pytest.mark.parametrize("code", [b"9" * 5000, b"99999999999", b"-1", b"two", b""])
def test_a_status_that_is_no_number_fails_the_check(code: bytes) -> None:
    """Of thousands of digits Python makes no number at all."""
    headers = Encoder().encode([(b":status", b"200"), (b"grpc-status", code)])
    with pytest.raises(GrpcFailed, match="code = Unknown desc = transport: malformed grpc-status"):
        _status(_Answer(b"\0\0\0\0\2\x08\1", [headers]))


@given(st.integers(0, 2**32))
def test_lengths_are_written_as_protobuf_writes_them(number: int) -> None:
    written, value = _varint(number), 0
    for at, byte in enumerate(written):
        value |= (byte & 0x7F) << (7 * at)
    assert value == number
    assert all(byte & 0x80 for byte in written[:-1])
    assert not written[-1] & 0x80
