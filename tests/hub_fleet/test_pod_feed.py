"""The lists of pods that nodes get when they come to the fleet, against a server that is slow."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from cloudhub.feeds.pods import PodFeed
from cloudhub.fleet.fleet import Fleet
from cloudhub.kube.memory import MemoryKube
from cloudhub.kube.port import PODS
from shared.objects import Json
from shared.tasks import stop
from simulator.clock import SimClock
from tests.hub_fleet.objects import key, pod
from tests.parts.virtual_time import virtual

SLOW = 10.0


class SlowKube(MemoryKube):
    """What it answers to a list is as old as the request."""

    async def list(self, *which: Any, **how: Any) -> list[Json]:
        found = await super().list(*which, **how)
        await asyncio.sleep(SLOW)
        return found


@virtual
async def test_a_list_for_an_earlier_life_of_a_node_is_not_taken_for_the_new_one() -> None:
    """Between two lives nobody hears of the node's pods: one made then would be missed for good."""
    clock, fleet = SimClock(asyncio.get_running_loop()), Fleet()
    kube = SlowKube(clock)
    feed = PodFeed(kube, fleet, lambda effects: None, clock=clock, rng=random.Random(1))
    feed.nodes_known()
    task = asyncio.create_task(feed.run())
    await asyncio.sleep(1)

    def manage() -> None:
        fleet.manage("edge-1")
        feed.manage("edge-1")

    manage()
    await asyncio.sleep(SLOW / 2)
    feed.unmanage("edge-1")
    fleet.unmanage("edge-1")
    await kube.create(PODS, "default", pod("between", "edge-1", []))
    await asyncio.sleep(1)
    manage()
    await asyncio.sleep(3 * SLOW)
    assert [one.key for one in fleet.pods("edge-1")] == [key("Pod", "between")]
    await stop(task)
