"""Work on a pod's files: in order within the pod, whatever became of who asked for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeagent.pods.volumes.fileturns import FileTurns
from tests.edge_materials.making import UID, pod
from tests.edge_materials.volume_device import Device, a_device

PATIENCE = 10.0


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    yield from a_device(tmp_path)


class Hung:
    """A disk that does not answer until ``answer`` is called."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._answers = threading.Event()
        self.answer = self._answers.set

    def __call__(self) -> None:
        self.reached.set()
        assert self._answers.wait(PATIENCE)

    async def reach(self) -> None:
        assert await asyncio.to_thread(self.reached.wait, PATIENCE)


@pytest.fixture
def hung() -> Iterator[Hung]:
    disk = Hung()
    yield disk
    disk.answer()


async def _given_up(task: asyncio.Task[object]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_was_given_up_makes_nothing_of_a_removed_pod_again(
    device: Device, hung: Hung
) -> None:
    folder = device.paths.pod(UID)

    def slow() -> None:
        hung()
        folder.mkdir(parents=True)

    starting = asyncio.create_task(device.volumes.in_turn(pod(), slow))
    await hung.reach()
    await _given_up(starting)
    removing = asyncio.create_task(device.volumes.remove(UID))
    await asyncio.sleep(0.05)
    assert not removing.done()
    hung.answer()
    await removing
    assert not folder.exists()


async def test_a_disk_that_hangs_holds_up_its_own_pod_only(hung: Hung) -> None:
    turns = FileTurns()
    hanging = [
        asyncio.create_task(turns.take(f"uid-{number}", hung)) for number in range(40)
    ]  # More than a program shares threads.
    await hung.reach()
    assert await asyncio.wait_for(turns.take("other", lambda: "made"), PATIENCE) == "made"
    hung.answer()
    await asyncio.gather(*hanging)


async def test_who_is_given_up_before_its_turn_leaves_no_work(hung: Hung) -> None:
    turns, done = FileTurns(), []
    first = asyncio.create_task(turns.take("uid", hung))
    await hung.reach()
    second = asyncio.create_task(turns.take("uid", lambda: done.append("second")))
    third = asyncio.create_task(turns.take("uid", lambda: done.append("third")))
    await asyncio.sleep(0)
    await _given_up(second)
    hung.answer()
    await asyncio.gather(first, third)
    assert done == ["third"]


async def test_an_error_is_the_askers_and_ends_the_turn() -> None:
    turns = FileTurns()

    def fails() -> None:
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        await turns.take("uid", fails)
    assert await turns.take("uid", lambda: 1) == 1
