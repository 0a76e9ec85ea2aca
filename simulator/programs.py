"""One program on one machine, run after run: started, stopped politely, killed, started again.

Each run is a ``Life``: after ``kill`` nothing of it ever executes again. ``stop`` is SIGTERM with
the patience of the service manager. A run that ends by itself with an error is a failure of the
seed, and is started again as systemd would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import copy_context
from typing import Any

from simulator.journal import Journal
from simulator.loop import LIFE, Life, VirtualLoop
from simulator.network import Path

PATIENCE = 15.0
"""``TimeoutStopSec`` of the agent's unit, and the grace period of the hub's Deployment."""
RESTART_AFTER = 2.0


class Program:
    """Subclasses say what a run is (``main``) and what must be taken from a dead one."""

    def __init__(self, name: str, loop: VirtualLoop, journal: Journal, path: Path) -> None:
        self.name = name
        self.loop = loop
        self.journal = journal
        self.path = path
        self.life: Life | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def main(self) -> Coroutine[Any, Any, None]:
        raise NotImplementedError

    def buried(self) -> None:
        """What the kernel takes back when the process is gone."""

    @property
    def running(self) -> bool:
        return self.life is not None

    @property
    def stopping(self) -> bool:
        """It was asked to end."""
        return self._stopping

    def start(self) -> None:
        if self.running:
            return
        self.journal.say(self.name, "starts")
        self.life = Life(self.name)
        self._stopping = False
        context = copy_context()
        context.run(LIFE.set, self.life)
        main = context.run(self.main)
        self._task = self.loop.create_task(main, name=self.name, context=context)
        outside = copy_context()
        self._task.add_done_callback(self._ended, context=outside)

    def restart(self) -> None:
        """As the machine's service manager does, if the machine is there."""
        self.start()

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL when it does not end in time."""
        if not self.running or self._task is None:
            return
        self.journal.say(self.name, "is asked to stop")
        self._stopping = True
        task = self._task
        task.cancel()
        await asyncio.wait({task}, timeout=PATIENCE)
        if self._task is task and not task.done():
            self.journal.fail("slow-stop", f"{self.name} did not stop in {PATIENCE:.0f} s")
            self.kill()

    async def stopped(self) -> None:
        """Until a stop that has begun is over."""
        while self.running and self._stopping:
            await asyncio.sleep(0.1)

    def kill(self, *, power: bool = False) -> None:
        """SIGKILL; with ``power`` even the kernel is gone, and nobody closes its connections."""
        if self.life is None:
            return
        self.journal.say(self.name, "loses power" if power else "is killed")
        self.life.end(self.loop)
        self._over()
        if power:
            self.path.sever()
        else:
            for wire in list(self.path.wires):
                wire.finish()
        self.buried()

    def _over(self) -> None:
        self.life = self._task = None

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._task is not task:
            return
        life = self.life
        self._over()
        error = None if task.cancelled() else task.exception()
        if self._stopping:
            self.journal.say(self.name, "has stopped")
            if error is not None:
                self.journal.fail("crash", f"{self.name} while stopping: {error!r}")
        else:
            self.journal.fail("crash", f"{self.name} ended by itself: {error!r}")
            self.loop.call_later(RESTART_AFTER, self.start)
        if life is not None:
            life.end(self.loop)
        for wire in list(self.path.wires):
            wire.finish()
        self.buried()
