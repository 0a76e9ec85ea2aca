"""A pod that has finished does not run again, whatever its device has forgotten."""

from __future__ import annotations

from cloudhub.kube.port import PODS
from shared.objects import Json
from tests.hub_delivery.world import NODE, World, in_world, pod_key, topics_of

OVER = {"phase": "Failed", "reason": "DeadlineExceeded"}


async def status_of(world: World, name: str) -> Json:
    found = await world.kube.get(PODS, "default", name)
    assert found is not None, "nobody has deleted it"
    return {part: found["status"].get(part) for part in OVER}


def test_a_device_that_lost_its_memory_is_told_to_stop_what_had_finished() -> None:
    async def story(world: World) -> None:
        world.hub()
        device = world.device()
        pod = await world.pod("job", restartPolicy="Never", terminationGracePeriodSeconds=7)
        await world.quiet()
        device.report(pod_key("job"), pod["metadata"]["uid"], OVER)
        await world.quiet()
        assert await status_of(world, "job") == OVER
        device.report(pod_key("job"), pod["metadata"]["uid"], {"phase": "Running"})
        await world.quiet()
        assert device.applied.entries[pod_key("job")].grace == 7
        assert await status_of(world, "job") == OVER

        ended = {"phase": "Succeeded"}
        device.report(pod_key("job"), pod["metadata"]["uid"], ended, finished=True)
        await world.quiet()
        assert device.applied.entries[pod_key("job")].grace is None
        assert await status_of(world, "job") == OVER, "how it finished is not taken back"

    in_world(story)


def test_it_costs_one_change_and_a_restarted_hub_sends_it_no_second_time() -> None:
    async def story(world: World) -> None:
        hub = world.hub()
        device = world.device()
        pod = await world.pod("job")
        await world.quiet()
        device.report(pod_key("job"), pod["metadata"]["uid"], OVER)
        await world.quiet()
        device.report(pod_key("job"), pod["metadata"]["uid"], {"phase": "Running"})
        sent = [one for one in await world.quiet() if one.source != f"{NODE}.i1"]
        assert topics_of(sent) == ["inventory", "change"]
        await hub.stop()
        revision = device.applied.revision
        world.hub("hub-b")
        await world.quiet(60)
        assert device.applied.entries[pod_key("job")].grace is not None
        assert device.applied.revision == revision

    in_world(story)
