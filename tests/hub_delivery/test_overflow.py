"""A broker that drops what it cannot queue for the hub: nothing stays unseen, quiet stays quiet.

The promise is for brokers that hold 80 messages for a client, and the retained ones of one node.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import count, islice

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cloudhub.broker.echoes import LONG_ENOUGH, Echoes
from shared.link import PublishRefused
from shared.messages import Report
from shared.objects import NO_NAMESPACE, ObjectKey
from shared.topics import Topics, slot_of
from simulator.broker_session import Publication, Traits
from simulator.sim_link import SimConnection
from tests.hub_delivery.world import World, in_world

CROWD = 300
SMALL = Traits(queue_cap=5, max_inflight=100)


def report(node: str, sequence: int) -> Publication:
    key = ObjectKey("Node", NO_NAMESPACE, node)
    payload = Report(key, "", sequence, 0, {}).encode()
    return Publication(Topics().of(node).reported(key), payload, node)


def all_report(world: World, nodes: list[str], sequence: int) -> None:
    for node in nodes:
        world.broker.publish(report(node, sequence), retain=True)


def heard(world: World, sequence: int) -> set[str]:
    reports = world.hubs[0].listener.reports
    return {one.key.name for one in reports if one.sequence == sequence}


def _dropped(world: World) -> int:
    [session] = [
        one for name, one in world.broker.sessions.items() if name.startswith("kubetide-hub.hub-a")
    ]
    return session.dropped


def test_a_burst_that_the_broker_cannot_queue_is_read_again() -> None:
    async def story(world: World) -> None:
        nodes = [f"n{number}" for number in range(CROWD)]
        hub = world.hub()
        await world.quiet()
        hub.path.stalled_until = world.loop.time() + 3
        all_report(world, nodes, 1)
        assert _dropped(world) > 0
        await world.quiet(60)
        assert heard(world, 1) == set(nodes)

    in_world(story, traits=SMALL)


def test_also_when_nothing_comes_afterwards_but_a_little() -> None:
    async def story(world: World) -> None:
        nodes = [f"n{number}" for number in range(106)]
        hub = world.hub()
        await world.quiet()
        hub.path.stalled_until = world.loop.time() + 3
        all_report(world, nodes, 1)
        assert _dropped(world) == 1
        await world.quiet(60)
        assert heard(world, 1) == set(nodes)

    in_world(story, traits=SMALL)


@pytest.mark.parametrize("waits", [20, 9])
def test_a_slot_with_more_retained_than_the_broker_queues_is_read_in_parts(waits: int) -> None:
    async def story(world: World) -> None:
        names = (f"n{number}" for number in count())
        nodes = list(islice((one for one in names if slot_of(one) == slot_of("n0")), 30))
        all_report(world, nodes, 1)
        world.hub("hub-a", *nodes)
        await world.quiet(60)
        assert heard(world, 1) == set(nodes)

    in_world(story, traits=Traits(queue_cap=1, max_inflight=waits))


def test_a_flood_that_does_not_end_has_all_slots_read_now_and_then_only() -> None:
    """One node can bring it about, and the slots of all others would be read without end."""

    async def story(world: World) -> None:
        nodes = [f"n{number}" for number in range(CROWD)]
        hub = world.hub()
        await world.quiet()
        for number in range(1, 41):
            hub.path.stalled_until = world.loop.time() + 1
            all_report(world, nodes, number)
            await world.quiet(10)
        overflows = b"\nkubetide_hub_broker_overflows_total "
        assert float(hub.metrics.text().partition(overflows)[2].split()[0]) <= 8
        await world.quiet(200)
        assert heard(world, 40) == set(nodes), "and nothing stays unseen"

    in_world(story, traits=SMALL)


def test_nothing_is_said_or_read_when_nothing_comes() -> None:
    async def story(world: World) -> None:
        said: list[str] = []
        publish = world.broker.publish

        def listening(publication: Publication, *, retain: bool) -> None:
            said.append(publication.topic)
            publish(publication, retain=retain)

        world.broker.publish = listening  # type: ignore[method-assign]
        hub = world.hub()
        await world.quiet()
        hub.path.stalled_until = world.loop.time() + 3
        all_report(world, [f"n{number}" for number in range(CROWD)], 1)
        await world.quiet(60)
        said.clear()
        await world.quiet(600)
        assert said == []

    in_world(story, traits=SMALL)


def test_a_broker_that_forbids_echoes_is_used_without(monkeypatch: pytest.MonkeyPatch) -> None:
    publish = SimConnection.publish

    def refuse(self: SimConnection, topic: str, payload: bytes, **options: object) -> object:
        if "/echo/" not in topic:
            return publish(self, topic, payload, **options)  # type: ignore[arg-type]
        refused = asyncio.get_running_loop().create_future()
        refused.set_exception(PublishRefused("not authorized"))
        return refused

    monkeypatch.setattr(SimConnection, "publish", refuse)

    async def story(world: World) -> None:
        world.hub()
        nodes = [f"n{number}" for number in range(60)]
        await world.quiet()
        all_report(world, nodes, 1)
        await world.quiet()
        assert world.hubs[0].sync.linked
        assert heard(world, 1) == set(nodes)

    in_world(story)


@settings(max_examples=300, deadline=None)
@example(room=LONG_ENOUGH, moves=[(16, 16), (81, 0)])
@given(
    room=st.integers(LONG_ENOUGH, 300),
    moves=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 120)), max_size=30),
)
def test_whatever_comes_and_goes_a_loss_is_noticed(room: int, moves: list[tuple[int, int]]) -> None:
    """Each move: so many messages come to the broker, so many are taken by the hub."""
    echoes, queue, lost = Echoes(), deque[int](), False

    def offer(what: int) -> bool:
        if len(queue) >= room:
            return False
        queue.append(what)
        return True

    def take() -> None:
        what = queue.popleft()
        if what:
            echoes.back(what)
            return
        echoes.came(retained=False)
        if echoes.due:
            offer(echoes.send())

    for comes, goes in moves:
        for _ in range(comes):
            lost |= not offer(0)
        for _ in range(min(goes, len(queue))):
            take()
    while queue:
        take()
    echoes.give_up()
    assert echoes.suspicious or not lost
