"""The device under an agent's containers, watched: the truth that oracles compare with.

A ``MemoryDevice`` whose containers live in the device's own context (an agent's death does not
touch them) and whose every start and end is remembered with its cause. What a container does is
in the name of its image, so that a story reads: ``sim/job-3-0`` ends by itself after 3 s with 0.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from typing import Protocol

from edgeagent.runtime.memory_device import Behaviour, MemoryDevice, Process, RemoteImage
from edgeagent.runtime.port import ContainerConfig, ContainerState
from shared.clock import Clock
from simulator.loop import LIFE

IMAGES = (
    *("sim/steady-1:1", "sim/steady-2:1", "sim/stubborn:1"),
    *("sim/crashy-7-1:1", "sim/job-3-0:1"),
)
FAILING_JOB = "sim/job-5-3:1"


@dataclass(slots=True)
class Run:
    """One container from its start to its end, kept after the runtime forgot it."""

    container_id: str
    uid: str
    name: str
    image: str
    started: float
    """Virtual time, as everything that judges has it; clocks of devices begin anew."""
    ended: float | None = None
    exit_code: int = 0
    by_agent: bool = False


class Watcher(Protocol):
    """Who judges, at the moment it happens, what the agent does."""

    def starts(self, run: Run, running: list[Run]) -> None:
        """``running`` is everything else on the device."""
        ...

    def stops(self, run: Run, running: list[Run]) -> None: ...

    def answers_again(self) -> None:
        """The runtime was away."""
        ...


class WatchedDevice(MemoryDevice):
    def __init__(self, clock: Clock, watcher: Watcher) -> None:
        super().__init__(clock, behaviour=self._behaves)
        self.runs: dict[str, Run] = {}
        self.calm = False
        """Containers have stopped crashing."""
        self._watcher = watcher
        self._context = copy_context()
        for image in (*IMAGES, FAILING_JOB):
            self.registry[image] = RemoteImage(pull_seconds=0.5)

    def come_back(self) -> None:
        if self.away:
            self._watcher.answers_again()
        super().come_back()

    def running(self) -> list[Run]:
        return [run for run in self.runs.values() if run.ended is None]

    def start(self, process: Process) -> None:
        seen = process.seen
        run = Run(
            container_id=seen.id,
            uid=process.pod.seen.uid,
            name=seen.name,
            image=seen.image,
            started=asyncio.get_running_loop().time(),
        )
        self._watcher.starts(run, self.running())
        self.runs[run.container_id] = run
        start: Callable[[Process], None] = super().start
        self._context.copy().run(start, process)

    def end(self, process: Process, exit_code: int, *, reason: str = "", message: str = "") -> None:
        run = self.runs.get(process.seen.id)
        if run is not None and process.seen.state is ContainerState.RUNNING:
            run.ended, run.exit_code = asyncio.get_running_loop().time(), exit_code
            run.by_agent = LIFE.get() is not None
            if run.by_agent and not process.behaviour.start_error:
                self._watcher.stops(run, self.running())
        super().end(process, exit_code, reason=reason, message=message)

    def _behaves(self, config: ContainerConfig) -> Behaviour:
        kind, *numbers = config.user_image.removeprefix("sim/").removesuffix(":1").split("-")
        if kind == "job":
            return Behaviour(exit_after=float(numbers[0]), exit_code=int(numbers[1]))
        if kind == "crashy" and not self.calm:
            return Behaviour(exit_after=float(numbers[0]), exit_code=int(numbers[1]))
        return Behaviour(ignores_stop=kind == "stubborn")
