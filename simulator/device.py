"""One device: its clock, disk, logind, container runtime and link, and the agent that runs on it.

What can happen to a device is a method here, or one of its disk's.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from edgeagent.desired import Desired
from edgeagent.store.desired import DesiredStore
from simulator.agent import Machine, run_agent
from simulator.broker import Broker
from simulator.clock import SimClock
from simulator.disk import Disk, Store
from simulator.journal import Journal
from simulator.judging import Judge
from simulator.logind import SimLogind
from simulator.loop import VirtualLoop
from simulator.manifests import Manifests
from simulator.network import Path as Way
from simulator.programs import Program
from simulator.runtime import WatchedDevice
from simulator.sim_link import SimLink

REAL_TIME_CLOCK_LOST = 10.0
"""What a device without a clock battery shows when it boots: ten seconds after 1970."""


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
        manifests: Manifests | None,
    ) -> None:
        super().__init__(name, loop, journal, Way(random.Random(rng.getrandbits(32))))
        self.rng = rng
        self.clock = SimClock(loop)
        self.runtime = WatchedDevice(self.clock, judge)
        self.judge = judge
        self.manifests = manifests
        """None: its settings name no folder of static pods."""
        self.logind = SimLogind(released=self._lets_go)
        self.folder = folder
        self.disk = Disk(folder, rng, self._lost)
        self.powered = True
        self.boots = 1
        self._broker = broker
        self._store: Store | None = None
        folder.mkdir(parents=True, exist_ok=True)

    # -- the agent

    def main(self) -> Coroutine[Any, Any, None]:
        self._store = self.disk.store()
        self.judge.shutdowns.agent_can_act()
        return run_agent(
            Machine(
                node=self.name,
                boot=f"boot-{self.boots}",
                folder=self.folder,
                static_pods=self.manifests.folder if self.manifests else None,
                link=SimLink(self._broker, self.path),
                device=self.runtime,
                clock=self.clock,
                database=self._store,
                logind=self.logind.connected,
                rng=random.Random(self.rng.getrandbits(32)),
            )
        )

    def restart(self) -> None:
        if self.powered:
            self.start()

    def buried(self) -> None:
        """The kernel closes the database and lets go of its folder, and of logind."""
        self.logind.let_go()
        store, self._store = self._store, None
        if store is not None:
            _finish(store.close())

    async def desired(self) -> Desired:
        """What is on the disk, as an agent that starts would read it."""
        if self._store is None:
            return Desired()
        return await DesiredStore(self._store).load()

    def forget(self) -> None:
        """The database or the runtime's store is lost: counts may begin anew."""
        self.judge.forget()

    def _lost(self, what: str) -> None:
        self.forget()
        self.journal.say(self.name, what)

    # -- bad days

    async def reboot(self, *, off_for: float, power: bool) -> None:
        """Down at once (``power``) or in good order, and up again after a while."""
        self.powered = False
        if power:
            self.kill(power=True)
        else:
            await self.stop()
        self.runtime.reboot()
        self.judge.shutdowns.over()
        self.journal.say(self.name, "is off", seconds=round(off_for))
        await asyncio.sleep(off_for)
        self.boot()

    def boot(self) -> None:
        if self.powered:
            return
        self.powered = True
        self.boots += 1
        self.clock.boot()
        self.logind.boot()
        if self.rng.random() < 0.3:
            self.clock.set_wall(REAL_TIME_CLOCK_LOST)
        self.runtime.come_back()
        self.journal.say(self.name, "boots", wall=round(self.clock.now()))
        self.start()

    async def shut_down(self, *, off_for: float, allowed: float) -> None:
        """By its people: off when nobody holds it up any more, or after what is ``allowed``."""
        if not self.powered or self.logind.preparing:
            return
        boots = self.boots
        self.announce_shutdown(allowed=allowed)
        while not self.logind.off.is_set():
            await asyncio.sleep(0.1)
            if self.boots != boots or not self.logind.preparing:
                return
        if self.powered:
            await self.reboot(off_for=off_for, power=False)

    def announce_shutdown(self, *, allowed: float) -> None:
        self.journal.say(self.name, "is being shut down", allowed=allowed)
        self.judge.shutdowns.announced(allowed)
        self.logind.longest_delay = allowed
        self.logind.shut_down()

    def call_off_shutdown(self) -> None:
        if self.logind.preparing:
            self.journal.say(self.name, "the shutdown is called off")
            self.judge.shutdowns.over()
            self.logind.call_off()

    def _lets_go(self) -> None:
        if self.running and not self.stopping:
            self.judge.lets_go(self.runtime.running())

    def calm(self) -> None:
        """Nothing is broken any more, the clock is right, containers do not crash by themselves."""
        self.disk.is_full = False
        self.clock.offset = 0.0
        self.runtime.calm = True
        self.runtime.latency.clear()
        self.runtime.failures.clear()
        self.runtime.come_back()
        self.call_off_shutdown()
        self.logind.open()
        self.boot()
        self.start()

    def crash_some_container(self) -> None:
        running = [run for run in self.runtime.runs.values() if run.ended is None]
        if running:
            run = self.rng.choice(running)
            code = self.rng.choice((1, 137, 139))
            self.journal.say(self.name, f"{run.container_id} dies", code=code)
            self.runtime.kill(run.container_id, exit_code=code)


def _finish(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that waits for nothing."""
    try:
        while True:
            coroutine.send(None)
    except StopIteration:
        return
