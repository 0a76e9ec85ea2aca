"""A steady stream of changes of pods, and the violent deaths of processes meanwhile.

Owns what is wanted: every change is made through the API and remembered, so that a test can say at
the end what must be there, and that nothing of it was ever restarted. Seeded.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloudhub.kube.port import PODS
from devcluster.processes import Program
from shared.objects import Json
from tests.parts.system import System
from tests.parts.view import container_of, restarts_of

Step = Callable[[], Awaitable[Any]]

STABLE = tuple(f"stable-{number}" for number in range(3))
MOST_ALIVE = 12


class Changes:
    """Pods come, change and go; ``STABLE`` ones stay and are never touched."""

    def __init__(self, system: System, rng: random.Random) -> None:
        self.count = 0
        self._system = system
        self._rng = rng
        self._alive: set[str] = set()
        self._first: dict[str, str] = {}

    async def begin(self) -> None:
        for name in STABLE:
            await self._system.create_pod(name)
        await self._system.running(*STABLE)
        self._first = {name: self._container(name) for name in STABLE}

    async def one(self) -> None:
        self.count += 1
        may_grow = len(self._alive) < MOST_ALIVE
        if not self._alive or (may_grow and self._rng.random() < 0.5):
            await self._create()
        elif may_grow and self._rng.random() < 0.2:
            await self._annotate()
        else:
            await self._delete()

    async def _create(self) -> None:
        name = f"pod-{self.count}"
        self._alive.add(name)
        await self._system.create_pod(name)

    async def _delete(self) -> None:
        name = self._rng.choice(sorted(self._alive))
        self._alive.discard(name)
        await self._system.delete_pod(name, grace=self._rng.choice([0, 2, 5]))

    async def _annotate(self) -> None:
        """A change that a container does not see."""
        name = self._rng.choice(sorted(self._alive))
        patch = {"metadata": {"annotations": {"example.com/change": str(self.count)}}}
        await self._system.kube.patch(PODS, "default", name, patch)

    async def have_settled(self, *, within: float = 120.0) -> None:
        """What is wanted runs, nothing else is there, and nothing was ever restarted."""
        system, wanted = self._system, {*STABLE, *self._alive}
        await system.running(*wanted, within=within)
        await system.view.until(
            "nothing but what is wanted", lambda: set(system.view.pods) == wanted, within=within
        )
        for name in STABLE:
            assert self._container(name) == self._first[name]
        for name in wanted:
            pod = system.view.pods[name]
            if not _was_cut_off_while_it_started(pod):
                assert restarts_of(pod) == 0, f"{name} was restarted: {container_of(pod)}"
        async with asyncio.timeout(60):
            while len(system.running_ids()) != 2 * len(wanted):
                await asyncio.sleep(0.2)

    def _container(self, name: str) -> str:
        return str(container_of(self._system.view.pods[name])["containerID"])


def _was_cut_off_while_it_started(pod: Json) -> bool:
    """Whoever asked for the start, or did it, was killed: the container never ran, and the next
    one counts as a restart, as on every kubelet."""
    last = (container_of(pod).get("lastState") or {}).get("terminated") or {}
    return restarts_of(pod) == 1 and last.get("reason") == "StartError"


@dataclass(frozen=True)
class Victim:
    kill: Step
    start: Step


def victims(system: System) -> Mapping[str, Victim]:
    """How each process is killed and how it is started again."""
    broker, containerd = system.broker, system.containerd
    return {
        "hub": Victim(system.hub.kill, system.hub.start),
        "agent": Victim(system.agent.kill, system.agent.start),
        "broker": Victim(_on_this_thread(broker.kill), _on_this_thread(broker.start)),
        "containerd": Victim(_on_this_thread(containerd.kill), _on_this_thread(containerd.start)),
    }


def _on_this_thread(call: Callable[[], None]) -> Step:
    """A child is told of its parent's death when the thread that started it ends."""

    async def step() -> None:
        call()

    return step


def memory(program: Program) -> int:
    """RSS in KiB; 0 when it does not run just now."""
    try:
        text = Path(f"/proc/{program.pid}/status").read_text()
    except FileNotFoundError:
        return 0
    return int(text.split("VmRSS:")[1].split()[0]) if "VmRSS:" in text else 0
