"""Node objects over the life of agents and hubs, against the model of the API server."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cloudhub.kube.memory import MemoryKube
from cloudhub.kube.port import EVENTS, LEASES, NODES, Resource
from cloudhub.nodes.nodes import Nodes
from cloudhub.nodes.presence import Heard
from shared.errors import KubeError, KubeRefused
from shared.messages import Report, Session
from shared.objects import NO_NAMESPACE, Json, ObjectKey
from shared.tasks import stop
from shared.topics import SLOTS, slot_of
from simulator.clock import SimClock
from tests.hub_nodes.test_node_status import REPORT
from tests.hub_nodes.test_presence import birth, death
from tests.parts.virtual_time import virtual

ALL = frozenset(range(SLOTS))
TAINT = {"key": "edge", "effect": "NoSchedule"}


class World:
    def __init__(self) -> None:
        self.clock = SimClock(asyncio.get_running_loop())
        self.kube = MemoryKube(self.clock)
        self.nodes = self.new_hub()

    def new_hub(self) -> Nodes:
        return Nodes(self.kube, clock=self.clock, rng=random.Random(1), taints=(TAINT,))

    def hear(self, session: Session, node: str = "n1") -> Heard:
        return self.nodes.heard(node, session)

    def report(self, status: Json = REPORT, node: str = "n1") -> None:
        key = ObjectKey("Node", NO_NAMESPACE, node)
        self.nodes.reported(node, Report(key, "", 1, 1, status))

    async def node(self, name: str = "n1") -> Json:
        found = await self.kube.get(NODES, "", name)
        assert found is not None
        return found

    async def ready(self, name: str = "n1") -> tuple[str, str]:
        rows = (await self.node(name))["status"]["conditions"]
        row = next(row for row in rows if row["type"] == "Ready")
        return row["status"], row["reason"]

    async def renewed(self, name: str = "n1") -> str | None:
        lease = await self.kube.get(LEASES, "kube-node-lease", name)
        return lease["spec"]["renewTime"] if lease else None

    def writes(self) -> list[tuple[str, str, str]]:
        """Of Nodes since the last call; Leases are written all the time."""
        found = [row for row in self.kube.requests if row[0] != "get" and "nodes" in row[1]]
        self.kube.requests.clear()
        return found


class Heeded:
    """What the rest of the hub was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.said: list[tuple[str, ...]] = []
        self.taints: dict[str, list[Json]] = {}

    def manage(self, node: str) -> None:
        self.told.append(f"manage {node}")

    def unmanage(self, node: str) -> None:
        self.told.append(f"unmanage {node}")

    def taint(self, node: str, taints: list[Json]) -> None:
        self.taints[node] = taints

    def say(self, *said: str) -> None:
        self.said.append(said)

    def nodes_known(self) -> None:
        self.told.append("known")


@asynccontextmanager
async def running(
    nodes: Nodes, *, slots: frozenset[int] = ALL, heeded: Heeded | None = None
) -> AsyncIterator[None]:
    task = asyncio.create_task(nodes.run(heeded or Heeded()))
    nodes.own(slots)
    nodes.linked(True)
    try:
        yield
        assert not task.done(), task
    finally:
        await stop(task)


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
        world.nodes.linked(True)
        world.hear(birth(1))
        await asyncio.sleep(0.1)
        assert await world.renewed() != renewed
        assert world.writes() == []


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
