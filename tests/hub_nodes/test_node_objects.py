"""Node objects that others write, delete or own, and an API server in trouble."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cloudhub.kube.port import EVENTS, LEASES, NODES, Resource
from shared.errors import KubeError, KubeRefused
from tests.hub_nodes.test_presence import birth, death
from tests.hub_nodes.world import World, running
from tests.parts.virtual_time import virtual


@virtual
async def test_what_somebody_else_wrote_over_ours_is_put_right() -> None:
    """The node controller marks a node Unknown when leases stop for a while."""
    world = World()
    async with running(world.nodes):
        world.hear(birth(1))
        world.report()
        await asyncio.sleep(1)
        unknown = [
            {"type": kind, "status": "Unknown", "reason": "NodeStatusUnknown", "message": "m"}
            for kind in ("Ready", "DiskPressure")
        ]
        await world.kube.patch(
            *(NODES, "", "n1", {"status": {"conditions": unknown}}),
            subresource="status",
            patch_type="strategic",
        )
        await asyncio.sleep(0.1)
        assert await world.ready() == ("True", "AgentConnected")
        world.hear(death(1))
        await asyncio.sleep(0.1)
        await world.kube.patch(
            *(NODES, "", "n1", {"status": {"conditions": unknown[1:]}}),
            subresource="status",
            patch_type="strategic",
        )
        world.writes()
        await asyncio.sleep(60)
        assert world.writes() == [], "no fight over a node that is away"


@virtual
async def test_a_node_deleted_while_its_agent_lives_comes_back_later_and_later() -> None:
    world = World()
    async with running(world.nodes):
        world.hear(birth(1))
        world.report()
        await asyncio.sleep(1)
        for wait in (10, 20, 40):
            uid = (await world.node())["metadata"]["uid"]
            await world.kube.delete(NODES, "", "n1", uid=uid, grace=0)
            await asyncio.sleep(wait - 1)
            assert await world.kube.get(NODES, "", "n1") is None
            await asyncio.sleep(2)
            assert await world.ready() == ("True", "AgentConnected")
            assert (await world.node())["metadata"]["uid"] != uid


@virtual
@pytest.mark.parametrize("told", ["deletion", "list"])
async def test_a_node_deleted_while_an_answer_about_it_is_under_way_stays_deleted(
    monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    world = World()
    async with running(world.nodes):
        world.hear(birth(1))
        await asyncio.sleep(1)
        uid = (await world.node())["metadata"]["uid"]
        asked = world.kube.get

        async def slow(*place: Any) -> Any:
            found = await asked(*place)
            await asyncio.sleep(2)
            return found

        monkeypatch.setattr(world.kube, "get", slow)
        reading = asyncio.create_task(world.nodes.read("n1"))
        await asyncio.sleep(1)
        await world.kube.delete(NODES, "", "n1", uid=uid, grace=0)
        if told == "list":
            world.kube.break_watches()
        assert await reading, "as the server knew it when it was asked"
        assert world.nodes.uid("n1") == ""
        await asyncio.sleep(20)
        assert world.nodes.uid("n1") not in ("", uid), "made anew after its time"


@virtual
async def test_a_node_deleted_while_its_agent_is_away_stays_away_until_the_next_birth() -> None:
    world = World()
    async with running(world.nodes):
        world.hear(birth(1))
        await asyncio.sleep(1)
        world.hear(death(1))
        await asyncio.sleep(1)
        uid = (await world.node())["metadata"]["uid"]
        await world.kube.delete(NODES, "", "n1", uid=uid, grace=0)
        await asyncio.sleep(1000)
        assert await world.kube.get(NODES, "", "n1") is None
        assert list(world.nodes.managed()) == []
        world.hear(birth(2))
        await asyncio.sleep(1)
        assert await world.node()


@virtual
async def test_a_death_on_the_broker_makes_no_node() -> None:
    world = World()
    async with running(world.nodes):
        world.hear(death(1))
        await asyncio.sleep(100)
        assert await world.kube.get(NODES, "", "n1") is None
        assert list(world.nodes.managed()) == []


@virtual
async def test_a_node_of_another_kubelet_is_left_alone_and_an_event_says_so() -> None:
    world = World()
    info = {"nodeInfo": {"kubeletVersion": "v1.33.1"}}
    await world.kube.create(NODES, "", {"metadata": {"name": "n1"}, "status": info})
    async with running(world.nodes):
        world.hear(birth(1))
        world.report()
        await asyncio.sleep(1000)
        assert world.writes()[1:] == []
        assert (await world.node())["status"] == info
        assert await world.renewed() is None
        events = await world.kube.list(EVENTS, namespace="default")
        assert [event["reason"] for event in events] == ["NodeNameTaken"]


@virtual
async def test_a_node_prepared_by_hand_is_adopted() -> None:
    world = World()
    label = {"metadata": {"name": "n1", "labels": {"room": "cellar"}}}
    await world.kube.create(NODES, "", label)
    async with running(world.nodes):
        world.hear(birth(1))
        world.report()
        await asyncio.sleep(1)
        labels = (await world.node())["metadata"]["labels"]
        assert labels["room"] == "cellar" and labels["kubetide.io/managed"] == "true"
        assert await world.ready() == ("True", "AgentConnected")


@virtual
async def test_a_report_that_the_server_refuses_does_not_cost_the_node_its_presence() -> None:
    world = World()
    async with running(world.nodes):

        def fail(verb: str, resource: Resource, name: str) -> None:
            if verb == "patch" and resource == NODES and len(world.kube.requests) < 5:
                raise KubeRefused("invalid", status=422)

        world.hear(birth(1))
        await asyncio.sleep(1)
        world.kube.requests.clear()
        world.kube.fail = fail
        world.report({"capacity": {"cpu": "4"}})
        await asyncio.sleep(30)
        assert await world.ready() == ("True", "AgentConnected")


@virtual
async def test_a_server_in_trouble_is_asked_again_until_it_takes_the_write() -> None:
    world = World()
    broken = True

    def fail(verb: str, resource: Resource, name: str) -> None:
        if broken:
            raise KubeError("away", status=503, delay=3)

    world.kube.fail = fail
    async with running(world.nodes):
        world.hear(birth(1))
        world.report()
        await asyncio.sleep(120)
        broken = False
        await asyncio.sleep(61)
        assert await world.ready() == ("True", "AgentConnected")
        assert await world.renewed()


@virtual
async def test_a_lease_that_somebody_deletes_is_made_again() -> None:
    world = World()
    async with running(world.nodes):
        world.hear(birth(1))
        await asyncio.sleep(1)
        lease = await world.kube.get(LEASES, "kube-node-lease", "n1")
        assert lease is not None
        uid = lease["metadata"]["uid"]
        await world.kube.delete(LEASES, "kube-node-lease", "n1", uid=uid, grace=0)
        await asyncio.sleep(15)
        assert await world.renewed()


@virtual
async def test_a_broken_watch_misses_no_deletion() -> None:
    world = World()
    async with running(world.nodes):
        world.hear(birth(1))
        await asyncio.sleep(1)
        old = (await world.node())["metadata"]["uid"]
        await world.kube.delete(NODES, "", "n1", uid=old, grace=0)
        world.kube.break_watches()
        await asyncio.sleep(12)
        assert (await world.node())["metadata"]["uid"] != old


@virtual
async def test_a_server_that_does_not_keep_what_it_took_is_not_flooded() -> None:
    world = World()
    async with running(world.nodes):
        world.hear(birth(1))
        world.report()
        await asyncio.sleep(1)
        world.writes()
        for _ in range(600):
            lost = {"status": {"capacity": {"cpu": "1"}}}
            await world.kube.patch(NODES, "", "n1", lost, subresource="status")
            await asyncio.sleep(0.1)
        ours = len(world.writes()) - 600
        assert 1 <= ours <= 3


@virtual
async def test_a_node_of_which_the_server_says_that_it_is_gone_is_made_anew() -> None:
    """Whatever the watch has said, or has not."""
    world = World()
    async with running(world.nodes):
        world.hear(birth(1))
        await asyncio.sleep(1)
        gone = await world.node()
        await world.kube.delete(NODES, "", "n1", uid=gone["metadata"]["uid"], grace=0)
        await asyncio.sleep(0)
        world.nodes._remember({**gone, "metadata": {**gone["metadata"], "resourceVersion": "x"}})
        world.report()
        await asyncio.sleep(30)
        assert (await world.node())["metadata"]["uid"] != gone["metadata"]["uid"]
        assert world.nodes.uid("n1") == (await world.node())["metadata"]["uid"]
