"""Running short: first what nobody misses goes, then one pod at a time, as on a kubelet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from edgeagent.desired import DesiredSet
from edgeagent.housekeeping import evicting
from edgeagent.housekeeping.images import LEAST_AGE
from edgeagent.housekeeping.keeping import Household, Housekeeping
from edgeagent.node.device import Disk, Readings, Room
from edgeagent.pods.admission.refusals import refusal
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.model.paths import PodPaths
from edgeagent.pods.model.specs import CRITICAL_PRIORITY
from edgeagent.pods.model.view import Refusal
from edgeagent.runtime.memory import MemoryRuntime
from edgeagent.runtime.usage import ContainerStats
from shared.errors import TemporaryError
from shared.objects import Json
from tests.edge_housekeeping.household import a_pod as a_bare_pod
from tests.edge_pods.world import World, a_pod
from tests.parts.virtual_time import virtual

GIB, MIB = 1 << 30, 1 << 20
PLENTY = Room(GIB, GIB)
LITTLE = Room(GIB, 10 * MIB)


class Measured(MemoryRuntime):
    """A runtime in which each pod uses what the test says, by the pod's name."""

    def __init__(self, world: World) -> None:
        super().__init__(world.device)
        self.memory: dict[str, int] = {}
        self.image_removed: Callable[[], Awaitable[None]] | None = None

    async def remove_image(self, image: str) -> None:
        await super().remove_image(image)
        if self.image_removed is not None:
            await self.image_removed()

    async def stats(self) -> list[ContainerStats]:
        found = await super().stats()
        return [
            ContainerStats(
                *(one.container_id, one.name, one.pod_uid, 0),
                self.memory.get(one.pod_uid.removeprefix("uid-"), 0),
            )
            for one in found
        ]


class House:
    """A world of pods with its housekeeping, and a device that runs short when it is told to."""

    def __init__(self, world: World) -> None:
        assert world.pods is not None
        self.world = world
        self.runtime = Measured(world)
        self.readings = Readings(memory=PLENTY, disk=PLENTY, inodes=PLENTY, pids=PLENTY)
        self.data_disk = self.images_disk = Disk(PLENTY, PLENTY)
        self.keeping = Housekeeping(
            Household(
                node="edge-1",
                runtime=self.runtime,
                pods=world.pods,
                desired=DesiredSet(),
                reports=world.reports,
                clock=world.clock,
                paths=PodPaths(Path("/nowhere")),
                look=lambda: self.readings,
                disk=lambda path: self.data_disk if path == "/nowhere" else self.images_disk,
                offload=None,
            )
        )

    async def passes(self, seconds: float) -> None:
        """The Node reporter looks every ten seconds."""
        keeping = asyncio.create_task(self.keeping.run())
        try:
            for _ in range(int(seconds / 10)):
                self.keeping.judge(self.readings)
                await self.world.passes(10)
                if keeping.done():
                    keeping.result()
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    def evicted(self) -> set[str]:
        reported = self.world.reports.by_uid
        return {uid for uid, one in reported.items() if one.status.get("reason") == "Evicted"}

    def node_events(self) -> list[str]:
        return [one.reason for one in self.world.reports.by_uid[""].events]


@virtual
async def test_while_nothing_is_short_nothing_happens() -> None:
    async with World() as world:
        world.apply(a_pod())
        await world.passes(5)
        house = House(world)
        await house.passes(600)
        assert house.evicted() == set()
        assert "" not in world.reports.by_uid, "no Event about the Node"
        assert not world.device.calls("stats"), "nothing is measured"


@virtual
async def test_one_pod_goes_at_a_time_until_memory_is_back() -> None:
    async with World() as world:
        for name in ("small", "large", "middle"):
            world.apply(a_pod(name))
        world.apply(a_pod("system", priority=CRITICAL_PRIORITY))
        await world.passes(5)
        house = House(world)
        house.runtime.memory = {"small": MIB, "large": 9 * MIB, "middle": 5 * MIB, "system": GIB}
        house.readings = Readings(memory=LITTLE)
        await house.passes(10)
        assert house.evicted() == {"uid-large"}
        message = world.status("uid-large")["message"]
        assert message.startswith("The node was low on resource: memory. Threshold quantity: 100Mi")
        assert "Container main was using 9Mi, request is 0" in message
        await house.passes(10)
        assert house.evicted() == {"uid-large", "uid-middle"}
        house.readings = Readings(memory=PLENTY)
        await house.passes(100)
        assert house.evicted() == {"uid-large", "uid-middle"}
        assert sorted(house.node_events())[-1] == "NodeHasInsufficientMemory"
        assert "EvictionThresholdMet" in house.node_events()
        house.readings = Readings(memory=LITTLE)
        await house.passes(100)
        assert house.evicted() == {"uid-large", "uid-middle", "uid-small"}
        assert "uid-system" in {one.uid for one in house.world.pods.held()}  # type: ignore[union-attr]
        assert world.phase("uid-system") == "Running"


@virtual
async def test_the_next_pod_waits_until_the_one_before_is_gone() -> None:
    async with World() as world:
        for name in ("one", "two"):
            world.apply(a_pod(name))
        await world.passes(5)
        house = House(world)
        house.runtime.memory = {"one": 2 * MIB, "two": MIB}
        world.device.latency["stop_container"] = 3600.0
        house.readings = Readings(memory=LITTLE)
        await house.passes(10)
        assert world.pods is not None
        leaving = {one.uid for one in world.pods.held() if one.leaving}
        assert leaving == {"uid-one"}
        await house.passes(10)
        assert {one.uid for one in world.pods.held() if one.leaving} == {"uid-one"}
        await house.passes(evicting.PATIENCE)
        assert {one.uid for one in world.pods.held() if one.leaving} == {"uid-one", "uid-two"}


async def with_an_unused_image(world: World) -> House:
    """Which is old enough to go."""
    world.device.add_image("unused:1")
    house = House(world)
    await house.passes(LEAST_AGE + 10)
    return house


@virtual
async def test_a_full_disk_gives_back_images_and_dead_containers_first() -> None:
    async with World() as world:
        world.apply(a_pod("web"))
        uid = world.apply(a_pod("done", restartPolicy="Never"))
        await world.passes(5)
        world.crash(uid)
        house = await with_an_unused_image(world)
        house.readings = Readings(disk=LITTLE)

        async def relieved() -> None:
            house.readings = Readings(disk=PLENTY)

        house.runtime.image_removed = relieved
        await house.passes(30)
        assert "unused:1" not in world.device.images
        assert "app:1" in world.device.images
        assert world.processes(uid) == []
        assert world.phase(uid) == "Failed"
        assert house.evicted() == set(), "that was enough"


@virtual
async def test_no_inodes_for_images_are_a_pressure_of_the_disk_and_cost_unused_images() -> None:
    async with World() as world:
        world.apply(a_pod("web"))
        await world.passes(5)
        house = await with_an_unused_image(world)
        house.images_disk = Disk(PLENTY, Room(1000, 49))
        assert house.keeping.judge(house.readings)["DiskPressure"]

        async def relieved() -> None:
            house.images_disk = Disk(PLENTY, Room(1000, 50))

        house.runtime.image_removed = relieved
        await house.passes(30)
        assert "unused:1" not in world.device.images
        assert house.evicted() == set(), "that was enough"


@virtual
async def test_a_shortage_that_ends_while_it_is_relieved_ends_nothing_else() -> None:
    async with World() as world:
        world.apply(a_pod("web"))
        await world.passes(5)
        house = await with_an_unused_image(world)
        house.readings = Readings(disk=LITTLE)

        async def relieved_slowly() -> None:
            await world.clock.sleep(12)
            house.readings = Readings(disk=PLENTY)
            await world.clock.sleep(12)

        house.runtime.image_removed = relieved_slowly
        await house.passes(60)
        assert "unused:1" not in world.device.images
        assert house.evicted() == set()
        house.readings = Readings(memory=LITTLE)
        await house.passes(20)
        assert house.evicted() == {"uid-web"}, "the next shortage is acted on"


@virtual
async def test_when_that_is_not_enough_a_pod_goes() -> None:
    async with World() as world:
        world.apply(a_pod("web"))
        await world.passes(5)
        house = House(world)
        house.readings = Readings(inodes=LITTLE)
        await house.passes(20)
        assert house.evicted() == {"uid-web"}
        assert "resource: inodes" in world.status("uid-web")["message"]


@virtual
async def test_what_cannot_be_reclaimed_keeps_no_pod_from_being_evicted() -> None:
    async with World() as world:
        world.apply(a_pod("web"))
        uid = world.apply(a_pod("done", restartPolicy="Never"))
        await world.passes(5)
        world.crash(uid)
        house = await with_an_unused_image(world)
        world.device.failures["remove_container"] = [TemporaryError("no space left")] * 9
        world.device.failures["image_status"] = [TemporaryError("content not found")] * 9
        house.readings = Readings(disk=LITTLE)
        await house.passes(20)
        assert house.evicted() == {"uid-web"}


@virtual
async def test_a_shortage_that_is_over_when_pods_are_measured_costs_none() -> None:
    async with World() as world:
        world.apply(a_pod("web"))
        await world.passes(5)
        house = House(world)
        world.device.latency["stats"] = 5.0
        house.readings = Readings(memory=LITTLE)
        keeping = asyncio.create_task(house.keeping.run())
        house.keeping.judge(house.readings)
        await world.passes(2)
        house.readings = Readings(memory=PLENTY)
        await world.passes(20)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        assert world.device.calls("stats")
        assert house.evicted() == set()


@virtual
async def test_memory_does_not_wait_for_a_disk_that_is_slow_to_give_back() -> None:
    async with World() as world:
        world.apply(a_pod("web"))
        await world.passes(5)
        house = await with_an_unused_image(world)

        async def stuck() -> None:
            await world.clock.sleep(10_000)

        house.runtime.image_removed = stuck
        house.readings = Readings(disk=LITTLE)
        await house.passes(10)
        house.readings = Readings(disk=LITTLE, memory=LITTLE)
        await house.passes(20)
        assert house.evicted() == {"uid-web"}


@virtual
async def test_what_nobody_expected_ends_no_housekeeping(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork bomb takes the threads that measuring needs: then above all somebody must go."""
    async with World() as world:
        world.apply(a_pod("web"))
        await world.passes(5)
        house = House(world)
        answers = iter([RuntimeError("can't start new thread"), MemoryError()])
        whole = house.runtime.stats

        async def stats() -> list[ContainerStats]:
            for error in answers:
                raise error
            return await whole()

        monkeypatch.setattr(house.runtime, "stats", stats)
        house.readings = Readings(memory=LITTLE)
        await house.passes(20)
        assert house.evicted() == set()
        await house.passes(30)
        assert house.evicted() == {"uid-web"}
        left = [one for one in asyncio.all_tasks() if "_watch" in repr(one)]
        assert left == [], "what began anew, and what it took the place of"


@virtual
async def test_images_on_a_disk_of_their_own_do_not_go_for_another_one() -> None:
    async with World() as world:
        world.apply(a_pod("web"))
        await world.passes(5)
        house = House(world)
        world.device.add_image("unused:1")
        house.data_disk = Disk(PLENTY, PLENTY, device=1)
        house.images_disk = Disk(PLENTY, PLENTY, device=2)
        await house.passes(10)
        house.readings = Readings(disk=LITTLE)
        await house.passes(10)
        assert "unused:1" in world.device.images
        assert house.evicted() == {"uid-web"}
        house.readings = Readings(disk=PLENTY)
        house.images_disk = Disk(LITTLE, PLENTY, device=2)
        await house.passes(20)
        assert "unused:1" not in world.device.images


@virtual
async def test_a_runtime_that_does_not_answer_evicts_nobody_and_ends_nothing() -> None:
    async with World() as world:
        world.apply(a_pod("web"))
        await world.passes(5)
        house = House(world)
        house.readings = Readings(memory=LITTLE)
        world.device.go_away()
        await house.passes(30)
        assert house.evicted() == set()
        world.device.come_back()
        await house.passes(30)
        assert house.evicted() == {"uid-web"}


# Admission


def refused(pod: Json, *pressures: str) -> Refusal | None:
    return refusal(pod, (), NodeFacts("edge-1", pressures=pressures))


@pytest.fixture
def burstable() -> Json:
    return a_bare_pod(resources={"requests": {"memory": "1Mi"}})


def test_under_memory_pressure_best_effort_pods_are_refused(burstable: Json) -> None:
    found = refused(a_bare_pod(), "MemoryPressure")
    assert found == Refusal("Evicted", "The node had condition: [MemoryPressure]. ")
    assert refused(burstable, "MemoryPressure") is None
    tolerant = a_bare_pod()
    tolerant["spec"]["tolerations"] = [
        {"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"}
    ]
    assert refused(tolerant, "MemoryPressure") is None
    assert refused(tolerant, "DiskPressure") is not None


def test_under_any_other_pressure_all_but_critical_pods_are(burstable: Json) -> None:
    found = refused(burstable, "MemoryPressure", "DiskPressure")
    assert found is not None
    assert found.message == "The node had condition: [MemoryPressure DiskPressure]. "
    assert refused(burstable, "PIDPressure") is not None
    assert refused(a_bare_pod(priority=CRITICAL_PRIORITY), "DiskPressure") is None
    assert refused(burstable) is None


@virtual
async def test_a_refused_pod_is_told_once_as_a_warning() -> None:
    async with World() as world:
        world.materials.refused = Refusal("Evicted", "The node had condition: [DiskPressure]. ")
        uid = world.apply(a_pod())
        await world.passes(5)
        assert world.phase(uid) == "Failed"
        (event,) = world.reports.by_uid[uid].events
        assert (event.type, event.reason) == ("Warning", "Evicted")
