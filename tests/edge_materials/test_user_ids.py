"""Which users a pod with ``hostUsers: false`` gets, and that no two pods ever have the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from edgeagent.pods.materials import userids
from edgeagent.pods.materials.userids import FIRST_ID, LENGTH
from edgeagent.pods.model.errors import SandboxConfigError
from edgeagent.pods.model.facts import PodFacts
from edgeagent.runtime.abilities import Handler
from edgeagent.runtime.port import IdRange, Sandbox, SandboxState
from tests.edge_materials.making import NODE, pod

ABLE = replace(NODE, handlers=(Handler("", user_namespaces=True), Handler("plain")))
HIGHEST = 2**32 - 2 * LENGTH


def sandbox(uid: str, written: str) -> Sandbox:
    annotations = {FIRST_ID: written}
    return Sandbox(
        f"of-{uid}", uid, "default", uid, 0, SandboxState.READY, 0, annotations=annotations
    )


def test_a_pod_has_65536_users_from_its_first_one_on() -> None:
    assert userids.id_range(pod(hostUsers=False), 131072, ABLE) == IdRange(131072, 65536)


@pytest.mark.parametrize("spec", [{}, {"hostUsers": True}, {"hostUsers": None}])
def test_the_devices_users_are_the_pods_unless_it_says_otherwise(spec: dict[str, object]) -> None:
    assert userids.id_range(pod(**spec), 131072, ABLE) is None


def test_a_runtime_class_must_have_user_namespaces_too() -> None:
    words = 'RuntimeClass handler "plain" does not support user namespaces'
    with pytest.raises(SandboxConfigError, match=words):
        userids.id_range(pod(hostUsers=False, runtimeClassName="plain"), 131072, ABLE)
    named = replace(ABLE, runtime_classes={"simple": "plain"})
    with pytest.raises(SandboxConfigError, match=words):
        userids.id_range(pod(hostUsers=False, runtimeClassName="simple"), 131072, named)


def test_the_lowest_users_are_the_devices_and_the_highest_are_nobodys() -> None:
    assert userids.first_id(PodFacts(), (), others=()) == LENGTH
    all_but_one = set(range(LENGTH, HIGHEST, LENGTH))
    assert userids.first_id(PodFacts(), (), others=all_but_one) == HIGHEST


def test_where_the_device_keeps_some_for_pods_it_is_one_of_those() -> None:
    kept = range(8 * LENGTH, 10 * LENGTH, LENGTH)
    assert userids.first_id(PodFacts(), (), others=(), allowed=kept) == 8 * LENGTH
    assert userids.first_id(PodFacts(), (), others={8 * LENGTH}, allowed=kept) == 9 * LENGTH
    assert userids.first_id(PodFacts(), (), others=set(kept), allowed=kept) == 0
    has = PodFacts(first_id=LENGTH)
    assert userids.first_id(has, (), others=(), allowed=kept) == LENGTH, "given once, it stays"


def test_when_all_are_taken_the_pod_waits() -> None:
    everybody = set(range(LENGTH, HIGHEST + 1, LENGTH))
    assert userids.first_id(PodFacts(), (), others=everybody) == 0
    with pytest.raises(SandboxConfigError, match="could not find an empty slot"):
        userids.id_range(pod(hostUsers=False), 0, ABLE)


@pytest.mark.parametrize("written", ["", "x", "0", "1", "65537", "4294901760", "9" * 5000, "²"])
def test_what_stands_on_a_sandbox_is_believed_only_if_it_can_be(written: str) -> None:
    assert userids.written([sandbox("a", written)]) == {}
    assert userids.first_id(PodFacts(), [sandbox("a", written)], others=()) == LENGTH


def test_users_that_a_pod_had_by_older_facts_may_be_anothers_by_now() -> None:
    known = PodFacts(first_id=LENGTH)
    others = userids.taken("a", {"a": known}, userids.written([sandbox("b", str(LENGTH))]))
    assert userids.first_id(known, (), others=others) == 2 * LENGTH


UIDS = st.sampled_from(["a", "b", "c"])


class Histories(RuleBasedStateMachine):
    """Pods start, end and go; facts are lost, or come back as they once were."""

    def __init__(self) -> None:
        super().__init__()
        self.facts: dict[str, PodFacts] = {}
        self.older: dict[str, PodFacts] = {}
        self.starting: dict[str, Sandbox] = {}
        """The runtime is at it, and does not list them yet."""
        self.running: dict[str, Sandbox] = {}

    @rule(uid=UIDS)
    def is_worked_on(self, uid: str) -> None:
        """As a pod's worker does it; it begins no second start beside one."""
        known = self.facts.get(uid, PodFacts())
        if known.final is not None or uid in self.starting:
            return
        mine = [self.running[uid]] if uid in self.running else []
        others = userids.taken(uid, self.facts, userids.written(self.running.values()))
        first = userids.first_id(known, mine, others=others)
        self.facts[uid] = replace(known, first_id=first)
        if mine:
            assert mine[0].annotations[FIRST_ID] == str(first), "kept while it runs"
        else:
            self.starting[uid] = sandbox(uid, str(first))

    @rule()
    def sandboxes_are_there(self) -> None:
        self.running |= self.starting
        self.starting = {}

    @rule(uid=UIDS)
    def is_stopped_by_a_reboot(self, uid: str) -> None:
        self.running.pop(uid, None)

    @rule(uid=UIDS)
    def ends(self, uid: str) -> None:
        if uid in self.facts and self.running.pop(uid, None):
            self.facts[uid] = replace(self.facts[uid], final={"phase": "Succeeded"})

    @rule(uid=UIDS)
    def goes(self, uid: str) -> None:
        if uid not in self.starting:
            self.running.pop(uid, None)
            self.facts.pop(uid, None)

    @rule()
    def facts_are_copied(self) -> None:
        self.older = dict(self.facts)

    @rule()
    def facts_are_those_of_the_copy(self) -> None:
        self.sandboxes_are_there()
        self.facts = dict(self.older)

    @rule()
    def facts_are_lost(self) -> None:
        self.sandboxes_are_there()
        self.facts = {}

    @invariant()
    def no_two_pods_have_a_user_in_common(self) -> None:
        every = (self.running | self.starting).values()
        firsts = [int(one.annotations[FIRST_ID]) for one in every]
        assert len(set(firsts)) == len(firsts)
        assert all(LENGTH <= first <= HIGHEST and first % LENGTH == 0 for first in firsts)


TestHistories = Histories.TestCase
