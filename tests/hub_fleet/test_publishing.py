"""From any history of crashes, lost and rolled-back stores and second hubs the lists converge."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cloudhub.fleet.fleet import Wanted
from cloudhub.fleet.publishing import RIDING_MOST, RIDING_TOTAL, Applied, Facts, Known, plan
from shared.messages import Inventory
from shared.objects import ObjectKey
from tests.hub_fleet.broker_store import Agent, Content, Hub, Store, body_of, entries_of

KEYS = [ObjectKey(kind, "default", name) for kind in ("Pod", "Secret") for name in "abcd"]
contents = st.dictionaries(
    st.sampled_from(KEYS), st.tuples(st.integers(0, 5), st.sampled_from([None, 30])), max_size=6
)
steps = st.one_of(
    st.tuples(st.just("want"), contents),
    st.tuples(st.just("publish"), st.integers(0, 1), st.one_of(st.none(), st.integers(0, 4))),
    st.tuples(st.just("restart"), st.integers(0, 1)),
    st.tuples(st.sampled_from(["read", "reborn"])),
    st.tuples(st.sampled_from(["snapshot", "rollback", "wipe", "lose bodies"])),
)


@dataclass
class Scene:
    store: Store = field(default_factory=Store)
    snapshot: Store = field(default_factory=Store)
    agent: Agent = field(default_factory=Agent)
    hubs: list[Hub] = field(default_factory=lambda: [Hub(), Hub()])
    content: Content = field(default_factory=dict)
    knowing: int = 1_000

    def play(self, step: Any) -> None:
        self.knowing += 7
        match step:
            case ("want", content):
                self.content = content
            case ("publish", which, first):
                self.publish(self.hubs[which], first)
            case ("restart", which):
                self.hubs[which] = self.hubs[which].restarted()
                self.hubs[which].read(self.store)
            case ("read",):
                self.agent.read(self.store)
            case ("reborn",):
                self.agent = Agent()
            case ("snapshot",):
                self.snapshot = self.store.copy()
            case ("rollback",):
                self.store = self.snapshot.copy()
            case ("wipe",):
                self.store = Store()
            case ("lose bodies",):
                self.store.bodies.clear()

    def publish(self, hub: Hub, first: int | None = None) -> bool:
        found = hub.plan(self.content, self.agent.birth(), self.knowing)
        if found is not None:
            hub.publish(found, self.store, first)
        return found is not None

    def end(self) -> Hub:
        """Faults stop: a hub starts, the agent connects, and all messages arrive."""
        hub = Hub()
        hub.read(self.store)
        for _ in range(3):
            self.publish(hub)
            self.agent.read(self.store)
            for key in self.agent.missing():
                self.store.bodies[key] = body_of(key, self.content[key][0])
            self.agent.read(self.store)
        return hub


@given(st.lists(steps, max_size=25), contents)
@settings(max_examples=300, deadline=None)
def test_whatever_happened_the_agent_ends_with_what_is_wanted(
    history: list[Any], wanted: Content
) -> None:
    scene = Scene()
    for step in history:
        scene.play(step)
    scene.content = wanted
    scene.end()
    assert scene.agent.applied.entries == entries_of(wanted)
    assert not scene.agent.missing()


@given(st.lists(steps, max_size=25), contents)
@settings(max_examples=200, deadline=None)
def test_who_is_in_step_is_sent_nothing_also_by_a_new_hub(
    history: list[Any], wanted: Content
) -> None:
    scene = Scene()
    for step in history:
        scene.play(step)
    scene.content = wanted
    hub = scene.end()
    assert hub.plan(wanted, scene.agent.birth(), 10**15) is None
    new = Hub()
    new.read(scene.store)
    again = new.plan(wanted, scene.agent.birth(), 10**15)
    assert again is None or (again.bodies, again.inventory, again.change) == ((), None, None)


@given(st.lists(steps, max_size=25), contents)
@settings(max_examples=200, deadline=None)
def test_the_broker_alone_brings_a_new_device_up_to_date(
    history: list[Any], wanted: Content
) -> None:
    """Where no body was lost that the broker had acknowledged."""
    scene = Scene()
    for step in history:
        if step[0] not in ("lose bodies", "wipe", "rollback"):
            scene.play(step)
    scene.content = wanted
    scene.end()
    device = Agent()
    device.read(scene.store)
    assert device.applied.entries == entries_of(wanted)
    assert not device.missing()
    published = [step for step in history if step[0] == "publish"]
    if all(step[2] is None for step in published) and len({step[1] for step in published}) < 2:
        # One hub that was not killed; two that never heard of each other may leave a body behind.
        assert scene.store.bodies.keys() == wanted.keys()


@given(contents, contents)
def test_a_change_costs_what_changed(before: Content, after: Content) -> None:
    hub, store = Hub(), Store()
    first = hub.plan(before, Applied(), 1000)
    if first is not None:
        hub.publish(first, store)
    change = hub.plan(after, Applied(), 2000)
    if before == after:
        assert change is None
        return
    assert change is not None and change.change is not None
    old = {key: body_of(key, number).digest for key, (number, _) in before.items()}
    new = {body.key for body in change.bodies}
    assert new == {k for k, (n, _) in after.items() if old.get(k) != body_of(k, n).digest}
    riding = change.change.bodies
    assert riding.keys() <= new
    assert all(len(body) <= RIDING_MOST for body in riding.values())
    assert sum(map(len, riding.values())) <= RIDING_TOTAL


@given(contents, contents, st.sets(st.sampled_from(KEYS)))
def test_what_is_not_known_yet_stays_as_the_node_has_it(
    before: Content, after: Content, pending: set[ObjectKey]
) -> None:
    known = {key: value for key, value in after.items() if key not in pending}
    wanted = Wanted(entries_of(known), frozenset(pending))
    old = Inventory(5, entries_of(before))
    facts = Facts(Known(old, None), Applied())
    found = plan(wanted, facts, lambda key: body_of(key, after[key][0]), 1000)
    assert found is not None
    entries = (found.inventory or old).entries
    for key in pending:
        assert (key in entries) == (key in before)
        if key in before:
            assert entries[key].digest == old.entries[key].digest


@given(contents, st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_new_revision_is_above_all_that_was_ever_seen(
    content: Content, known: int, applied: int, floor: int
) -> None:
    wanted = Wanted(entries_of({**content, KEYS[0]: (9, None)}), frozenset())
    facts = Facts(Known(Inventory(known, {}), None), Applied(applied, b"?"), floor)
    found = plan(wanted, facts, lambda key: None, 500)
    assert found is not None and found.inventory is not None
    assert found.inventory.revision > max(known, applied, floor)
    assert found.inventory.revision >= 500
