"""The HTTP of probes and hooks, against servers that behave and servers that do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from edgeagent.pods import handlers, http_client
from edgeagent.pods.checking import Outcome, check
from edgeagent.pods.handlers import BadHandler, Target
from edgeagent.pods.http_client import HttpFailed
from edgeagent.runtime.memory import MemoryRuntime
from edgeagent.runtime.memory_device import MemoryDevice
from shared.clock import SystemClock
from shared.objects import Json
from shared.tasks import stop

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@asynccontextmanager
async def a_server(answer: Callable[[bytes], bytes | Awaitable[bytes]]) -> AsyncIterator[int]:
    tasks: list[asyncio.Task[Any]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.current_task())  # type: ignore[arg-type]
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            found = answer(request)
            writer.write(found if isinstance(found, bytes) else await found)
            await writer.drain()
        except (OSError, asyncio.CancelledError):
            pass  # The client left, or the test is over.
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        await stop(*tasks)


def a_target(port: int) -> Target:
    spec = {"name": "main", "ports": [{"name": "web", "containerPort": port}]}
    return Target(spec, "id", ("127.0.0.1",))


async def probed(port: int, **fields: object) -> Outcome | None:
    probe: Json = {"httpGet": {"port": port, **fields}, "timeoutSeconds": 1}
    runtime = MemoryRuntime(MemoryDevice(SystemClock()))
    return await check(probe, a_target(port), runtime)


async def test_any_code_from_200_to_399_is_success() -> None:
    for code, good in ((200, True), (302, True), (399, True), (400, False), (500, False)):
        answer = f"HTTP/1.1 {code} Whatever\r\nContent-Length: 0\r\n\r\n".encode()
        async with a_server(lambda _, answer=answer: answer) as port:  # type: ignore[misc]
            outcome = await probed(port)
            assert outcome is not None
            assert outcome.good is good, code


async def test_headers_of_the_probe_are_sent() -> None:
    seen: list[bytes] = []

    def answer(request: bytes) -> bytes:
        seen.append(request)
        return OK

    async with a_server(answer) as port:
        await probed(port, path="/health?full=1", httpHeaders=[{"name": "X-Token", "value": "7"}])
    assert seen[0].startswith(b"GET /health?full=1 HTTP/1.1\r\n")
    assert b"\r\nX-Token: 7\r\n" in seen[0]


async def test_the_host_header_of_the_probe_wins() -> None:
    seen: list[bytes] = []

    def answer(request: bytes) -> bytes:
        seen.append(request)
        return OK

    async with a_server(answer) as port:
        await probed(port, httpHeaders=[{"name": "Host", "value": "example.test"}])
    assert seen[0].count(b"Host:") == 1
    assert b"Host: example.test" in seen[0]


async def test_a_redirect_within_the_host_is_followed() -> None:
    def answer(request: bytes) -> bytes:
        if request.startswith(b"GET /old"):
            return b"HTTP/1.1 301 Moved\r\nLocation: /new\r\nContent-Length: 0\r\n\r\n"
        return b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"

    async with a_server(answer) as port:
        assert await probed(port, path="/old") == Outcome(
            False, "HTTP probe failed with statuscode: 503"
        )


async def test_a_redirect_to_another_host_is_a_success_that_is_not_followed() -> None:
    away = b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n"
    async with a_server(lambda _: away) as port:
        outcome = await probed(port)
        assert outcome is not None
        assert outcome.good


async def test_redirects_without_an_end_fail() -> None:
    around = b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"
    async with a_server(lambda _: around) as port:
        outcome = await probed(port)
        assert outcome is not None
        assert "stopped after 10 redirects" in outcome.words


@pytest.mark.parametrize(
    "answer", [b"", b"\r\n\r\n", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"x" * 100_000]
)
async def test_what_is_not_http_fails(answer: bytes) -> None:
    async with a_server(lambda _: answer) as port:
        outcome = await probed(port)
        assert outcome is not None
        assert not outcome.good


async def test_an_answer_without_an_end_fails_in_time() -> None:
    async def slow() -> bytes:
        await asyncio.sleep(3)
        return OK

    async with a_server(lambda _: slow()) as port:
        assert await probed(port) == Outcome(False, "command timed out after 1s")


async def test_a_line_break_cannot_be_smuggled_into_a_header() -> None:
    with pytest.raises(HttpFailed):
        await http_client.get("http://127.0.0.1:1/", {"X": "a\r\nY: b"})
    async with a_server(lambda _: OK) as port:
        outcome = await probed(port, httpHeaders=[{"name": "X", "value": "a\r\nY: b"}])
        assert outcome is not None
        assert not outcome.good


async def test_a_refused_connection_fails() -> None:
    async with a_server(lambda _: OK) as port:
        pass
    outcome = await probed(port)
    assert outcome is not None
    assert not outcome.good


def test_ports_are_numbers_or_names_of_the_containers_ports() -> None:
    target = a_target(8080)
    assert handlers.port_of(target, "web") == handlers.port_of(target, "8080") == 8080
    with pytest.raises(BadHandler):
        handlers.port_of(target, "nowhere")


def test_urls_are_made_for_either_family_of_addresses() -> None:
    target = Target({"name": "main"}, "id", ("2001:db8::7",))
    url = handlers.url_of(target, {"port": 80, "path": "x", "scheme": "HTTPS"})
    assert url == "https://[2001:db8::7]:80/x"
