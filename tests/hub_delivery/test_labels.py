"""Labels of a Node travel when a pod is to be refused for them, and never else."""

from __future__ import annotations

from typing import Any

from cloudhub.kube.port import PODS
from shared import codec
from shared.messages import Change
from shared.objects import NO_NAMESPACE, ObjectKey
from simulator.broker_session import Publication
from tests.hub_delivery.world import NODE, Hub, World, in_world, pod_key, topics_of

NODE_KEY = ObjectKey("Node", NO_NAMESPACE, NODE)


def labelled(hub: Hub, **labels: str) -> None:
    """The API has these from now on, and the watch has told so."""
    hub.listener.labels = labels
    hub.sync.describe(NODE, [], labels)


def told(sent: list[Publication]) -> Any:
    """Labels in the newest change."""
    change = Change.decode(sent[-1].payload)
    return codec.unpack(change.bodies[NODE_KEY])["metadata"]["labels"]


def test_labels_that_refuse_no_pod_send_nothing_however_often_they_change() -> None:
    async def story(world: World) -> None:
        hub = world.hub()
        device = world.device()
        labelled(hub, zone="a", disk="ssd")
        await world.pod("web", nodeSelector={"zone": "a"})
        await world.quiet()
        assert device.applied.entries.keys() == {pod_key("web")}
        await _runs(world, "web")
        for number in range(20):
            labelled(hub, zone="b", disk=str(number))
            await world.quiet(1)
        assert await world.quiet(60) == []
        assert hub.listener.reads == 0

    in_world(story)


def test_a_pod_and_the_labels_that_refuse_it_arrive_in_one_small_change() -> None:
    async def story(world: World) -> None:
        hub = world.hub()
        device = world.device()
        labelled(hub, zone="a", disk="ssd")
        await world.quiet()
        await world.pod("plain", nodeSelector={"zone": "a"})
        alone = len((await world.quiet(0.2))[-1].payload)
        await world.pod("wrong", nodeSelector={"zone": "b"})
        sent = await world.quiet(0.2)
        assert topics_of(sent).count("change") == 1
        assert told(sent) == {"zone": "a"}
        assert device.applied.entries.keys() == {pod_key("plain"), pod_key("wrong"), NODE_KEY}
        assert not device.missing
        assert len(sent[-1].payload) - alone < 100
        assert hub.listener.reads == 1

        await _refused(world, "wrong")
        await world.pod("wrong-too", nodeSelector={"zone": "b"})
        sent = await world.quiet(0.2)
        assert topics_of(sent) == ["desired/Pod/default/wrong-too", "inventory", "change"]

        await hub.stop()
        again = world.hub("hub-b")
        labelled(again, zone="a", disk="ssd")
        assert topics_of(await world.quiet(60)) == ["hub"], "another hub says nothing new"

    in_world(story)


def test_a_pod_that_comes_right_after_its_label_is_not_refused() -> None:
    """The watch of Nodes is behind: the hub has the label from the Node itself."""

    async def story(world: World) -> None:
        hub = world.hub()
        device = world.device()
        labelled(hub)
        await world.quiet()
        hub.listener.labels = {"zone": "a"}
        await world.pod("web", nodeSelector={"zone": "a"})
        sent = await world.quiet(0.2)
        assert topics_of(sent) == ["desired/Pod/default/web", "inventory", "change"]
        assert device.applied.entries.keys() == {pod_key("web")}
        assert hub.listener.reads == 1

    in_world(story)


def test_while_the_node_cannot_be_read_its_pods_wait_a_second_and_nothing_refuses_them() -> None:
    async def story(world: World) -> None:
        hub = world.hub()
        device = world.device()
        labelled(hub, zone="a")
        await world.quiet()
        hub.listener.labels = None
        await world.pod("web", nodeSelector={"zone": "b"})
        assert await world.quiet(0.9) == []
        await world.quiet(0.3)
        assert device.applied.entries.keys() == {pod_key("web")}
        hub.listener.labels = {"zone": "a"}
        sent = await world.quiet(60)
        assert topics_of(sent).count("change") == 1
        assert told(sent) == {"zone": "a"}, "for a device that is away, and judges when it is back"

    in_world(story)


def test_a_node_that_was_away_meanwhile_is_waited_for_anew() -> None:
    async def story(world: World) -> None:
        hub = world.hub()
        device = world.device()
        labelled(hub, zone="a")
        await world.quiet()
        hub.listener.labels = None
        await world.pod("web", nodeSelector={"zone": "b"})
        await world.quiet(0.5)
        hub.sync.unmanage(NODE)
        await world.quiet(600)
        hub.sync.manage(NODE)
        hub.sync.describe(NODE, [], {"zone": "a"})
        await world.quiet(0.9)
        assert pod_key("web") not in device.applied.entries
        hub.listener.labels = {"zone": "a"}
        sent = await world.quiet(60)
        assert told(sent) == {"zone": "a"}

    in_world(story)


def test_what_refused_a_pod_is_taken_back_before_one_that_names_it_is_in_doubt() -> None:
    """Else the label that was told for the first would refuse the second."""

    async def story(world: World) -> None:
        hub = world.hub()
        device = world.device()
        labelled(hub, zone="a")
        await world.quiet()
        await world.pod("wrong", nodeSelector={"zone": "b"})
        await world.quiet(0.2)
        await _refused(world, "wrong")
        hub.listener.labels = None
        await world.pod("right", nodeSelector={"zone": "b"})
        await world.quiet(2)
        assert device.applied.entries.keys() == {pod_key("wrong"), pod_key("right")}

    in_world(story)


async def _runs(world: World, name: str) -> None:
    status = {"phase": "Running", "startTime": "2026-01-01T00:00:00Z"}
    await world.kube.patch(PODS, "default", name, {"status": status}, subresource="status")


async def _refused(world: World, name: str) -> None:
    status = {"phase": "Failed", "reason": "NodeAffinity", "startTime": "2026-01-01T00:00:00Z"}
    await world.kube.patch(PODS, "default", name, {"status": status}, subresource="status")
    assert await world.quiet(1) == []
