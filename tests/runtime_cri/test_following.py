"""Following changes on runtimes that are not on this machine: newer ones, and ones without push.

A small gRPC server plays the runtime: it has the two list calls, and whatever else a test gives it.
Its pushes say nothing; that containerd's own words are understood is in the runtime contract.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from grpclib.const import Cardinality, Handler
from grpclib.server import Server

from edgeagent.runtime import cri_events
from edgeagent.runtime.cri import CriRuntime
from edgeagent.runtime.cri_messages import cri
from edgeagent.runtime.port import Change, RuntimeAway

Serve = Callable[[Any], Awaitable[None]]


class PlayedRuntime:
    """A runtime with one sandbox whose state a test flips."""

    def __init__(self) -> None:
        self.state = cri.SANDBOX_READY
        self.lists = 0
        self.tells = cri.CONTAINER_STOPPED_EVENT
        self.push = asyncio.Event()
        self.breaks = False
        """Whether the stream ends a moment after a push."""
        self.followed: list[str] = []
        self.more: dict[str, Handler] = {}
        self.is_called("cri-o", "1.36.3")

    def __mapping__(self) -> dict[str, Handler]:
        unary = Cardinality.UNARY_UNARY
        service = "/runtime.v1.RuntimeService"
        return {
            f"{service}/ListPodSandbox": Handler(
                self._pods, unary, cri.ListPodSandboxRequest, cri.ListPodSandboxResponse
            ),
            f"{service}/ListContainers": Handler(
                self._containers, unary, cri.ListContainersRequest, cri.ListContainersResponse
            ),
            **self.more,
        }

    def has_container_events(self) -> None:
        self._pushes("/runtime.v1.RuntimeService/GetContainerEvents")

    def has_events_of_its_own(self) -> None:
        """Containerd's; what they say is another test's matter."""
        self._pushes("/containerd.services.events.v1.Events/Subscribe")

    def is_called(self, name: str, version: str) -> None:
        said = cri.VersionResponse(runtime_name=name, runtime_version=version)

        async def answer(stream: Any) -> None:
            await stream.recv_message()
            await stream.send_message(said)

        self.more["/runtime.v1.RuntimeService/Version"] = Handler(
            answer, Cardinality.UNARY_UNARY, cri.VersionRequest, cri.VersionResponse
        )

    def _pushes(self, path: str) -> None:
        async def events(stream: Any) -> None:
            self.followed.append(path.rpartition("/")[2])
            await self._events(stream)

        self.more[path] = Handler(
            events, Cardinality.UNARY_STREAM, cri.GetEventsRequest, cri.ContainerEventResponse
        )

    async def _pods(self, stream: Any) -> None:
        await stream.recv_message()
        self.lists += 1
        pod = cri.PodSandbox(
            id="s1",
            state=self.state,
            metadata=cri.PodSandboxMetadata(uid="u-1"),
            labels={"io.kubernetes.pod.uid": "u-1"},
        )
        await stream.send_message(cri.ListPodSandboxResponse(items=[pod]))

    async def _containers(self, stream: Any) -> None:
        await stream.recv_message()
        await stream.send_message(cri.ListContainersResponse())

    async def _events(self, stream: Any) -> None:
        await stream.recv_message()
        while True:
            await self.push.wait()
            self.push.clear()
            told = cri.ContainerEventResponse(container_id="c", container_event_type=self.tells)
            await stream.send_message(told)
            if self.breaks:
                await asyncio.sleep(0.005)
                return


@asynccontextmanager
async def serving(played: PlayedRuntime, folder: Path) -> AsyncIterator[CriRuntime]:
    server = Server([played])
    socket = folder / "runtime.sock"
    await server.start(path=str(socket))
    runtime = CriRuntime(f"unix://{socket}")
    try:
        yield runtime
    finally:
        await runtime.close()
        server.close()
        await server.wait_closed()


async def next_uid(events: AsyncIterator[Change], *, within: float) -> float:
    started = time.monotonic()
    async with asyncio.timeout(within):
        assert (await anext(events)).uid == "u-1"
    return time.monotonic() - started


@pytest.mark.parametrize("told", [cri.CONTAINER_STOPPED_EVENT, cri.CONTAINER_STARTED_EVENT])
async def test_with_push_an_idle_runtime_is_left_alone_until_it_pushes(
    told: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when nothing has ended yet: a start shows just as well that it pushes."""
    monkeypatch.setattr(cri_events, "_PUSHED", ((0.06, 0.12), 60.0))
    played = PlayedRuntime()
    played.has_container_events()
    played.tells = told
    async with serving(played, tmp_path) as runtime:
        events = runtime.events()
        await next_uid(events, within=10)
        waiting = asyncio.create_task(next_uid(events, within=60))
        played.push.set()
        looked = -1
        async with asyncio.timeout(20):
            while looked != played.lists:  # The looks that belong to the push are over.
                looked = played.lists
                await asyncio.sleep(1.5)
        played.state = cri.SANDBOX_NOTREADY
        await asyncio.sleep(1.2)
        assert played.lists == looked
        played.push.set()
        async with asyncio.timeout(10):
            await waiting
        await events.aclose()  # type: ignore[attr-defined]


async def test_a_burst_of_pushes_is_looked_at_a_few_times_and_its_end_at_once(
    tmp_path: Path,
) -> None:
    played = PlayedRuntime()
    played.has_container_events()
    async with serving(played, tmp_path) as runtime:
        events = runtime.events()
        await next_uid(events, within=10)
        waiting = asyncio.create_task(next_uid(events, within=60))
        looked, began = played.lists, time.monotonic()
        for _ in range(100):
            played.push.set()
            await asyncio.sleep(0.01)
        assert played.lists - looked <= 10 * max(1.0, time.monotonic() - began)
        played.state = cri.SANDBOX_NOTREADY
        changed = time.monotonic()
        played.push.set()
        async with asyncio.timeout(10):
            await waiting
        assert time.monotonic() - changed < 5
        await events.aclose()  # type: ignore[attr-defined]


async def test_starts_that_are_told_cost_a_look_now_and_then(tmp_path: Path) -> None:
    """They are the agent's own; one that is not is seen in well under a second all the same."""
    played = PlayedRuntime()
    played.has_container_events()
    played.tells = cri.CONTAINER_STARTED_EVENT
    async with serving(played, tmp_path) as runtime:
        events = runtime.events()
        await next_uid(events, within=10)
        waiting = asyncio.create_task(next_uid(events, within=60))
        played.push.set()
        await asyncio.sleep(6)  # The looks that follow the first change, and this push.
        looked, began = played.lists, time.monotonic()
        for _ in range(200):
            played.push.set()
            await asyncio.sleep(0.01)
        assert 1 <= played.lists - looked <= 1 + 2 * (time.monotonic() - began)
        played.state = cri.SANDBOX_NOTREADY
        played.push.set()
        async with asyncio.timeout(10):
            await waiting
        await events.aclose()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "version", "followed"),
    [
        ("containerd", "1.7.24~ds1", "Subscribe"),
        ("containerd", "2.0.0", "GetContainerEvents"),
        ("containerd", "2.2.7", "GetContainerEvents"),
        ("cri-o", "1.31.0", "GetContainerEvents"),
    ],
)
async def test_containerd_is_followed_by_events_that_nobody_can_take_away(
    name: str, version: str, followed: str, tmp_path: Path
) -> None:
    """Before 2.0 each event of the CRI goes to one follower, and that may be another one."""
    played = PlayedRuntime()
    played.is_called(name, version)
    played.has_container_events()
    played.has_events_of_its_own()
    async with serving(played, tmp_path) as runtime:
        events = runtime.events()
        await next_uid(events, within=10)
        waiting = asyncio.create_task(next_uid(events, within=10))
        async with asyncio.timeout(10):
            while not played.followed:
                await asyncio.sleep(0.01)
        played.state = cri.SANDBOX_NOTREADY
        played.push.set()
        await waiting
        assert played.followed == [followed]
        await events.aclose()  # type: ignore[attr-defined]


async def test_a_stream_that_ends_right_after_a_push_is_noticed(tmp_path: Path) -> None:
    """Else nothing is pushed any more, and each change is seen up to ten seconds late."""
    played = PlayedRuntime()
    played.has_container_events()
    played.breaks = True
    async with serving(played, tmp_path) as runtime:
        events = runtime.events()
        await next_uid(events, within=10)
        waiting = asyncio.create_task(next_uid(events, within=60))
        await asyncio.sleep(0.1)
        played.push.set()
        with pytest.raises(RuntimeAway, match="ended its events"):
            async with asyncio.timeout(10):
                await waiting


async def test_without_any_push_the_lists_are_looked_at(tmp_path: Path) -> None:
    played = PlayedRuntime()
    async with serving(played, tmp_path) as runtime:
        events = runtime.events()
        await next_uid(events, within=10)
        waiting = asyncio.create_task(next_uid(events, within=60))
        await asyncio.sleep(1.5)
        looked = played.lists
        await asyncio.sleep(2.2)
        assert 1 <= played.lists - looked <= 3, "idle: once a second"
        played.state = cri.SANDBOX_NOTREADY
        assert await waiting < 10
        await events.aclose()  # type: ignore[attr-defined]


async def test_ended_calls_are_not_remembered_for_ever(tmp_path: Path) -> None:
    """The agent lives for months on one connection."""
    played = PlayedRuntime()
    async with serving(played, tmp_path) as runtime:
        for _ in range(600):
            await runtime.list_sandboxes()  # two calls each
        channel = runtime._channel._channel
        protocol = await channel.__connect__()
        assert len(protocol.connection._connection._closed_streams) <= 1024
