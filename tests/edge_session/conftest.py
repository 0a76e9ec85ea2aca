"""Brokers for the session tests: the model in virtual time, and a real mosquitto."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from shared.clock import Clock
from shared.link import Link
from simulator.broker import Broker
from simulator.broker_session import Traits
from simulator.clock import SimClock
from simulator.loop import VirtualLoop
from simulator.network import Path as Way
from simulator.sim_link import SimLink
from tests.edge_session.rig import Device


class Model:
    """The broker model, with one cable per client; use it in a ``virtual`` test."""

    def __init__(self, folder: Path, **traits: object) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self.broker = Broker(loop, random.Random(3), traits=Traits(**traits))  # type: ignore[arg-type]
        self.clock: Clock = SimClock(loop)
        self.folder = folder
        self.ways: list[Way] = []

    def link(self) -> Link:
        self.ways.append(Way(random.Random(len(self.ways))))
        return SimLink(self.broker, self.ways[-1])

    def device(self, name: str = "a", *, boot: str = "boot-1") -> Device:
        """An agent process; the same name is the same disk."""
        return Device(self.link(), self.folder / name, self.clock, boot=boot)
