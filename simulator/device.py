"""One device: its clock, disk, container runtime and link, and the agent that runs on it.

The disk is a folder (on tmpfs) with a real SQLite file. What can happen to a device is a method;
the disk is only touched while no agent runs, except that it can be full at any time.
"""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import sqlite_utils

from edgeagent.desired import Desired
from edgeagent.store.database import FILE, Database
from edgeagent.store.desired import DesiredStore
from edgeagent.store.executor import InlineExecutor
from shared.errors import StoreBusy
from shared.topics import Topics
from simulator.agent import run_agent
from simulator.broker import Broker
from simulator.clock import SimClock
from simulator.journal import Journal
from simulator.judging import Judge
from simulator.loop import VirtualLoop
from simulator.network import Path as Way
from simulator.programs import Program
from simulator.runtime import WatchedDevice
from simulator.sim_link import SimLink

Result = TypeVar("Result")

REAL_TIME_CLOCK_LOST = 10.0
"""What a device without a clock battery shows when it boots: ten seconds after 1970."""


class Disk(Database):
    """The real store, on a disk that can be full."""

    def __init__(self, folder: Path, is_full: Callable[[], bool]) -> None:
        super().__init__(folder, executor=InlineExecutor())
        self._is_full = is_full

    async def write(self, work: Callable[[sqlite_utils.Database], Result]) -> Result:
        if self._is_full():
            raise StoreBusy("database: the disk is full")
        return await super().write(work)


class EdgeDevice(Program):
    def __init__(
        self,
        name: str,
        *,
        loop: VirtualLoop,
        journal: Journal,
        rng: random.Random,
        broker: Broker,
        folder: Path,
        judge: Judge,
    ) -> None:
        super().__init__(name, loop, journal, Way(random.Random(rng.getrandbits(32))))
        self.rng = rng
        self.clock = SimClock(loop)
        self.runtime = WatchedDevice(self.clock, judge)
        self.judge = judge
        self.folder = folder
        self.disk_is_full = False
        self.powered = True
        self.boots = 1
        self._broker = broker
        self._database: Disk | None = None
        self._images: list[Path] = []
        folder.mkdir(parents=True)

    # -- the agent

    def main(self) -> Coroutine[Any, Any, None]:
        self._database = Disk(self.folder / "data", lambda: self.disk_is_full)
        return run_agent(
            node=self.name,
            boot=f"boot-{self.boots}",
            link=SimLink(self._broker, self.path),
            device=self.runtime,
            clock=self.clock,
            database=self._database,
            folder=self.folder,
            topics=Topics(),
            rng=random.Random(self.rng.getrandbits(32)),
        )

    def restart(self) -> None:
        if self.powered:
            self.start()

    def buried(self) -> None:
        """The kernel closes the file and lets the folder's lock go."""
        database, self._database = self._database, None
        if database is not None:
            _finish(database.close())

    async def desired(self) -> Desired:
        """What is on the disk, as an agent that starts would read it."""
        if self._database is None:
            return Desired()
        return await DesiredStore(self._database).load()

    @property
    def lost_memory(self) -> bool:
        """The database or the runtime's store was lost at some time: counts may begin anew."""
        return self.judge.forgives

    def forget(self) -> None:
        self.judge.forgives = True

    # -- bad days

    async def reboot(self, *, off_for: float, power: bool) -> None:
        """Down at once (``power``) or in good order, and up again after a while."""
        self.powered = False
        if power:
            self.kill(power=True)
        else:
            await self.stop()
        self.runtime.reboot()
        self.journal.say(self.name, "is off", seconds=round(off_for))
        await asyncio.sleep(off_for)
        self.boot()

    def boot(self) -> None:
        if self.powered:
            return
        self.powered = True
        self.boots += 1
        self.clock.boot()
        if self.rng.random() < 0.3:
            self.clock.set_wall(REAL_TIME_CLOCK_LOST)
        self.runtime.come_back()
        self.journal.say(self.name, "boots", wall=round(self.clock.now()))
        self.start()

    def calm(self) -> None:
        """Nothing is broken any more, the clock is right, containers do not crash by themselves."""
        self.disk_is_full = False
        self.clock.offset = 0.0
        self.runtime.calm = True
        self.runtime.latency.clear()
        self.runtime.failures.clear()
        self.runtime.come_back()
        self.boot()
        self.start()

    def crash_some_container(self) -> None:
        running = [run for run in self.runtime.runs.values() if run.ended is None]
        if running:
            run = self.rng.choice(running)
            code = self.rng.choice((1, 137, 139))
            self.journal.say(self.name, f"{run.container_id} dies", code=code)
            self.runtime.kill(run.container_id, exit_code=code)

    # -- the disk, while no agent runs

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def keep_image(self) -> None:
        """Remember the database as it is now."""
        if not (self._data / FILE).exists():
            return
        image = self.folder / f"image-{len(self._images)}"
        image.mkdir()
        for file in self._files():
            shutil.copy(file, image)
        self._images.append(image)

    def roll_back(self) -> None:
        if not self._images:
            return
        image = self.rng.choice(self._images)
        self._remove_database()
        for file in image.iterdir():
            shutil.copy(file, self._data)
        self.forget()
        self.journal.say(self.name, "database rolled back", image=image.name)

    def lose_database(self) -> None:
        self._remove_database()
        self.forget()
        self.journal.say(self.name, "database lost")

    def damage_database(self) -> None:
        """Garbage over some pages, or the file cut short."""
        file = self._data / FILE
        if not file.exists():
            return
        content = bytearray(file.read_bytes())
        if self.rng.random() < 0.3:
            content = content[: self.rng.randrange(len(content) + 1)]
        for _ in range(self.rng.choice((1, 4, 40))):
            if content:
                place = self.rng.randrange(len(content))
                content[place : place + 64] = self.rng.randbytes(min(64, len(content) - place))
        file.write_bytes(bytes(content))
        self.forget()
        self.journal.say(self.name, "database damaged")

    def _remove_database(self) -> None:
        for file in self._files():
            file.unlink()

    def _files(self) -> list[Path]:
        names = (FILE, f"{FILE}-wal", f"{FILE}-shm")
        return [self._data / name for name in names if (self._data / name).exists()]


def _finish(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that waits for nothing."""
    try:
        while True:
            coroutine.send(None)
    except StopIteration:
        return
