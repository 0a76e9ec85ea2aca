"""What CRI-O does otherwise than containerd, played by a small gRPC server.

Its answers are those of CRI-O 1.36, as the runtime contract met them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from grpclib.const import Cardinality, Handler
from grpclib.server import Server

from edgeagent.runtime.cri import CriRuntime
from edgeagent.runtime.cri_messages import cri


class PlayedCriO:
    """Notes its calls; answers each with what the test says, or with nothing in particular."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.answers: dict[str, Any] = {}
        self.stopped: list[tuple[str, int]] = []

    def __mapping__(self) -> dict[str, Handler]:
        service = cri.DESCRIPTOR.services_by_name["RuntimeService"]
        return {
            f"/runtime.v1.RuntimeService/{one.name}": self._handler(one.name, one.server_streaming)
            for one in service.methods
        }

    def _handler(self, name: str, streams: bool) -> Handler:
        async def handle(stream: Any) -> None:
            request = await stream.recv_message()
            self.calls.append(name)
            if name == "StopContainer":
                self.stopped.append((request.container_id, request.timeout))
            if not streams:
                await stream.send_message(self.answers.get(name, answer()))

        asked = "GetEventsRequest" if name == "GetContainerEvents" else f"{name}Request"
        told = "ContainerEventResponse" if name == "GetContainerEvents" else f"{name}Response"
        answer = getattr(cri, told)
        kind = Cardinality.UNARY_STREAM if streams else Cardinality.UNARY_UNARY
        return Handler(handle, kind, getattr(cri, asked), answer)


@asynccontextmanager
async def playing(played: PlayedCriO, folder: Path) -> AsyncIterator[CriRuntime]:
    server = Server([played])
    await server.start(path=str(folder / "crio.sock"))
    runtime = CriRuntime(f"unix://{folder}/crio.sock")
    try:
        yield runtime
    finally:
        await runtime.close()
        server.close()
        await server.wait_closed()


async def test_a_command_that_was_cut_off_took_too_long(tmp_path: Path) -> None:
    """It has no error for that: an exit code that no command has, and these words."""
    played = PlayedCriO()
    async with playing(played, tmp_path) as runtime:
        late = cri.ExecSyncResponse(exit_code=-1, stderr=b"command timed out")
        played.answers["ExecSync"] = late
        with pytest.raises(TimeoutError):
            await runtime.exec_sync("c", ["sleep", "60"], 1)
        played.answers["ExecSync"] = cri.ExecSyncResponse(exit_code=1, stderr=late.stderr)
        assert (await runtime.exec_sync("c", ["false"], 1)).exit_code == 1


async def test_what_goes_is_killed_first(tmp_path: Path) -> None:
    """It would wait for two minutes that a container ends, also for one that was never begun."""
    played = PlayedCriO()
    async with playing(played, tmp_path) as runtime:
        await runtime.remove_container("c")
        assert played.calls == ["StopContainer", "RemoveContainer"]
        played.answers["ListContainers"] = cri.ListContainersResponse(
            containers=[
                cri.Container(id="made", state=cri.CONTAINER_CREATED),
                cri.Container(id="runs", state=cri.CONTAINER_RUNNING),
                cri.Container(id="dead", state=cri.CONTAINER_EXITED),
            ]
        )
        await runtime.stop_sandbox("s")
        assert sorted(played.stopped) == [("c", 0), ("made", 0), ("runs", 0)]
        assert played.calls[-1] == "StopPodSandbox"


async def test_events_that_are_switched_off_end_at_once_and_the_lists_are_looked_at(
    tmp_path: Path,
) -> None:
    """CRI-O's default: the stream ends well, without a word."""
    played = PlayedCriO()
    async with playing(played, tmp_path) as runtime:
        labels = {"io.kubernetes.pod.uid": "u-1"}
        pod = cri.PodSandbox(id="s", labels=labels, metadata=cri.PodSandboxMetadata(uid="u-1"))
        played.answers["ListPodSandbox"] = cri.ListPodSandboxResponse(items=[pod])
        events = runtime.events()
        assert (await anext(events)).uid == "u-1"
        played.answers["ListPodSandbox"] = cri.ListPodSandboxResponse()
        assert (await anext(events)).uid == "u-1"
        assert "GetContainerEvents" in played.calls
        await events.aclose()  # type: ignore[attr-defined]
