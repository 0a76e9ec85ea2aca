"""The gRPC health check against a real gRPC server, and against what is none."""

from __future__ import annotations

import asyncio

import pytest
from grpclib.health.check import ServiceStatus
from grpclib.health.service import Health
from grpclib.server import Server

from edgeagent.pods.grpc_health import GrpcFailed, check


class _Named:
    """What the health service wants to know of a service: its name."""

    def __mapping__(self) -> dict[str, object]:
        return {"/shop.Orders/Buy": None}


async def test_a_serving_service_is_healthy_and_another_is_not() -> None:
    status = ServiceStatus()
    server = Server([Health({_Named(): [status]})])  # type: ignore[dict-item, list-item]
    await server.start("127.0.0.1", 0)
    port = server._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    try:
        status.set(True)
        assert await check("127.0.0.1", port, "shop.Orders") == "SERVING"
        assert await check("127.0.0.1", port, "") == "SERVING"
        status.set(False)
        assert await check("127.0.0.1", port, "shop.Orders") == "NOT_SERVING"
        with pytest.raises(GrpcFailed):
            await check("127.0.0.1", port, "unheard.Of")
    finally:
        server.close()
        await server.wait_closed()


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
            await check("127.0.0.1", port, "")
