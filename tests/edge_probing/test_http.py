"""The HTTP of probes and hooks, against servers that behave and servers that do not."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from edgeagent.pods.acting import hooks
from edgeagent.pods.model.podevents import PodEvent
from edgeagent.pods.probing import handlers, http_client
from edgeagent.pods.probing.checking import Outcome, Result, check
from edgeagent.pods.probing.handlers import BadHandler, Target
from edgeagent.pods.probing.http_client import HttpFailed
from edgeagent.runtime.memory import MemoryRuntime
from edgeagent.runtime.memory_device import MemoryDevice
from shared.clock import SystemClock
from shared.objects import Json
from shared.tasks import stop
from tests.parts.ports import free_port

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@asynccontextmanager
async def a_server(
    answer: Callable[[bytes], bytes | Awaitable[bytes]],
    writers: list[asyncio.StreamWriter] | None = None,
) -> AsyncIterator[int]:
    """``writers`` gets the connections, for a server that says something before it is asked."""
    tasks: list[asyncio.Task[Any]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.current_task())  # type: ignore[arg-type]
        if writers is not None:
            writers.append(writer)
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


async def probed(port: int | str, **fields: object) -> Outcome | None:
    probe: Json = {"httpGet": {"port": port, **fields}, "timeoutSeconds": 1}
    runtime = MemoryRuntime(MemoryDevice(SystemClock()))
    return await check(probe, a_target(8080), runtime)


async def test_any_code_from_200_to_399_is_success() -> None:
    for code, good in ((200, True), (302, True), (399, True), (400, False), (500, False)):
        answer = f"HTTP/1.1 {code} Whatever\r\nContent-Length: 0\r\n\r\n".encode()
        async with a_server(lambda _, answer=answer: answer) as port:  # type: ignore[misc]
            outcome = await probed(port)
            assert outcome is not None
            assert outcome.good is good, code


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\n\nok", b"HTTP/1.0 200\nServer: nc\r\n\nok"])
async def test_an_answer_of_a_script_has_plain_line_ends(head: bytes) -> None:
    async with a_server(lambda _: head) as port:
        outcome = await probed(port)
        assert outcome is not None and outcome.good


async def test_headers_without_an_end_fail() -> None:
    async with a_server(lambda _: b"HTTP/1.1 200 OK\n" + b"a: b\n" * 100_000 + b"\n") as port:
        outcome = await probed(port)
        assert outcome is not None and not outcome.good


async def test_headers_of_the_probe_are_sent() -> None:
    seen: list[bytes] = []

    def answer(request: bytes) -> bytes:
        seen.append(request)
        return OK

    async with a_server(answer) as port:
        await probed(port, path="/health?full=1", httpHeaders=[{"name": "X-Token", "value": "7"}])
    assert seen[0].startswith(b"GET /health?full=1 HTTP/1.1\r\n")
    assert b"\r\nX-Token: 7\r\n" in seen[0]


async def asked(port_and_more: Json, *headers: tuple[str, str]) -> list[str]:
    """The lines of the request that a probe with these headers makes."""
    seen: list[bytes] = []

    def answer(request: bytes) -> bytes:
        seen.append(request)
        return OK

    listed = [{"name": name, "value": value} for name, value in headers]
    async with a_server(answer) as port:
        await probed(port, httpHeaders=listed, **port_and_more)
    return seen[0].decode().split("\r\n")


async def test_the_host_header_of_the_probe_wins() -> None:
    lines = await asked({}, ("host", "example.test"))
    assert [line for line in lines if line.lower().startswith("host")] == ["Host: example.test"]


async def test_a_header_may_be_sent_more_than_once() -> None:
    lines = await asked({}, ("X-Tag", "a"), ("x-tag", "b"), ("X-Empty", ""))
    assert [line for line in lines if line.startswith(("X", "x"))] == [
        "X-Tag: a",
        "x-tag: b",
        "X-Empty: ",
    ]


async def test_default_headers_can_be_replaced_and_left_out() -> None:
    assert {"User-Agent: kube-probe/1.34", "Accept: */*"} <= set(await asked({}))
    other = await asked({}, ("user-agent", "mine"), ("accept", "text/plain"))
    assert {"User-Agent: mine", "Accept: text/plain"} <= set(other)
    none = await asked({}, ("User-Agent", ""), ("Accept", ""))
    assert not [line for line in none if line.startswith(("User-Agent", "Accept"))]


async def test_headers_of_the_connection_are_not_the_probes_to_set() -> None:
    lines = await asked({}, ("Connection", "keep-alive"), ("Content-Length", "5"))
    assert [line for line in lines if line.startswith("Conn")] == ["Connection: close"]
    assert not [line for line in lines if line.startswith("Content-Length")]


async def test_a_path_is_sent_as_a_path_whatever_is_in_it() -> None:
    for path, sent in (
        ("/a b?c=d e", "/a%20b?c=d%20e"),
        ("/a%20b#there", "/a%20b"),
        ("health", "/health"),
        ("http://192.0.2.1/elsewhere", "/elsewhere"),
    ):
        assert (await asked({"path": path}))[0] == f"GET {sent} HTTP/1.1"


async def test_a_redirect_within_the_host_is_followed() -> None:
    def answer(request: bytes) -> bytes:
        if request.startswith(b"GET /old"):
            return b"HTTP/1.1 301 Moved\r\nLocation: /new\r\nContent-Length: 0\r\n\r\n"
        return b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"

    async with a_server(answer) as port:
        words = "HTTP probe failed with statuscode: 503"
        assert await probed(port, path="/old") == Outcome(Result.FAILURE, words)


@pytest.mark.parametrize(
    "head", ["Content-Length: 9\r\n\r\n%s", "Transfer-Encoding: chunked\r\n\r\n9\r\n%s\r\n0\r\n"]
)
async def test_a_redirect_to_another_host_is_a_success_with_a_warning(head: str) -> None:
    away = "HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\n" + head % "elsewhere"
    async with a_server(lambda _: away.encode()) as port:
        words = "Probe terminated redirects, Response body: elsewhere"
        outcome = await probed(port)
        assert outcome == Outcome(Result.WARNING, words)
        assert outcome.good


async def test_what_a_redirect_says_besides_its_place_does_not_matter() -> None:
    broken = b"HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 50\r\n\r\n.."

    async with a_server(lambda asked: OK if b"GET /ok" in asked else broken) as port:
        assert await probed(port) == Outcome(Result.SUCCESS)


async def test_a_host_header_holds_through_a_redirect_that_names_no_host() -> None:
    seen: list[bytes] = []

    def answer(request: bytes) -> bytes:
        seen.append(request)
        target = {1: "/relative", 2: f"http://127.0.0.1:{port}/absolute"}.get(len(seen))
        if target is None:
            return OK
        return f"HTTP/1.1 307 x\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode()

    async with a_server(answer) as port:
        await probed(port, httpHeaders=[{"name": "host", "value": "example.test"}])
    hosts = [re.search(rb"Host: (.*)\r\n", request) for request in seen]
    found = [host[1].decode() for host in hosts if host]
    assert found == ["example.test", "example.test", f"127.0.0.1:{port}"]


async def test_redirects_without_an_end_fail() -> None:
    seen: list[bytes] = []

    def around(request: bytes) -> bytes:
        seen.append(request)
        return b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"

    async with a_server(around) as port:
        words = 'Get "/": stopped after 10 redirects'
        assert await probed(port) == Outcome(Result.FAILURE, words)
    assert len(seen) == 10


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/", "http://[::1/", "http:///"])
async def test_a_redirect_to_what_is_no_place_fails_or_is_not_followed(location: str) -> None:
    answer = f"HTTP/1.1 301 x\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
    async with a_server(lambda _: answer) as port:
        outcome = await probed(port)
    assert outcome is not None
    assert outcome.result in (Result.FAILURE, Result.WARNING)


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
        late = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        words = f'Get "http://127.0.0.1:{port}/": {late}'
        assert await probed(port) == Outcome(Result.FAILURE, words)


async def test_a_body_without_an_end_decides_nothing() -> None:
    """As on a kubelet, which tries three times, and then throws the result away."""
    stalls = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly"

    async def answer() -> bytes:
        writers[-1].write(stalls)
        await asyncio.sleep(3)
        return b""

    writers: list[asyncio.StreamWriter] = []
    async with a_server(lambda _: answer(), writers) as port:
        outcome = await probed(port)
    late = "context deadline exceeded (Client.Timeout or context cancellation while reading body)"
    assert outcome == Outcome(Result.UNKNOWN, late, "failure")
    assert len(writers) == 3


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"Content-Length: 100\r\n\r\nonly", id="length"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n64\r\nonly", id="chunk"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", id="no last chunk"),
    ],
)
async def test_a_body_that_breaks_off_decides_nothing(head: bytes) -> None:
    async def answer() -> bytes:
        return b"HTTP/1.1 200 OK\r\n" + head

    async with a_server(lambda _: answer()) as port:
        assert await probed(port) == Outcome(Result.UNKNOWN, "unexpected EOF", "failure")


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_an_answer_that_has_no_body_is_not_waited_for(status: str) -> None:
    async def answer() -> bytes:
        writers[-1].write(f"HTTP/1.1 {status}\r\n\r\n".encode())
        await asyncio.sleep(3)
        return b""

    writers: list[asyncio.StreamWriter] = []
    async with a_server(lambda _: answer(), writers) as port:
        outcome = await probed(port)
    assert outcome is not None
    assert outcome.good


async def test_what_a_server_says_in_advance_is_not_its_answer() -> None:
    hints = (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n"
    )
    async with a_server(lambda _: hints) as port:
        words = "HTTP probe failed with statuscode: 500"
        assert await probed(port) == Outcome(Result.FAILURE, words)
    async with a_server(lambda _: b"HTTP/1.1 102 Processing\r\n\r\n" * 20) as port:
        outcome = await probed(port)
        assert outcome is not None
        assert not outcome.good


async def test_a_line_break_cannot_be_smuggled_into_a_header() -> None:
    with pytest.raises(HttpFailed):
        await http_client.get("http://127.0.0.1:1/", [("X", "a\r\nY: b")])
    async with a_server(lambda _: OK) as port:
        outcome = await probed(port, httpHeaders=[{"name": "X", "value": "a\r\nY: b"}])
        assert outcome is not None
        assert not outcome.good


async def test_a_refused_connection_fails() -> None:
    port = free_port()
    refused = f"dial tcp 127.0.0.1:{port}: connect: connection refused"
    words = f'Get "http://127.0.0.1:{port}/": {refused}'
    assert await probed(port) == Outcome(Result.FAILURE, words)


async def test_a_port_that_the_container_does_not_have_decides_nothing() -> None:
    words = "couldn't find port: metrics"
    assert await probed("metrics") == Outcome(Result.UNKNOWN, words)
    assert await probed(70000) == Outcome(Result.UNKNOWN, "invalid port number: 70000")


def test_ports_are_numbers_or_names_of_the_containers_ports() -> None:
    target = a_target(8080)
    assert handlers.port_of(target, "web") == handlers.port_of(target, "8080") == 8080
    with pytest.raises(BadHandler):
        handlers.port_of(target, "nowhere")


def test_urls_are_made_for_either_family_of_addresses() -> None:
    target = Target({"name": "main"}, "id", ("2001:db8::7",))
    url = handlers.url_of(target, {"port": 80, "path": "x", "scheme": "HTTPS"})
    assert url == "https://[2001:db8::7]:80/x"


async def test_a_hook_that_fell_back_to_plain_http_has_had_its_answer() -> None:
    """Whatever becomes of what the server says."""
    told: list[PodEvent] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_tls = (await reader.read(1000)).startswith(b"\x16")
        broken = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n.."
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" if is_tls else broken)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        for scheme in ("HTTP", "HTTPS"):
            hook = {"port": port, "scheme": scheme}
            target = Target({"name": "main"}, "c1", ("127.0.0.1",))
            await hooks._http_get(hook, target, lambda event: bool(told.append(event)), "failed")  # type: ignore[func-returns-value]
    assert [one.reason for one in told] == ["LifecycleHTTPFallback"]
