"""An API server that a backup took back, and a hub that does not know that yet."""

from __future__ import annotations

import pytest

from tests.hub_delivery.world import NODE, World, in_world, pod_key
from tests.hub_reporting.reported import RUNNING, pod_of


def test_what_a_restored_server_lacks_is_written_though_the_hub_took_it_for_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first write after it has only what is new to the hub; what else the answer lacks was
    never sent to this server, so it is not what the server does not keep."""

    async def story(world: World) -> None:
        world.hub()
        world.device()
        uid = (await world.pod("web"))["metadata"]["uid"]
        await world.quiet()
        saved = world.kube.saved()
        world.kube.pass_by(100)
        world.devices[NODE].report(pod_key("web"), uid, RUNNING)
        await world.quiet()
        with monkeypatch.context() as patched:
            patched.setattr(world.kube, "break_watches", lambda: None)
            world.kube.restore(saved)
        moved = {**RUNNING, "podIP": "10.0.0.10"}
        world.devices[NODE].report(pod_key("web"), uid, moved)
        await world.quiet()
        world.kube.break_watches()
        await world.quiet(60)
        status = (await pod_of(world))["status"]
        assert (status["phase"], status["podIP"]) == ("Running", "10.0.0.10")

    in_world(story)
