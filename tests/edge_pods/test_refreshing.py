"""Volumes of a running pod follow the objects that they are made of."""

from __future__ import annotations

import asyncio

from edgeagent.pods.model.errors import ContentsError, MountError
from shared.objects import ObjectKey
from tests.edge_pods.world import World, a_container, a_pod
from tests.parts.virtual_time import virtual


@virtual
async def test_a_config_map_that_changed_refreshes_the_volumes() -> None:
    async with World() as world:
        world.apply(a_pod(volumes=[{"name": "v", "configMap": {"name": "settings"}}]))
        await world.passes(1)
        assert world.pods is not None
        world.pods.changed({ObjectKey("ConfigMap", "default", "other")})
        await asyncio.sleep(0.1)
        assert world.materials.calls[-1] != "refresh"
        world.pods.changed({ObjectKey("ConfigMap", "default", "settings")})
        await asyncio.sleep(0.1)
        assert world.materials.calls[-1] == "refresh"


@virtual
async def test_a_refresh_that_the_disk_refused_is_tried_again_without_hurry() -> None:
    async with World() as world:
        uid = world.apply(a_pod(volumes=[{"name": "v", "configMap": {"name": "settings"}}]))
        await world.passes(1)
        assert world.pods is not None
        world.materials.failures["refresh"] = MountError("v", "No space left on device")
        world.pods.changed({ObjectKey("ConfigMap", "default", "settings")})
        await world.passes(60)
        assert 5 < world.materials.calls.count("refresh") < 12
        words = 'MountVolume.SetUp failed for volume "v" : No space left on device'
        assert set(world.messages(uid, "FailedMount")) == {words}
        await refreshes_at_last(world)


@virtual
async def test_a_pod_whose_volumes_are_behind_after_a_restart_runs_and_gets_a_refresh() -> None:
    async with World() as world:
        world.materials.behind = True
        world.materials.failures["refresh"] = MountError("v", "No space left on device")
        world.apply(a_pod(volumes=[{"name": "v", "configMap": {"name": "settings"}}]))
        await world.passes(30)
        assert len(world.running()) == 1
        assert world.materials.calls.count("refresh") > 1
        await refreshes_at_last(world)


async def refreshes_at_last(world: World) -> None:
    """The next try succeeds, and none follows it."""
    del world.materials.failures["refresh"]
    await world.passes(10)
    tried = world.materials.calls.count("refresh")
    await world.passes(60)
    assert world.materials.calls.count("refresh") == tried


@virtual
async def test_a_refresh_waits_for_the_object_that_it_lacks() -> None:
    async with World() as world:
        world.apply(a_pod(volumes=[{"name": "v", "configMap": {"name": "settings"}}]))
        await world.passes(1)
        assert world.pods is not None
        world.materials.failures["refresh"] = ContentsError("v", 'configmap "settings" not found')
        for times in (1, 2):
            world.pods.changed({ObjectKey("ConfigMap", "default", "settings")})
            await world.passes(60)
            assert world.materials.calls.count("refresh") == times


@virtual
async def test_a_volume_that_comes_into_use_while_others_are_made_is_made_too() -> None:
    """By an ephemeral container: it starts when its own volume is there, which no others had."""
    async with World() as world:
        world.materials.prepare_seconds = 3.0
        volumes = [{"name": "v", "emptyDir": {}}]
        world.apply(a_pod(volumes=volumes))
        await world.passes(2)
        debugs = a_container("debug", volumeMounts=[{"name": "v", "mountPath": "/v"}])
        world.apply(a_pod(volumes=volumes, ephemeralContainers=[debugs]))
        await world.passes(2)
        assert (world.materials.calls.count("prepare"), world.starts()) == (2, [])
        await world.passes(3)
        assert world.materials.calls.count("prepare") == 2
        assert set(world.running()) == {"main", "debug"}
