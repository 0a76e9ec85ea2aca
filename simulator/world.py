"""Everything of one seed: the models, the programs under test, and the ways to disturb them."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from pathlib import Path

from cloudhub.kube.memory import MemoryKube
from shared.topics import Topics
from simulator.broker import Broker, Store
from simulator.broker_session import Publication, Traits
from simulator.clock import SimClock
from simulator.device import EdgeDevice
from simulator.history import History
from simulator.hub import HubProgram
from simulator.journal import Journal
from simulator.judging import Judge
from simulator.kube import ApiWeather
from simulator.loop import VirtualLoop
from simulator.manifests import Manifests
from simulator.network import Path as Way
from simulator.own import STRANGER, strangers_in
from simulator.runtime import Run

Then = Callable[[], None]

WITH_STATIC_PODS = 0.2
"""Part of the devices: their agents look at a folder every two seconds, which takes its time."""


class World:
    def __init__(self, loop: VirtualLoop, *, rng: random.Random, folder: Path) -> None:
        self.loop = loop
        self.rng = rng
        self.journal = Journal(loop)
        self.server = MemoryKube(SimClock(loop))
        self.weather = ApiWeather(self._rng())
        self.history = History(self.server, loop, self.journal, running=self._running)
        self.broker = Broker(loop, self._rng(), traits=self._traits(), heard=self._heard)
        self.devices: list[EdgeDevice] = []
        self.hubs: list[HubProgram] = []
        self.strays: list[HubProgram] = []
        """Live for ever, and never see the broker again."""
        self.published = 0
        self.lists_published = 0
        """Inventories, changes and bodies among them; clearing a topic costs a device nothing."""
        self._hub_numbers = 0
        self._watching: dict[str, list[Then]] = {}
        self._steps: list[tuple[int, int, Then]] = []
        self._calm = False
        for number in range(rng.choice((1, 1, 2, 3))):
            self._add_device(f"edge-{number + 1}", folder)
        for _ in range(rng.choice((1, 1, 1, 2))):
            self.add_hub()

    # -- making

    def _rng(self) -> random.Random:
        """Each part has a source of its own, so that one more draw here changes nothing there."""
        return random.Random(self.rng.getrandbits(64))

    def _traits(self) -> Traits:
        rng = self._rng()
        return Traits(
            queue_cap=rng.choice((1, 5, 1000, 1000)),
            max_packet_size=rng.choice((4096, 1 << 20)),
            retained_before_suback=rng.random() < 0.5,
            one_copy_per_subscription=rng.random() < 0.3,
            reorders=rng.choice((0.0, 0.3)),
            ignores_retain_handling=rng.random() < 0.2,
            keeps_wills=rng.random() < 0.5,
            zombie_wills=rng.choice((0.0, 0.0, 0.3)),
            max_inflight=rng.choice((100, 65535)),
        )

    def _add_device(self, name: str, folder: Path) -> None:
        rng = self._rng()
        manifests = None
        if rng.random() < WITH_STATIC_PODS:
            manifests = Manifests(
                folder / name / "manifests",
                node=name,
                rng=rng,
                now=self.loop.time,
                journal=self.journal,
            )
        judge = Judge(
            name,
            journal=self.journal,
            history=self.history,
            manifests=manifests,
            loop=self.loop,
        )
        device = EdgeDevice(
            name,
            loop=self.loop,
            journal=self.journal,
            rng=self._rng(),
            broker=self.broker,
            folder=folder / name,
            judge=judge,
            manifests=manifests,
        )
        self.good_link(device.path)
        self.devices.append(device)

    def add_hub(self) -> HubProgram:
        self._hub_numbers += 1
        hub = HubProgram(
            f"hub-{self._hub_numbers}",
            loop=self.loop,
            journal=self.journal,
            rng=self._rng(),
            broker=self.broker,
            server=self.server,
            weather=self.weather,
        )
        self.good_link(hub.path)
        self.hubs.append(hub)
        return hub

    async def remove_hub(self, hub: HubProgram, *, politely: bool, cut_off: bool) -> None:
        """``cut_off``: it lives on without ever reaching the broker again."""
        if hub not in self.hubs or len(self.hubs) == 1:
            return
        self.hubs.remove(hub)
        if cut_off:
            hub.path.reachable = False
            hub.path.cut()
            self.strays.append(hub)
            return
        hub.retired = True
        if politely:
            await hub.stop()
        hub.kill()

    def good_link(self, path: Way) -> None:
        path.bandwidth, path.latency = 1e6, (0.002, 0.02)
        path.reachable, path.stalled_until = True, 0.0

    # -- what judges ask

    def _running(self, uid: str) -> list[Run]:
        """On a device that has lost its memory, what was finished may have begun once more."""
        devices = [device for device in self.devices if not device.judge.forgets(uid)]
        return [run for device in devices for run in device.runtime.running() if run.uid == uid]

    # -- what faults wait for

    def _heard(self, publication: Publication, retain: bool) -> None:
        self.published += 1
        node, _, rest = publication.topic.partition("/v1/")[2].partition("/")[2].partition("/")
        size = len(publication.payload)
        self.lists_published += size > 0 and rest.startswith(("inventory", "change", "desired/"))
        if publication.topic.startswith(f"{Topics().root}/echo/"):
            return
        self.journal.say("mqtt", f"{node or 'hub'}/{rest}", size=size, by=publication.source)
        if size and publication.source != STRANGER:
            for name in strangers_in(node, rest, publication.payload):
                self.journal.fail("not-its-own", f"{node} was sent pod {name}")
        for then in self._watching.pop(node, ()):
            then()

    def at_next_message(self, node: str, then: Then) -> None:
        """When the broker next takes a message to or from this node."""
        self._watching.setdefault(node, []).append(then)

    def after_steps(self, steps: int, then: Then) -> None:
        """Between two callbacks of the loop: as fine as a death can be."""
        entry = (self.loop.steps + steps, len(self._steps), then)
        heapq.heappush(self._steps, entry)
        self.loop.after_step = self._look_at_steps

    def _look_at_steps(self) -> None:
        while self._steps and self._steps[0][0] <= self.loop.steps:
            then = heapq.heappop(self._steps)[2]
            if not self._calm:
                then()
        if not self._steps:
            self.loop.after_step = None

    # -- the end of the bad days

    def start(self) -> None:
        for program in (*self.hubs, *self.devices):
            program.start()

    def broker_starts(self, store: Store) -> None:
        if not self.broker.up:
            self.broker.start(store)
            self.journal.say("broker", "is back")

    def calm(self) -> None:
        """Everything that can be good is good from now on, and whoever should run runs."""
        self.journal.say("world", "the faults are over")
        self._calm = True
        self._watching.clear()
        self.broker_starts(Store.KEPT)
        self.weather.calm()
        for program in (*self.hubs, *self.devices):
            self.good_link(program.path)
        for device in self.devices:
            device.calm()
        for hub in self.hubs:
            hub.api_stalled_until = 0.0
            hub.start()
