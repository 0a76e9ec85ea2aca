"""People at the device tell the running agent: over a socket, without a network."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from pathlib import Path

import pytest

from edgeagent import commanding
from edgeagent.commanding import SOCKET, Answers, commands
from edgeagent.desired import Body, Desired
from edgeagent.local import telling
from edgeagent.outbox import Row
from edgeagent.snapshot import StoredReport, taken
from edgeagent.standing import Standing
from shared.errors import SettingsError
from shared.messages import Entry, Inventory
from shared.objects import NO_NAMESPACE, Json, ObjectKey
from shared.static_pods import status_key

WEB = ObjectKey("Pod", "default", "web")
NODE = ObjectKey("Node", NO_NAMESPACE, "edge-1")


async def release(key: ObjectKey) -> str:
    return "deletion" if key == WEB else ""


STANDING = Standing("edge-1", "mqtt://b", "cri", "0.1.0", "/logs", link="connected", ready=True)
DESIRED = Desired(
    Inventory(7, {WEB: Entry(b"1" * 16), ObjectKey("Secret", "default", "s"): Entry(b"2" * 16)}),
    {WEB: Body(b"1" * 16, b"")},
)
STATIC = ObjectKey("Pod", "kube-system", "vpn-edge-1")
ROWS = {
    WEB: Row(WEB, "uid-1", {"phase": "Running"}, sequence=3),
    NODE: Row(NODE, "", {}, sequence=2, sent=True),
    status_key(STATIC): Row(status_key(STATIC), "a" * 32, {"phase": "Failed"}, sequence=4),
}


def snapshot() -> Json:
    return taken(
        STANDING,
        desired=DESIRED,
        static=[STATIC],
        rows=ROWS,
        facts=[{"on_hold": "update"}],
        trouble="disk is full",
    )


ANSWERS = Answers(release, snapshot)


async def told(folder: Path, name: str) -> str:
    return await asyncio.to_thread(telling.release, folder, "default", name)


async def test_what_was_on_hold_is_answered(tmp_path: Path) -> None:
    async with commands(tmp_path, ANSWERS):
        assert await told(tmp_path, "web") == "deletion"
        with pytest.raises(SettingsError, match="nothing is on hold for the pod default/other"):
            await told(tmp_path, "other")
        with pytest.raises(SettingsError, match="not a command"):
            await told(tmp_path, "../../etc")


async def test_how_everything_stands_is_answered_from_memory(tmp_path: Path) -> None:
    async with commands(tmp_path, ANSWERS):
        found = await asyncio.to_thread(telling.ask_snapshot, tmp_path)
    assert found is not None and found.live and found.agent_runs
    assert (found.standing["link"], found.revision, found.trouble) == (
        *("connected", 7),
        "disk is full",
    )
    assert found.wanted_pods == {"default/web", "kube-system/vpn-edge-1"}
    assert found.missing == ("Secret/default/s",)
    assert found.reports == (
        StoredReport("default", "web", "uid-1", {"phase": "Running"}, sent=False),
        StoredReport("kube-system", "vpn-edge-1", "a" * 32, {"phase": "Failed"}, False),
    )
    assert found.waiting == 2 and found.facts == ({"on_hold": "update"},)


async def test_an_agent_that_does_not_answer_is_no_error(tmp_path: Path) -> None:
    assert await asyncio.to_thread(telling.ask_snapshot, tmp_path) is None
    async with commands(tmp_path, Answers(release, lambda: {"of": "another version"})):
        assert await asyncio.to_thread(telling.ask_snapshot, tmp_path) is None


async def test_nobody_else_may_tell_it_anything(tmp_path: Path) -> None:
    async with commands(tmp_path, ANSWERS):
        assert stat.S_IMODE((tmp_path / SOCKET).stat().st_mode) == 0o600
    assert not (tmp_path / SOCKET).exists()


async def test_an_agent_that_was_killed_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    (tmp_path / SOCKET).touch()
    async with commands(tmp_path, ANSWERS):
        assert await told(tmp_path, "web") == "deletion"


async def test_without_an_agent_the_reason_and_the_way_out_are_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no agent answers in .* start it"):
        await told(tmp_path, "web")


async def test_a_path_longer_than_a_socket_may_have(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 120)
    deep.mkdir()
    async with commands(deep, ANSWERS):
        assert await told(deep, "web") == "deletion"


async def test_where_no_socket_can_be_made_the_agent_runs_without(tmp_path: Path) -> None:
    async with commands(tmp_path / "nowhere", ANSWERS):
        pass


@pytest.mark.parametrize(
    "junk", [b"", b"\n", b"[]\n", b"x" * 10_000, b'{"release": 1}\n', b"\xff\n"]
)
async def test_junk_is_answered_or_dropped_and_harms_nothing(tmp_path: Path, junk: bytes) -> None:
    async with commands(tmp_path, ANSWERS):
        folder = os.open(tmp_path, os.O_RDONLY)
        reader, writer = await asyncio.open_unix_connection(f"/proc/self/fd/{folder}/{SOCKET}")
        os.close(folder)
        writer.write(junk)
        writer.write_eof()
        assert await reader.read() in (b"", b'{"error": "not a command"}\n')
        writer.close()
        await writer.wait_closed()
        assert await told(tmp_path, "web") == "deletion"


async def test_a_client_that_does_not_read_is_hung_up_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commanding, "PATIENCE", 0.1)
    large = Answers(release, lambda: {"of": "x" * 50_000_000})
    before = asyncio.all_tasks()
    async with commands(tmp_path, large):
        folder = os.open(tmp_path, os.O_RDONLY)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"/proc/self/fd/{folder}/{SOCKET}")
            os.close(folder)
            client.send(b'{"tell": "snapshot"}\n')
            async with asyncio.timeout(20):
                while asyncio.all_tasks() == before:
                    await asyncio.sleep(0.01)
                while asyncio.all_tasks() != before:
                    await asyncio.sleep(0.01)
