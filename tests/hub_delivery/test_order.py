"""Of two lists the one that knows more of the API is newer, whatever the hubs' clocks say."""

from __future__ import annotations

from typing import Any

import pytest

from cloudhub.fleet.revisions import revision_at
from cloudhub.kube.port import PODS
from shared.messages import Change
from shared.objects import ObjectKey
from simulator.broker import Store
from tests.hub_delivery.device import Device
from tests.hub_delivery.in_step import LaggingKube, settled
from tests.hub_delivery.world import NODE, World, in_world, pod_key


def lists_of(device: Device) -> list[frozenset[ObjectKey]]:
    """The keys of every list that the device applies from now on."""
    seen: list[frozenset[ObjectKey]] = []
    inner = device._take

    async def taking(*args: Any) -> None:
        await inner(*args)
        keys = frozenset(device.applied.entries)
        if not seen or seen[-1] != keys:
            seen.append(keys)

    device._take = taking  # type: ignore[method-assign]
    return seen


@pytest.mark.parametrize("ahead", [0.0, 3.0, 3600.0])
def test_a_list_that_was_long_on_its_way_takes_back_nothing(ahead: float) -> None:
    """Two replicas own the node; one hangs with a list that it made before a pod was bound."""

    async def story(world: World) -> None:
        await settled(world)
        hanging = world.hub("hub-b", ahead=ahead)
        await world.quiet()
        seen = lists_of(world.devices[NODE])
        hanging.path.stalled_until = world.loop.time() + 20
        await world.pod("first")
        await world.quiet(0.1)
        await world.pod("second")
        await world.quiet(1)
        assert pod_key("second") in world.devices[NODE].applied.entries
        await world.quiet(60)
        late = [one for one in world.sent if one.source.startswith("kubetide-hub.hub-b.")]
        changes = [Change.decode(one.payload) for one in late if one.topic.endswith("/change")]
        assert pod_key("second") not in changes[0].put, "the list of which this test is"
        after = seen[[pod_key("second") in keys for keys in seen].index(True) :]
        assert all(pod_key("second") in keys for keys in after)
        kept = dict(world.broker.retained.items())[world.devices[NODE].topics.inventory]
        assert kept.payload == world.devices[NODE].applied.encode()

    in_world(story)


def test_a_hub_whose_watch_lags_does_not_bring_back_what_was_deleted() -> None:
    async def story(world: World) -> None:
        await settled(world)
        lagging = LaggingKube(world.kube)
        world.hub("hub-b", kube=lagging)
        pod = await world.pod("short")
        await world.quiet()
        lagging.lag = 30.0
        seen = lists_of(world.devices[NODE])
        await world.kube.delete(PODS, "default", "short", uid=pod["metadata"]["uid"], grace=0)
        await world.quiet(90)
        assert pod_key("short") not in world.devices[NODE].applied.entries
        assert not any(pod_key("short") in keys for keys in seen)

    in_world(story)


def test_the_list_of_a_node_that_was_listed_alone_is_numbered_by_that() -> None:
    """Its pods are newer than what the lagging watch has told by now."""

    async def story(world: World) -> None:
        lagging = LaggingKube(world.kube)
        hub = world.hub("hub-b", "edge-2", kube=lagging)
        await world.quiet()
        lagging.lag = 30.0
        device = world.device()
        pod = await world.pod("web")
        hub.sync.manage(NODE)
        await world.quiet()
        assert names(device) == {"web"}
        assert device.applied.revision == revision_at(pod["metadata"]["resourceVersion"])

    in_world(story)


def test_an_api_server_that_is_restored_from_a_backup_is_followed() -> None:
    """Its resourceVersions begin again far below those that the lists were made of."""

    async def story(world: World) -> None:
        await settled(world)
        backup = world.kube.saved()
        for number in range(30):
            await world.pod(f"lost-{number}")
        await world.quiet()
        device = world.devices[NODE]
        assert len(device.applied.entries) == 32
        world.kube.restore(backup)
        await world.quiet(30)
        assert names(device) == {"web", "settings"}
        await world.pod("after")
        await world.quiet()
        assert names(device) == {"web", "settings", "after"}
        assert not device.missing

    in_world(story)


@pytest.mark.parametrize("store", [Store.KEPT, Store.WIPED])
def test_a_device_that_was_away_while_a_backup_was_restored_catches_up(store: Store) -> None:
    async def story(world: World) -> None:
        await settled(world)
        backup = world.kube.saved()
        for number in range(30):
            await world.pod(f"lost-{number}")
        await world.quiet()
        device = world.devices[NODE]
        world.paths[NODE].reachable = False
        world.paths[NODE].cut()
        await world.hubs[0].stop()
        world.broker.crash()
        await world.quiet(1)
        world.broker.start(store)
        world.kube.restore(backup)
        world.hub("hub-b")
        await world.pod("after")
        await world.quiet(30)
        assert len(device.applied.entries) == 32
        world.paths[NODE].reachable = True
        await world.quiet(30)
        assert names(device) == {"web", "settings", "after"}

    in_world(story)


def test_versions_that_are_no_numbers_are_no_hindrance() -> None:
    async def story(world: World) -> None:
        world.kube.written = lambda version: f"v{version}"
        await settled(world)
        world.hub("hub-b", ahead=3600)
        await world.quiet()
        device = world.devices[NODE]
        for number in range(10):
            await world.pod(f"more-{number}")
            await world.quiet(0.03)
        await world.quiet(30)
        assert len(device.applied.entries) == 12
        assert await world.quiet(60) == []

    in_world(story)


def names(device: Device) -> set[str]:
    return {key.name for key in device.applied.entries}
