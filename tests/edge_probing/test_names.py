"""Names that probes look up, while the resolver answers and while it hangs."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from edgeagent.pods.probing import names
from edgeagent.pods.probing.allowance import Allowance
from edgeagent.pods.probing.dialing import DialFailed, dialed


class Resolver:
    """That of the system, for all but the names under ``.example``: those hang until the end."""

    def __init__(self) -> None:
        self.ends = threading.Event()
        self.asked: list[str] = []
        self._system = socket.getaddrinfo

    def __call__(self, host: Any, *rest: Any, **more: Any) -> Any:
        self.asked.append(host)
        if str(host).endswith(".example"):
            self.ends.wait(20)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return self._system(host, *rest, **more)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    played = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", played)
    yield played
    played.ends.set()


async def said(host: str, *, seconds: float = 0.2) -> str:
    """What a probe of that host says that fails."""
    with pytest.raises((DialFailed, TimeoutError)) as failed:
        async with dialed(host, 80, allowance=Allowance(seconds)):
            pass
    return str(failed.value)


async def test_a_resolver_that_hangs_holds_up_nothing_but_who_asked(resolver: Resolver) -> None:
    """As long as there were more probes of names than threads, nothing else had one."""
    probes = [said(f"host-{number}.example") for number in range(40)]
    answers = asyncio.gather(*probes)
    await asyncio.sleep(0.1)
    began = time.monotonic()
    assert await asyncio.to_thread(lambda: "volume") == "volume"
    assert time.monotonic() - began < 5
    assert set(await answers) == {f"dial tcp host-{n}.example:80: i/o timeout" for n in range(40)}
    assert len(resolver.asked) == 16, "at the same time"
    resolver.ends.set()


async def test_many_who_ask_for_one_name_ask_once(resolver: Resolver) -> None:
    await asyncio.gather(*(said("db.example") for _ in range(20)))
    await said("db.example")
    assert resolver.asked == ["db.example"], "also who comes when the first have given up"
    waiting = asyncio.create_task(said("db.example", seconds=10))
    await asyncio.sleep(0)
    resolver.ends.set()
    assert await waiting == "dial tcp: lookup db.example: no such host"


async def test_the_next_address_of_a_name_is_tried_when_one_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def both(host: str) -> list[str]:
        return ["::1", "127.0.0.1"]

    monkeypatch.setattr(names, "addresses", both)
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with dialed("app", port, allowance=Allowance(5)) as (reader, _):
            assert await reader.read() == b""
    with pytest.raises(DialFailed, match=f"dial tcp app:{port}: connect: connection refused"):
        async with dialed("app", port, allowance=Allowance(5)):
            pass


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "fe80::1%lo"])
async def test_an_address_is_not_looked_up(host: str, resolver: Resolver) -> None:
    assert await names.addresses(host) == [host]
    assert resolver.asked == []


async def test_the_system_knows_names_of_its_own(resolver: Resolver) -> None:
    assert "127.0.0.1" in await names.addresses("localhost")


@pytest.mark.parametrize("host", ["a" * 70 + ".test", "a..test"])
async def test_a_name_that_no_resolver_can_ask_for_fails_its_probe(host: str) -> None:
    assert (await said(host, seconds=5)).startswith(f"dial tcp {host}:80: ")
