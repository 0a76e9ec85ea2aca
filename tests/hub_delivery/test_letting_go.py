"""What a hub remembers of a node goes with the node: nodes come and go, a hub lives for months."""

from __future__ import annotations

from typing import Any

import pytest

from cloudhub.kube.memory import MemoryKube
from shared.errors import KubeRefused
from shared.messages import Session
from shared.objects import ObjectKey
from shared.static_pods import list_key
from shared.topics import Topics
from simulator.broker_session import Publication
from tests.hub_delivery.world import NODE, World, in_world, pod_key


def test_of_a_node_that_is_not_ours_any_more_no_pod_is_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(self: MemoryKube, *args: Any, **options: Any) -> None:
        raise KubeRefused("no", status=422)

    async def story(world: World) -> None:
        hub, device = world.hub(), world.device()
        pod = await world.pod("web")
        await world.quiet()
        monkeypatch.setattr(MemoryKube, "patch", refuse)
        device.report(pod_key("web"), pod["metadata"]["uid"], {"phase": "Running"})
        await world.quiet()
        reporting = hub.sync._reporting
        assert reporting._left
        hub.sync.unmanage(NODE)
        assert not reporting._left and not reporting._ended

    in_world(story)


def test_of_a_slot_that_is_not_ours_any_more_no_node_is_remembered() -> None:
    async def story(world: World) -> None:
        hub, device = world.hub(), world.device()
        await world.quiet()
        device.report(list_key(NODE), NODE, {"pods": []})
        birth = Session(True, "i1", 9, boot="b", reported=7, about=ObjectKey("Pod", "a", "b").mark)
        world.broker.publish(
            Publication(Topics().of(NODE).session, birth.encode(), "x"), retain=True
        )
        await world.quiet(30)
        uplink, lists = hub.sync._uplink, hub.sync._mirrors._lists
        assert lists._decoded and uplink._forgetting._asked and uplink._births
        hub.sync.own(())
        await world.quiet()
        assert not (lists._decoded or uplink._forgetting._asked or uplink._births)

    in_world(story)
