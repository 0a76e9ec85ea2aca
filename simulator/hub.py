"""One hub replica: the real hub over the API server's weather and its own link."""

from __future__ import annotations

import random
from collections.abc import Coroutine
from typing import Any

from cloudhub.app import Hub
from cloudhub.kube.memory import MemoryKube
from cloudhub.metrics import Metrics
from cloudhub.settings import HubSettings
from shared.link import Broker as Address
from shared.topics import Topics
from simulator.broker import Broker
from simulator.clock import SimClock
from simulator.journal import Journal
from simulator.kube import ApiWeather, FaultyKube
from simulator.loop import VirtualLoop
from simulator.network import Path
from simulator.programs import Program
from simulator.sim_link import SimLink


class HubProgram(Program):
    def __init__(
        self,
        name: str,
        *,
        loop: VirtualLoop,
        journal: Journal,
        rng: random.Random,
        broker: Broker,
        server: MemoryKube,
        weather: ApiWeather,
    ) -> None:
        super().__init__(name, loop, journal, Path(random.Random(rng.getrandbits(64))))
        self.clock = SimClock(loop, offset=rng.uniform(-3, 3) ** 5)
        """Mostly seconds off, sometimes minutes."""
        self.api_stalled_until = 0.0
        self.retired = False
        """Its machine is gone: nobody starts it again."""
        self._rng = rng
        self._broker = broker
        self._server = server
        self._weather = weather

    def restart(self) -> None:
        if not self.retired:
            self.start()

    def _api_stalled(self) -> float:
        return self.api_stalled_until - self.loop.time()

    def main(self) -> Coroutine[Any, Any, None]:
        settings = HubSettings(
            broker=Address("broker", 1883),
            topics=Topics(),
            replica=self.name,
            namespace="kubetide",
        )
        hub = Hub(
            settings,
            kube=FaultyKube(self._server, self._weather, self._api_stalled),
            link=SimLink(self._broker, self.path),
            clock=self.clock,
            rng=random.Random(self._rng.getrandbits(64)),
            metrics=Metrics(),
        )
        return hub.run()
