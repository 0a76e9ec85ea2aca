"""Logs stay small, lose no line, and are read whole by ``edgeagent logs``."""

from __future__ import annotations

import asyncio
import gzip
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.housekeeping import rotating
from edgeagent.housekeeping.rotating import LogRotation, tidying
from edgeagent.local import logs
from edgeagent.pods.held import HeldPod
from edgeagent.runtime.memory import MemoryRuntime
from edgeagent.runtime.memory_device import MemoryDevice
from edgeagent.runtime.port import Container, ContainerState, Sandbox, SandboxState
from shared.clock import SystemClock
from shared.errors import TemporaryError
from tests.edge_housekeeping.household import Hands, at_once
from tests.edge_pods.device import Device, a_device, a_script
from tests.parts.containerd import Containerd

LINE = "2026-01-01T00:00:00Z stdout F {}\n"


class OnePod:
    """A pod with one container, whose log is ``path``."""

    adopted = True

    def __init__(self, path: Path, state: ContainerState = ContainerState.RUNNING) -> None:
        one = Container("c1", "s1", "main", 0, state, "app:1", "", 0, log_path=str(path))
        self.sandbox = Sandbox(
            "s1", "web", "default", "uid", 0, SandboxState.READY, 0, containers=(one,)
        )

    def held(self) -> list[HeldPod]:
        return [HeldPod("uid", {}, (self.sandbox,))]

    def known(self) -> set[str]:
        return {"uid"}

    def evict(self, uid: str, eviction: object) -> None:
        raise AssertionError("a log evicts nobody")


class Writer(MemoryRuntime):
    """A runtime that makes a new log file when it is told to, or refuses."""

    def __init__(self, path: Path) -> None:
        super().__init__(MemoryDevice(SystemClock()))
        self.path = path
        self.refuses = False

    async def reopen_log(self, container_id: str) -> None:
        if self.refuses:
            raise TemporaryError("no")
        self.path.touch()


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(rotating, "MOST_BYTES", 100)
    folder = tmp_path / "logs" / "pod" / "main"
    folder.mkdir(parents=True)
    return folder / "0.log"


def read_all(path: Path) -> list[bytes]:
    return list(logs.read(path, tail=None, follow=False))


async def test_only_a_large_log_of_a_running_container_is_rotated(path: Path) -> None:
    path.write_text("x" * 100)
    rotation = LogRotation(Writer(path), pods=OnePod(path), clock=Hands(), offload=at_once)
    await rotation.look()
    assert [one.name for one in path.parent.iterdir()] == ["0.log"]
    path.write_text("x" * 101)
    ended = OnePod(path, ContainerState.EXITED)
    await LogRotation(Writer(path), pods=ended, clock=Hands(), offload=at_once).look()
    assert [one.name for one in path.parent.iterdir()] == ["0.log"]
    await rotation.look()
    assert sorted(one.name for one in path.parent.iterdir()) == ["0.log", "0.log.20260528-202640"]


async def test_five_files_are_kept_and_read_as_one_log(path: Path) -> None:
    clock = Hands()
    rotation = LogRotation(Writer(path), pods=OnePod(path), clock=clock, offload=at_once)
    for number in range(12):
        with path.open("a") as log:
            log.write(LINE.format(f"{number} {'x' * 100}"))
        await rotation.look()
        clock.at += 10
    with path.open("a") as log:
        log.write(LINE.format("last"))
    files = sorted(one.name for one in path.parent.iterdir())
    assert len(files) == rotating.MOST_FILES
    assert [one.endswith(".gz") for one in files] == [False, True, True, True, False]
    numbers = [line.split()[0] for line in read_all(path)]
    assert numbers == [b"8", b"9", b"10", b"11", b"last"]
    assert [line.split()[0] for line in logs.read(path, tail=2, follow=False)] == [b"11", b"last"]


async def test_a_link_in_place_of_a_rotated_log_goes_and_is_not_read(path: Path) -> None:
    """Else a pod that may write there would have any file of the device packed for it."""
    secret = path.parents[2] / "secret"
    secret.write_text("of the device")
    aside = path.with_name("0.log.20260101-000000")
    aside.symlink_to(secret)
    path.write_text("x" * 101)
    rotation = LogRotation(Writer(path), pods=OnePod(path), clock=Hands(), offload=at_once)
    await rotation.look()
    assert sorted(one.name for one in path.parent.iterdir()) == ["0.log", "0.log.20260528-202640"]
    assert secret.read_text() == "of the device"


async def test_nothing_is_rotated_in_what_a_link_in_place_of_the_folder_leads_to(
    path: Path,
) -> None:
    path.write_text("x" * 101)
    target = path.parents[2] / "elsewhere"
    path.parent.rename(target)
    path.parent.symlink_to(target)
    rotation = LogRotation(Writer(path), pods=OnePod(path), clock=Hands(), offload=at_once)
    await rotation.look()
    assert [one.name for one in target.iterdir()] == ["0.log"]


async def test_when_the_runtime_does_not_reopen_the_log_stays_where_it_is(path: Path) -> None:
    path.write_text("x" * 200)
    writer = Writer(path)
    writer.refuses = True
    await LogRotation(writer, pods=OnePod(path), clock=Hands(), offload=at_once).look()
    assert [one.name for one in path.parent.iterdir()] == ["0.log"]
    assert path.stat().st_size == 200


async def test_a_log_that_is_gone_is_begun_anew(path: Path) -> None:
    """Somebody removed it, or the agent was killed after it had put it aside."""
    rotation = LogRotation(Writer(path), pods=OnePod(path), clock=Hands(), offload=at_once)
    await rotation.look()
    assert [one.name for one in path.parent.iterdir()] == ["0.log"]


async def test_a_log_whose_folder_is_gone_too_has_one_again(path: Path) -> None:
    """CRI-O's writer of the log makes none and would end, and its container with it."""
    path.parent.rmdir()
    path.parent.parent.rmdir()
    rotation = LogRotation(Writer(path), pods=OnePod(path), clock=Hands(), offload=at_once)
    before = os.umask(0o077)
    try:
        await rotation.look()
    finally:
        os.umask(before)
    assert [one.name for one in path.parent.iterdir()] == ["0.log"]
    for folder in path.parents[:2]:
        assert folder.stat().st_mode & 0o777 == 0o755, "open to collectors, whatever the umask"


async def test_a_log_of_a_container_that_has_ended_is_not_begun_anew(path: Path) -> None:
    ended = OnePod(path, ContainerState.EXITED)
    await LogRotation(Writer(path), pods=ended, clock=Hands(), offload=at_once).look()
    assert not path.exists()


async def test_a_log_that_cannot_be_begun_anew_is_tried_again(path: Path) -> None:
    writer = Writer(path)
    writer.refuses = True
    rotation = LogRotation(writer, pods=OnePod(path), clock=Hands(), offload=at_once)
    await rotation.look()
    assert not path.exists()
    writer.refuses = False
    await rotation.look()
    assert path.exists()


async def test_a_packed_log_keeps_its_text_and_its_mode(path: Path) -> None:
    clock, writer = Hands(), Writer(path)
    path.write_text("a" * 200)
    path.chmod(0o600)
    rotation = LogRotation(writer, pods=OnePod(path), clock=clock, offload=at_once)
    await rotation.look()
    path.write_text("b" * 200)
    clock.at += 10
    await rotation.look()
    (packed,) = path.parent.glob("*.gz")
    assert gzip.decompress(packed.read_bytes()) == b"a" * 200
    assert packed.stat().st_mode & 0o777 == 0o600


def test_a_packed_log_that_a_power_cut_damaged_does_not_hide_the_others(path: Path) -> None:
    path.write_text(LINE.format("live"))
    whole = gzip.compress(LINE.format("old").encode() * 1000)
    path.with_name("0.log.20260101-000001.gz").write_bytes(whole[: len(whole) // 2])
    path.with_name("0.log.20260101-000002.gz").write_bytes(b"")
    path.with_name("0.log.20260101-000003.gz").write_bytes(b"rubbish")
    path.with_name("0.log.20260101-000004").write_text(LINE.format("aside"))
    assert read_all(path)[-2:] == [b"aside\n", b"live\n"]


names = st.builds(
    lambda stamp, end: f"0.log.{stamp:08d}-000000{end}",
    st.integers(0, 9),
    st.sampled_from(["", ".gz", ".gz.tmp"]),
)
others = st.sampled_from(["0.log", "1.log", "10.log.00000001-000000", "0.log.old", "0.log.gz"])


@given(st.sets(st.one_of(names, others)), st.integers(2, 6))
def test_tidying_leaves_at_most_the_newest_and_touches_nothing_else(
    found: set[str], most: int
) -> None:
    todo = tidying(found, "0.log", most=most)
    touched = {*todo.remove, *todo.pack}
    assert touched <= {one for one in found if one.startswith("0.log.0")}
    stamps = {one.removesuffix(".tmp").removesuffix(".gz") for one in found - set(todo.remove)}
    rotated = sorted(one for one in stamps if one.startswith("0.log.0"))
    assert len(rotated) <= most - 2
    whole = {
        one.removesuffix(".gz")
        for one in found
        if one.startswith("0.log.0") and not one.endswith(".tmp")
    }
    assert rotated == sorted(whole)[len(whole) - len(rotated) :], "the oldest go"
    assert len(rotated) == min(len(whole), most - 2), "no more than must"


async def test_following_goes_on_in_the_new_file(path: Path) -> None:
    path.write_text(LINE.format("one"))
    seen: list[bytes] = []

    def follow() -> None:
        for line in logs.read(path, tail=None, follow=True):
            seen.append(line)
            if line == b"last\n":
                return

    following = asyncio.create_task(asyncio.to_thread(follow))
    while not seen:
        await asyncio.sleep(0.01)
    with path.open("a") as log:
        path.rename(path.with_name("0.log.20260101-000000"))
        log.write(LINE.format("two"))
    path.write_text(LINE.format("last"))
    await asyncio.wait_for(following, 10)
    assert seen == [b"one\n", b"two\n", b"last\n"]


async def test_on_containerd_no_line_is_lost(
    containerd: Containerd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotating, "MOST_BYTES", 5000)
    async with a_device(containerd, tmp_path) as device:
        script = (
            "i=0; while [ $i -lt 600 ]; do i=$((i+1)); echo line $i; sleep 0.003; done; sleep 999"
        )
        uid = device.apply(a_script(script))
        await device.until(lambda: device.runs(uid))
        path = device.paths.log_directory(device.desired.wanted[uid].pod) / "main" / "0.log"
        clock = Hands()
        rotation = LogRotation(
            device.runtime, pods=device.pods, clock=clock, offload=asyncio.to_thread
        )
        while not _has(path, b"line 600\n"):
            await rotation.look()
            clock.at += 10
            await asyncio.sleep(0.3)
        rotated = list(path.parent.glob("0.log.*"))
        assert len(rotated) >= 2
        lines = read_all(path)
        assert lines[-1] == b"line 600\n"
        first = int(lines[0].split()[1])
        assert lines == [f"line {number}\n".encode() for number in range(first, 601)]
        _stays_running(device, uid)


async def test_on_containerd_a_log_that_was_removed_comes_back(
    containerd: Containerd, tmp_path: Path
) -> None:
    async with a_device(containerd, tmp_path) as device:
        uid = device.apply(a_script("while true; do echo line; sleep 0.1; done"))
        await device.until(lambda: device.runs(uid))
        path = device.paths.log_directory(device.desired.wanted[uid].pod) / "main" / "0.log"
        path.unlink()
        await asyncio.sleep(0.3)
        assert not path.exists(), "the runtime writes into what is gone"
        rotation = LogRotation(
            device.runtime, pods=device.pods, clock=Hands(), offload=asyncio.to_thread
        )
        await rotation.look()
        await device.until(lambda: _has(path, b"line\n"))
        _stays_running(device, uid)


def _has(path: Path, text: bytes) -> bool:
    """As its last line; which may be in a file that was rotated away."""
    return path.exists() and read_all(path)[-1:] == [text]


def _stays_running(device: Device, uid: str) -> None:
    assert device.runs(uid)
    assert device.container(uid)["restartCount"] == 0
