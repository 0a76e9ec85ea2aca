"""Births, deaths and silence of agents, as their Nodes and Leases show them."""

from __future__ import annotations

import asyncio
import random

import pytest
from structlog.testing import capture_logs

from cloudhub.kube.port import LEASES, NODES, Resource
from cloudhub.nodes.nodes import Nodes
from cloudhub.nodes.presence import Heard
from shared.errors import KubeError, KubeRefused
from shared.messages import Session
from shared.objects import Json
from shared.topics import slot_of
from tests.hub_nodes.test_node_status import REPORT
from tests.hub_nodes.test_presence import birth, death
from tests.hub_nodes.world import ALL, TAINT, Heeded, World, listen, running
from tests.parts.virtual_time import virtual


@virtual
async def test_an_agent_that_connects_gets_a_complete_node_at_once() -> None:
    world = World()
    async with running(world.nodes):
        world.hear(birth(1))
        world.report()
        await asyncio.sleep(0.1)
        node = await world.node()
        assert node["metadata"]["labels"]["node-role.kubernetes.io/edge"] == ""
        assert node["metadata"]["labels"]["kubernetes.io/arch"] == "arm64"
        assert node["metadata"]["annotations"] == {"kubetide.io/agent-version": "0.1.0"}
        assert node["spec"]["taints"] == [TAINT]
        assert node["status"]["capacity"] == REPORT["capacity"]
        assert await world.ready() == ("True", "AgentConnected")


@virtual
async def test_a_node_says_when_it_is_ready_when_it_is_not_and_that_it_was_rebooted() -> None:
    world, heeded = World(), Heeded()

    async def says(status: Json, *sessions: Session) -> list[tuple[str, ...]]:
        heeded.said.clear()
        for session in sessions:
            world.hear(session)
        world.report(status)
        await asyncio.sleep(0.1)
        return heeded.said

    first, second = ({**REPORT["nodeInfo"], "bootID": boot} for boot in ("boot-1", "boot-2"))
    away = {"type": "Ready", "status": "False", "reason": "RuntimeAway", "message": "no answer"}
    ready = ("n1", "Normal", "NodeReady", "Node n1 status is now: NodeReady")
    not_ready = ("n1", "Normal", "NodeNotReady", "Node n1 status is now: NodeNotReady")
    rebooted = ("n1", "Warning", "Rebooted", "Node n1 has been rebooted, boot id: boot-2")
    async with running(world.nodes, heeded=heeded):
        whole = {**REPORT, "nodeInfo": first}
        assert await says(whole, birth(1)) == [ready]
        assert await says(whole) == []
        assert await says({**whole, "conditions": [away]}) == [not_ready]
        assert await says(whole) == [ready]
        assert await says(whole, death(1)) == [], "unknown: the word of the node controller"
        assert await says({**REPORT, "nodeInfo": second}, birth(2)) == [rebooted, ready]


@virtual
async def test_a_node_that_was_never_ready_does_not_say_that_it_is_not() -> None:
    world, heeded = World(), Heeded()
    async with running(world.nodes, heeded=heeded):
        world.hear(birth(1))
        await asyncio.sleep(0.1)
        assert await world.ready() == ("False", "AwaitingReport")
        world.report()
        await asyncio.sleep(0.1)
        assert [said[2] for said in heeded.said] == ["NodeReady"]


@virtual
async def test_an_hour_without_news_writes_the_lease_and_nothing_else() -> None:
    world = World()
    async with running(world.nodes):
        world.hear(birth(1))
        world.report()
        await asyncio.sleep(1)
        world.kube.requests.clear()
        await asyncio.sleep(3600)
        targets = {row[:2] for row in world.kube.requests}
        assert targets == {("patch", "leases")}
        assert 350 <= len(world.kube.requests) <= 410, "about every ten seconds"
        lease = await world.kube.get(LEASES, "kube-node-lease", "n1")
        assert lease is not None
        owner = lease["metadata"]["ownerReferences"][0]
        assert owner["uid"] == (await world.node())["metadata"]["uid"]
        assert lease["spec"]["leaseDurationSeconds"] == 40


@virtual
async def test_a_death_makes_the_node_unknown_at_once_and_stops_its_lease() -> None:
    world = World()
    async with running(world.nodes):
        world.hear(birth(1))
        world.report()
        await asyncio.sleep(60)
        world.hear(death(1))
        await asyncio.sleep(0.1)
        assert await world.ready() == ("Unknown", "AgentDisconnected")
        renewed = await world.renewed()
        await asyncio.sleep(600)
        assert await world.renewed() == renewed
        world.hear(birth(2))
        await asyncio.sleep(0.1)
        assert await world.ready() == ("True", "AgentConnected")
        assert await world.renewed() != renewed


@virtual
async def test_a_stale_death_changes_nothing() -> None:
    world = World()
    async with running(world.nodes):
        world.hear(birth(1))
        world.hear(birth(2))
        world.report()
        await asyncio.sleep(1)
        world.writes()
        assert world.hear(death(1)) is Heard.STALE
        await asyncio.sleep(100)
        assert world.writes() == []
        assert await world.ready() == ("True", "AgentConnected")


@virtual
async def test_a_hub_that_restarts_writes_nothing_to_a_node_that_is_in_step() -> None:
    world = World()
    async with running(world.nodes):
        world.hear(birth(1))
        world.report()
        await asyncio.sleep(5)
    world.writes()
    world.nodes = world.new_hub()
    async with running(world.nodes):
        await asyncio.sleep(1)
        world.hear(birth(1))
        await asyncio.sleep(1)
        world.report()
        await asyncio.sleep(60)
        assert world.writes() == []


@virtual
async def test_a_node_of_which_the_broker_knows_nothing_becomes_unknown_after_a_while() -> None:
    world = World()
    async with running(world.nodes):
        world.hear(birth(1))
        world.report()
        await asyncio.sleep(5)
    world.nodes = world.new_hub()
    async with running(world.nodes):
        await asyncio.sleep(35)
        assert await world.ready() == ("True", "AgentConnected")
        await asyncio.sleep(10)
        assert await world.ready() == ("Unknown", "AgentSilent")


@virtual
async def test_a_node_whose_slot_is_not_read_yet_is_not_called_silent() -> None:
    """A broker that comes back with all there is takes its time; agents that live are not Unknown
    meanwhile."""
    world, slot = World(), slot_of("n1")
    async with running(world.nodes):
        world.hear(birth(1))
        world.report()
        await asyncio.sleep(5)
        world.nodes.linked(False)
        await asyncio.sleep(5)
        listen(world.nodes, ALL - {slot})
        await asyncio.sleep(100)
        assert await world.ready() == ("True", "AgentConnected")
        world.nodes.slot_up(slot)
        await asyncio.sleep(35)
        assert await world.ready() == ("True", "AgentConnected")
        await asyncio.sleep(10)
        assert await world.ready() == ("Unknown", "AgentSilent")


@virtual
async def test_a_death_heard_before_the_link_broke_is_not_held_against_another_replica() -> None:
    """Cut off, we do not hear that the agent came back; whose link holds, calls the Node Ready."""
    world = World()
    async with running(world.nodes):
        world.hear(birth(1))
        world.report()
        await asyncio.sleep(5)
        world.hear(death(1))
        await asyncio.sleep(5)
        world.nodes.linked(False)
        ready = {"type": "Ready", "status": "True", "reason": "AgentReady"}
        status = {"status": {"conditions": [ready]}}
        await world.kube.patch(
            NODES, "", "n1", status, subresource="status", patch_type="strategic"
        )
        world.writes()
        await asyncio.sleep(600)
        assert world.writes() == []


@virtual
async def test_while_our_own_link_is_down_nothing_is_said_about_anybody() -> None:
    world = World()
    async with running(world.nodes):
        world.hear(birth(1))
        world.report()
        await asyncio.sleep(5)
        world.nodes.linked(False)
        await asyncio.sleep(0.1)
        renewed = await world.renewed()
        world.writes()
        await asyncio.sleep(600)
        assert world.writes() == []
        assert await world.renewed() == renewed, "Kubernetes may notice by itself"
        listen(world.nodes)
        world.hear(birth(1))
        await asyncio.sleep(0.1)
        assert await world.renewed() != renewed
        assert world.writes() == []


@virtual
async def test_slots_that_go_take_their_nodes_with_them() -> None:
    world = World()
    async with running(world.nodes):
        world.hear(birth(1))
        world.report()
        await asyncio.sleep(1)
        world.nodes.own(ALL - {slot_of("n1")})
        await asyncio.sleep(1)
        renewed = await world.renewed()
        world.writes()
        await asyncio.sleep(200)
        assert await world.renewed() == renewed
        assert world.writes() == []
        assert world.nodes.online() == 0
        world.nodes.own(ALL)
        world.hear(birth(1))
        await asyncio.sleep(1)
        assert await world.renewed() != renewed


@virtual
async def test_what_was_heard_of_a_slot_that_went_is_not_held_against_it_later() -> None:
    """A retained birth can still come in while the slot goes; its device dies while others hear."""
    world = World()
    async with running(world.nodes):
        world.hear(birth(1))
        world.report()
        await asyncio.sleep(1)
        slot = slot_of("n1")
        world.nodes.own(ALL - {slot})
        world.hear(birth(1))
        world.nodes.slot_down(slot)
        await asyncio.sleep(1)
        world.nodes.own(ALL)
        assert world.hear(death(2)) is Heard.DIED
        await asyncio.sleep(1)
        assert await world.ready() == ("Unknown", "AgentDisconnected")


@virtual
async def test_the_leases_of_a_fleet_are_spread_over_time() -> None:
    world = World()
    async with running(world.nodes):
        for number in range(200):
            world.hear(birth(1), f"edge-{number}")
        await asyncio.sleep(15)
        world.kube.requests.clear()
        counts = []
        for _ in range(10):
            await asyncio.sleep(1)
            counts.append(sum(row[1] == "leases" for row in world.kube.requests))
            world.kube.requests.clear()
    assert 190 <= sum(counts) <= 210
    assert max(counts) < 45, counts


@virtual
async def test_the_rest_of_the_hub_hears_which_node_objects_are_ours() -> None:
    world, heeded = World(), Heeded()
    async with running(world.nodes, heeded=heeded):
        world.hear(birth(1))
        await asyncio.sleep(1)
        assert heeded.told == ["known", "manage n1"]
        uid = (await world.node())["metadata"]["uid"]
        await world.kube.delete(NODES, "", "n1", uid=uid, grace=0)
        await asyncio.sleep(15)
        assert heeded.told[2:] == ["unmanage n1", "manage n1"]
        world.nodes.own(frozenset())
        assert heeded.told[4:] == ["unmanage n1"]
        world.nodes.own(ALL)
        assert heeded.told[5:] == ["manage n1"]
    again = Heeded()
    world.nodes = world.new_hub()
    async with running(world.nodes, heeded=again):
        await asyncio.sleep(1)
        assert again.told == ["manage n1", "known"], "all before the rest begins"


@virtual
async def test_the_taints_that_new_pods_are_judged_by_are_those_that_people_set() -> None:
    own = {"key": "edge", "value": "yes", "effect": "NoExecute"}
    world, heeded = World(), Heeded()
    world.nodes = Nodes(world.kube, clock=world.clock, rng=random.Random(1), taints=(own,))

    async def told(*taints: Json) -> list[Json]:
        heeded.taints.clear()
        await world.kube.patch(NODES, "", "n1", {"spec": {"taints": list(taints)}})
        await asyncio.sleep(0.1)
        return heeded.taints.get("n1", [{"key": "nothing was told"}])

    async with running(world.nodes, heeded=heeded):
        world.hear(birth(1))
        await asyncio.sleep(0.1)
        assert (await world.node())["spec"]["taints"] == [own]
        assert heeded.taints == {"n1": []}, "its own says nothing of a node"
        away = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}
        full = {"key": "full", "effect": "NoSchedule"}
        kept = {"key": "a/kept", "value": "x", "effect": "NoExecute"}
        first = {"key": "a/first", "effect": "NoExecute"}
        early = {**kept, "timeAdded": "2026-01-01T00:00:00Z"}
        assert await told(own, away, full, early, first) == [first, kept]
        late = {**kept, "timeAdded": "2026-01-01T00:01:00Z"}
        assert await told(own, late, first) == [{"key": "nothing was told"}]
        assert await told({**own, "value": "no"}) == [{**own, "value": "no"}]
        assert await told() == []


@virtual
async def test_an_answer_that_nobody_expects_does_not_end_the_renewing_of_a_lease() -> None:
    """A node whose Lease expires is emptied by the cluster, however well it is connected."""
    world = World()
    odd: list[Exception] = []

    def fail(verb: str, resource: Resource, name: str) -> None:
        if resource is LEASES and odd:
            raise odd.pop()

    async with running(world.nodes):
        world.hear(birth(1))
        await asyncio.sleep(15)
        with capture_logs() as logged:
            world.kube.fail = fail
            odd.append(LookupError("nobody expects this"))
            await asyncio.sleep(11)
            assert not odd
            before = await world.renewed()
            await asyncio.sleep(15)
            assert await world.renewed() != before
        [line] = [one for one in logged if one["log_level"] == "error"]
        assert (line["node"], line["exc_info"]) == ("n1", True)


@virtual
async def test_what_new_pods_may_ask_for_is_told_as_soon_as_the_node_is_read() -> None:
    """A watch of Nodes may be behind that of pods."""
    world, heeded = World(), Heeded()
    async with running(world.nodes, heeded=heeded):
        assert not await world.nodes.read("n1"), "there is none"
        world.hear(birth(1))
        world.report()
        await asyncio.sleep(0.1)
        assert "zone" not in heeded.labels["n1"]
        await world.kube.patch(NODES, "", "n1", {"metadata": {"labels": {"zone": "a"}}})
        assert await world.nodes.read("n1")
        assert heeded.labels["n1"]["zone"] == "a"
        assert world.nodes.online() == 1
        world.writes()
        await world.kube.patch(NODES, "", "n1", {"metadata": {"labels": {"zone": None}}})
        await asyncio.sleep(60)
        assert "zone" not in heeded.labels["n1"]
        assert len(world.writes()) == 1, "the hub has nothing to say to that"


@virtual
async def test_a_server_that_asks_for_minutes_is_asked_again_before_the_lease_is_over() -> None:
    world = World()

    def busy(verb: str, resource: Resource, name: str) -> None:
        if resource is LEASES:
            raise KubeError("Service Unavailable", status=503, delay=120.0)

    async with running(world.nodes):
        world.hear(birth(1))
        world.report()
        await asyncio.sleep(30)
        before, world.kube.fail = world.kube.fail, busy
        await asyncio.sleep(10)
        world.kube.fail = before
        renewed = await world.renewed()
        await asyncio.sleep(21)
        assert await world.renewed() != renewed


@virtual
async def test_who_takes_a_label_away_is_not_fought_with() -> None:
    world = World()
    async with running(world.nodes):
        world.hear(birth(1))
        world.report()
        await asyncio.sleep(1)
        world.writes()
        for _ in range(20):
            gone = {"metadata": {"labels": {"node-role.kubernetes.io/edge": None}}}
            await world.kube.patch(NODES, "", "n1", gone)
            await asyncio.sleep(1)
        ours = len(world.writes()) - 20
        await asyncio.sleep(40)
        assert ours <= 2
        assert "node-role.kubernetes.io/edge" in (await world.node())["metadata"]["labels"]


@virtual
async def test_a_refused_label_keeps_no_node_from_being_ready() -> None:
    world = World()

    refused: list[str] = []

    def refuse(verb: str, resource: Resource, name: str) -> None:
        if verb == "patch" and resource is NODES and not refused:
            refused.append(name)
            raise KubeRefused("labels are ours", status=403, reason="Forbidden")

    async with running(world.nodes):
        world.hear(birth(1))
        world.report()
        await asyncio.sleep(1)
        world.hear(death(1))
        await asyncio.sleep(1)
        gone = {"metadata": {"labels": {"node-role.kubernetes.io/edge": None}}}
        await world.kube.patch(NODES, "", "n1", gone)
        world.kube.fail = refuse
        world.hear(birth(2))
        await asyncio.sleep(5)
        assert refused == ["n1"]
        assert await world.ready() == ("True", "AgentConnected")


@pytest.mark.parametrize(
    "error",
    [KubeError("away", status=503), KubeRefused("the object has been modified", status=409)],
)
@virtual
async def test_labels_that_a_server_in_trouble_did_not_take_are_written_soon(
    error: Exception,
) -> None:
    world, failed = World(), list[str]()

    def trouble(verb: str, resource: Resource, name: str) -> None:
        if verb == "patch" and resource is NODES and not failed:
            failed.append(name)
            raise error

    async with running(world.nodes):
        world.hear(birth(1))
        world.report()
        await asyncio.sleep(1)
        world.kube.fail = trouble
        gone = {"metadata": {"labels": {"node-role.kubernetes.io/edge": None}}}
        failed.append("by hand")
        await world.kube.patch(NODES, "", "n1", gone)
        failed.clear()
        await asyncio.sleep(8)
        assert failed == ["n1"]
        assert "node-role.kubernetes.io/edge" in (await world.node())["metadata"]["labels"]
