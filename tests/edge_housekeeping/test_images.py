"""Images go when the disk is too full, the longest unused first, and never one that is needed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.housekeeping.collecting import ImageCollector
from edgeagent.housekeeping.images import LEAST_AGE, ImageUse, chosen, noted, to_free, used_by
from edgeagent.node.device import Disk, Room
from edgeagent.pods.held import HeldPod
from edgeagent.runtime.memory import MemoryRuntime
from edgeagent.runtime.memory_device import MemoryDevice
from edgeagent.runtime.port import Container, ContainerState, Image, UnclearImageName
from shared.errors import TemporaryError
from tests.edge_housekeeping.household import Hands, Pods, Told, a_pod

MB = 1_000_000


def test_nothing_is_freed_below_85_percent_and_then_down_to_80() -> None:
    assert to_free(Room(1000, 160)) == 0
    assert to_free(Room(1000, 150)) == 50
    assert to_free(Room(1000, 0)) == 200
    assert to_free(Room(0, 0)) >= 0


def test_an_image_is_in_use_by_id_name_or_digest() -> None:
    images = [Image("sha256:1", ("app:1",), ("app@sha256:d",)), Image("sha256:2", ("b:1",))]
    for image, reference in (("sha256:1", ""), ("app:1", ""), ("x", "app@sha256:d")):
        one = Container("c", "s", "main", 0, ContainerState.EXITED, image, reference, 0)
        assert used_by(images, [one]) == {"sha256:1"}


images_of_a_device = st.lists(
    st.builds(
        Image,
        id=st.integers(0, 30).map(lambda number: f"sha256:{number}"),
        size_bytes=st.integers(0, 100),
        pinned=st.booleans(),
    ),
    unique_by=lambda one: one.id,
)


@given(
    images_of_a_device,
    st.sets(st.integers(0, 30).map(lambda number: f"sha256:{number}")),
    st.lists(st.integers(0, 300), min_size=31, max_size=31),
    st.one_of(st.none(), st.integers(0, 2000)),
)
def test_the_choice_keeps_every_promise(
    images: list[Image], kept: set[str], ages: list[int], amount: int | None
) -> None:
    uses = {
        one.id: ImageUse(1000.0 - age, 1000.0 - age) for one, age in zip(images, ages, strict=False)
    }
    gone = chosen(images, uses, kept=kept, now=1000.0, amount=amount)
    free = [
        one
        for one in images
        if one.id not in kept and not one.pinned and 1000.0 - uses[one.id].detected >= LEAST_AGE
    ]
    assert {one.id for one in gone} <= {one.id for one in free}
    left = [one for one in free if one not in gone]
    assert all(uses[a.id].last_used <= uses[b.id].last_used for a in gone for b in left)
    if amount is None:
        assert not left
    elif left:
        assert sum(one.size_bytes for one in gone) >= amount, "enough was freed"
    if amount is not None and gone:
        assert sum(one.size_bytes for one in gone[:-1]) < amount, "and not one more than that"


def test_use_is_remembered_and_the_gone_are_forgotten() -> None:
    one, two = Image("1"), Image("2")
    uses = noted({}, [one, two], {"1"}, 10.0)
    uses = noted(uses, [one, two], {"2"}, 20.0)
    assert uses == {"1": ImageUse(10.0, 10.0), "2": ImageUse(10.0, 20.0)}
    assert noted(uses, [two], (), 30.0) == {"2": ImageUse(10.0, 20.0)}
    assert noted(None, [one], (), 0.0) == {"1": ImageUse(-LEAST_AGE, -LEAST_AGE)}, (
        "was there before"
    )


class Node:
    def __init__(self) -> None:
        self.clock = Hands()
        self.device = MemoryDevice(self.clock)
        self.pods, self.told = Pods(), Told()
        self.desired: list[dict[str, object]] = []
        self.disk = Room(100 * MB, 50 * MB)
        self.complete = True
        self.collector = ImageCollector(
            MemoryRuntime(self.device),
            pods=self.pods,
            bodies=lambda: self.desired,
            clock=self.clock,
            events=self.told,  # type: ignore[arg-type]
            disk=lambda path: Disk(self.disk),
            complete=lambda: self.complete,
        )

    def names(self) -> set[str]:
        return set(self.device.images)


async def test_only_what_no_pod_needs_goes_and_the_shortage_is_told() -> None:
    node = Node()
    for name in ("app:1", "worker:1", "init:1", "data:1", "old:1"):
        node.device.add_image(name)
    node.device.images["pinned:1"] = replace(node.device.add_image("pinned:1"), pinned=True)
    pod = a_pod(image="app:1")
    pod["spec"]["initContainers"] = [{"name": "init", "image": "init:1"}]
    pod["spec"]["volumes"] = [{"name": "data", "image": {"reference": "data:1"}}]
    node.desired = [pod]
    node.pods.pods = [HeldPod("uid-w", a_pod("w", image="worker:1"), leaving=True)]
    await node.collector.look()
    node.clock.at += LEAST_AGE
    node.disk = Room(100 * MB, 10 * MB)
    await node.collector.look()
    assert node.names() == {"app:1", "worker:1", "init:1", "data:1", "pinned:1"}
    assert node.told.reasons() == ["FreeDiskSpaceFailed"]
    assert "only found 1000000 bytes eligible" in node.told.events[0].message


async def test_a_disk_that_is_full_at_the_start_is_freed_of_what_was_there_before() -> None:
    node = Node()
    node.device.add_image("old:1")
    node.disk = Room(100 * MB, 0)
    await node.collector.free_all()
    assert node.names() == set()


async def test_while_bodies_are_missing_only_a_real_shortage_costs_images() -> None:
    """A database that was lost knows of no pod, and an offline device gets no image again."""
    node = Node()
    node.device.add_image("old:1")
    node.disk, node.complete = Room(100 * MB, 10 * MB), False
    await node.collector.look()
    assert node.names() == {"old:1"} and node.told.reasons() == []
    await node.collector.free_all()
    assert node.names() == set()


async def test_an_image_that_came_just_now_stays() -> None:
    node = Node()
    await node.collector.look()
    node.device.add_image("new:1")
    node.disk = Room(100 * MB, 0)
    await node.collector.look()
    assert node.names() == {"new:1"}
    await node.collector.free_all()
    assert node.names() == {"new:1"}
    node.clock.at += LEAST_AGE
    await node.collector.free_all()
    assert node.names() == set()


async def test_an_image_that_cannot_go_keeps_no_other() -> None:
    """CRI-O refuses to remove what a container of podman's was made of."""
    node = Node()
    for name in ("theirs:1", "old:1", "older:1"):
        node.device.add_image(name)
    await node.collector.look()
    node.clock.at += LEAST_AGE
    node.disk = Room(5 * MB, 0)
    node.device.failures["remove_image"] = [TemporaryError("image is in use by a container")]
    await node.collector.look()
    assert len(node.names()) == 2 and node.told.reasons() == []
    await node.collector.free_all()
    assert node.names() == set()


async def test_a_pod_that_comes_while_images_go_keeps_its_own() -> None:
    """Some gigabytes take their time; the device may not reach the registry again."""
    node = Node()
    for name in ("old:1", "older:1", "oldest:1"):
        node.device.add_image(name)
    await node.collector.look()
    node.clock.at += LEAST_AGE

    last = max(node.names(), key=lambda name: node.device.images[name].id)

    class Slow(Hands):
        async def sleep(self, seconds: float) -> None:
            node.desired = [a_pod(image=last)]

    node.device.clock, node.device.latency["remove_image"] = Slow(), 60.0
    await node.collector.free_all()
    assert node.names() == {last}
    assert len(node.device.calls("image_status")) == 1, "a name is looked up once"


async def test_a_name_that_leads_to_no_registry_stands_for_no_image() -> None:
    node = Node()
    node.device.add_image("old:1")
    node.desired = [a_pod(image="app")]
    await node.collector.look()
    node.clock.at += LEAST_AGE
    node.disk = Room(100 * MB, 0)
    node.device.failures["image_status"] = [UnclearImageName('short-name "app" did not resolve')]
    await node.collector.look()
    assert node.names() == set()


async def test_when_a_needed_image_cannot_be_looked_up_nothing_goes() -> None:
    node = Node()
    node.device.add_image("old:1")
    node.desired = [a_pod(image="app:1")]
    await node.collector.look()
    node.clock.at += LEAST_AGE
    node.disk = Room(100 * MB, 0)
    node.device.failures["image_status"] = [TemporaryError("busy")]
    with pytest.raises(TemporaryError):
        await node.collector.look()
    assert node.names() == {"old:1"}
