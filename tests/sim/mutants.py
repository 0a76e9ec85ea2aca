"""Bugs planted on purpose, for the simulator to find: each is a patch of the real code.

``python -m tests.sim.mutants NAME SEEDS`` plays seeds until one fails, and prints which and why.
Several are bugs that the simulator once found; the others are what a tired engineer might write.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

from cloudhub.broker.connection import HubConnection
from cloudhub.broker.echoes import Echoes
from cloudhub.broker.forgetting import Forgetting
from cloudhub.broker.lifesigns import LifeSigns
from cloudhub.downlink import Downlink
from cloudhub.fleet import placing, publishing
from cloudhub.fleet.delivery import Delivery
from cloudhub.fleet.fleet import Fleet
from cloudhub.fleet.pods import PodRecord
from cloudhub.kube.port import PODS
from cloudhub.mirrors.mirrors import Mirrors
from cloudhub.nodes import taints
from cloudhub.nodes.nodes import Nodes
from cloudhub.nodes.presence import Heard, Presence, Standing, _Known
from cloudhub.reporting.reporting import Reporting
from cloudhub.uplink import Uplink
from edgeagent.desired import Body, Desired, DesiredSet
from edgeagent.outbox import Outbox, Row
from edgeagent.pods import wanting
from edgeagent.pods.live import LivePod
from edgeagent.pods.model.view import PodView, Wanted
from edgeagent.pods.rules import restarting
from edgeagent.session import delivery
from edgeagent.session.inbox import Accept, Decision
from edgeagent.session.reporting import Reports
from edgeagent.session.rivals import Rivals, Verdict
from edgeagent.session.yielding import Yielding
from edgeagent.shutdown.planning import Course, Turns
from edgeagent.shutdown.stopping import NodeShutdown
from edgeagent.staticpods.folder import Folder
from shared.messages import Change, Inventory, Report, Session
from shared.objects import ObjectKey
from shared.tasks import KeyedWorkers
from simulator import fixed
from simulator.choosing import Fault
from simulator.device_faults import device_reboots, disk_goes_bad, disk_is_imaged
from simulator.faults import (
    FAULTS,
    agent_dies,
    api_is_moody,
    api_is_restored,
    broker_crashes,
    broker_saves,
    hub_and_broker_lose_power,
    hub_dies,
    hub_hangs,
    hub_is_swamped,
    link_is_away,
    link_is_half_open,
    second_hub,
    watches_lag,
)
from simulator.label_faults import node_is_labelled
from simulator.shutdown_faults import device_shuts_down, shutdown_is_called_off
from simulator.static_faults import manifests_change, mirror_is_deleted
from simulator.taint_faults import node_is_tainted
from simulator.world import World

Plant = Callable[[ExitStack], None]


@dataclass(frozen=True)
class Mutant:
    plant: Plant
    faults: Mapping[Fault, int]


MUTANTS: dict[str, Mutant] = {}


def mutant(*faults: Fault) -> Callable[[Plant], Plant]:
    """Registers a bug; only ``faults`` strike in the hunt for it, or all when none is named."""

    def register(plant: Plant) -> Plant:
        MUTANTS[plant.__name__] = Mutant(plant, dict.fromkeys(faults, 1) or FAULTS)
        return plant

    return register


def patch(stack: ExitStack, where: Any, name: str, value: Any) -> None:
    stack.enter_context(mock.patch.object(where, name, value))


@mutant(disk_goes_bad)
def no_list_deletes_all(stack: ExitStack) -> None:
    """A database without a list is taken for an empty list."""
    patch(stack, DesiredSet, "may_stop", lambda self, uid, key: uid not in self._pods)


@mutant(disk_is_imaged, disk_goes_bad)
def an_older_list_deletes_newer_pods(stack: ExitStack) -> None:
    """A restored database stops what came since."""
    patch(stack, wanting, "made_under", lambda sandboxes: 0)


@mutant()
def a_late_death_counts(stack: ExitStack) -> None:
    """The Will of an older connection ends the newer one, and nobody puts it right."""

    def hear(self: Presence, node: str, session: Session) -> Heard:
        standing = Standing.ONLINE if session.online else Standing.OFFLINE
        self._doubted.discard(node)
        self._known[node] = _Known(standing, 0.0, session)
        return Heard.BORN if session.online else Heard.DIED

    patch(stack, Presence, "hear", hear)
    patch(stack, Rivals, "_judge_death", lambda self: Verdict.NOTHING)


@mutant(broker_saves, broker_crashes, device_reboots, disk_goes_bad)
def our_own_past_is_a_rival(stack: ExitStack) -> None:
    """Who stands at the broker in our place is believed to live, without an answer."""

    async def believe(self: Yielding, suspect: Session) -> None:
        self._give_way(suspect)
        await asyncio.Event().wait()

    patch(stack, Yielding, "until_alone", believe)


async def _breaks(world: World, rng: random.Random) -> None:
    raise KeyError("a fault of the simulator itself")


@mutant(_breaks)
def a_part_of_the_simulator_fails(stack: ExitStack) -> None:
    """No bug of ours at all, and yet nothing after it was put to the test."""


@mutant()
def every_device_is_told_of_all_pods(stack: ExitStack) -> None:
    """A list has what is bound elsewhere too."""
    wanted = Fleet._wanted

    def all_wanted(self: Fleet, node: Any) -> Any:
        return replace(
            found := wanted(self, node),
            entries=found.entries | {key: one.entry for key, one in self._pods.items()},
        )

    patch(stack, Fleet, "_wanted", all_wanted)


@mutant(link_is_away)
def a_deletion_ends_with_any_report(stack: ExitStack) -> None:
    """Not waiting for the device to say that it has stopped the pod."""
    take = Reporting._take

    async def taken(self: Reporting, record: PodRecord, report: Report) -> float | None:
        return await take(self, record, replace(report, finished=True))

    patch(stack, Reporting, "_take", taken)


@mutant(broker_crashes, hub_dies)
def revisions_begin_anew(stack: ExitStack) -> None:
    """Each hub counts from what the broker has, and from 1 when that is nothing."""
    renewal = publishing._renewal

    def renewed(entries: Any, facts: Any, body: Any, knowing: int) -> publishing.Plan:
        old = facts.known.inventory or publishing.EMPTY
        plan = renewal(entries, facts, body, knowing)
        inventory = Inventory(old.revision + 1, entries)
        change = replace(plan.change, revision=inventory.revision) if plan.change else None
        return replace(plan, inventory=inventory, change=change)

    patch(stack, publishing, "_renewal", renewed)


@mutant(hub_hangs, second_hub)
def lists_are_numbered_by_clocks(stack: ExitStack) -> None:
    """Of two lists the one is newer whose hub has the clock that is ahead."""

    def plan(self: Downlink, node: str, delivery: Delivery, wanted: Any) -> Any:
        now_ms = int(self._clock.now() * 1000)
        return publishing.plan(wanted, delivery.facts(), self._fleet.body, now_ms)

    patch(stack, Downlink, "_plan", plan)


@mutant()
def a_change_needs_no_base(stack: ExitStack) -> None:
    """Applied to whatever list is there, whether or not the result is the promised one."""

    def on_change(desired: Desired, change: Change) -> Decision:
        entries = {k: v for k, v in desired.inventory.entries.items() if k not in change.drop}
        inventory = Inventory(change.revision, {**entries, **change.put})
        bodies = {key: Body.of(packed) for key, packed in change.bodies.items()}
        return Accept(desired.accept(inventory, bodies))

    patch(stack, delivery, "on_change", on_change)


@mutant()
def a_missing_body_is_a_deletion(stack: ExitStack) -> None:
    """While the right body of a pod is under way, the pod is stopped."""

    def accept(self: Desired, inventory: Inventory, bodies: Mapping[ObjectKey, Body]) -> Desired:
        fresh = replace(self, inventory=inventory, bodies={}).with_bodies(self.bodies)
        return fresh.with_bodies(bodies)

    patch(stack, Desired, "accept", accept)
    patch(
        stack, DesiredSet, "may_stop", lambda self, uid, key: self.known and uid not in self._pods
    )


@mutant(link_is_half_open, link_is_away)
def reports_are_sent_before_their_puback(stack: ExitStack) -> None:
    """Alone it is healed: the birth names the report, and the hub asks for what it lacks."""
    publish = Reports._publish

    def eager(self: Reports, connection: Any, row: Row) -> Any:
        self._outbox.mark_sent(row.key, row.sequence)
        return publish(self, connection, row)

    patch(stack, Reports, "_publish", eager)
    patch(stack, Forgetting, "born", lambda self, node, session: None)


@mutant(hub_and_broker_lose_power)
def a_lost_broker_gets_no_reports(stack: ExitStack) -> None:
    patch(stack, Outbox, "mark_all_unsent", lambda self: [])


@mutant()
def pods_are_known_by_name_alone(stack: ExitStack) -> None:
    """What was reported about a pod is written to the next one of its name."""

    async def settle(self: Reporting, which: Any) -> None:
        report = self._from_book(which)
        record = self._fleet.pod(which[1])
        if report is not None and record is not None and record.node == which[0]:
            found = await self._kube.get(PODS, which[1].namespace, which[1].name)
            if found is not None:
                await self._take(replace(record, uid=found["metadata"]["uid"]), report)

    patch(stack, Reporting, "_settle", settle)


@mutant(api_is_moody)
def a_conflict_ends_the_writing(stack: ExitStack) -> None:
    take = Reporting._take

    async def give_up(self: Reporting, record: Any, report: Any) -> None:
        from shared.errors import KubeError

        try:
            await take(self, record, report)
        except KubeError as error:
            if error.status != 409:
                raise

    patch(stack, Reporting, "_take", give_up)


@mutant()
def a_wake_during_work_is_lost(stack: ExitStack) -> None:
    attempt = KeyedWorkers._try

    async def forgetful(self: KeyedWorkers[Any], key: Any, backoff: Any) -> float | None:
        delay = await attempt(self, key, backoff)
        self._woken[key].clear()
        return delay

    patch(stack, KeyedWorkers, "_try", forgetful)


@mutant()
def what_succeeded_starts_again(stack: ExitStack) -> None:
    patch(stack, restarting, "restarts", lambda pod, container, known: True)


@mutant()
def a_device_that_is_behind_is_left_behind(stack: ExitStack) -> None:
    """The next list waits for the device to have the one before."""

    async def never(self: Downlink, node: str, delivery: Delivery, wanted: Any) -> None:
        if delivery.applied.revision >= delivery.revision:
            await bring(self, node, delivery, wanted)

    bring = Downlink._bring
    patch(stack, Downlink, "_bring", never)


@mutant(hub_is_swamped)
def what_the_broker_drops_stays_unseen(stack: ExitStack) -> None:
    """The hub takes it that its queue at the broker is never full."""
    never = property(lambda self: False, lambda self, value: None)
    stack.enter_context(mock.patch.object(Echoes, "suspicious", never, create=True))


@mutant(hub_and_broker_lose_power)
def what_the_broker_forgot_is_not_asked_for(stack: ExitStack) -> None:
    """A new hub takes the reports that a broker went back to for the newest."""
    patch(stack, Forgetting, "born", lambda self, node, session: None)


@mutant()
def the_broker_keeps_no_bodies(stack: ExitStack) -> None:
    """Who misses one asks for it; as long as there is a hub that is all the same."""

    def publish(self: HubConnection, topic: str, payload: bytes) -> Any:
        if "/desired/" not in topic or self._connection is None:
            return call(self, topic, payload)
        return self._connection.publish(topic, payload)

    call = HubConnection.publish
    patch(stack, HubConnection, "publish", publish)


@mutant(device_shuts_down)
def a_shutdown_fails_pods_for_good(stack: ExitStack) -> None:
    """As a kubelet does it, though nobody else makes others."""
    patch(stack, restarting, "comes_back", lambda pod: False)


@mutant(device_shuts_down)
def critical_pods_stop_with_the_others(stack: ExitStack) -> None:
    def course(self: Course, pod: Any) -> Any:
        return call(replace(self, since=self.since * 2), pod)

    call = Course.__call__
    patch(stack, Course, "__call__", course)


@mutant(device_shuts_down)
def the_machine_goes_down_at_once(stack: ExitStack) -> None:
    """Pods are told to stop, and nobody waits for them."""

    async def stop_in_turns(self: NodeShutdown, turns: Turns) -> None:
        now = self._parts.clock.monotonic()
        self._parts.pods.shut_down(Course(turns, (now, now)))

    patch(stack, NodeShutdown, "_stop_in_turns", stop_in_turns)


@mutant(shutdown_is_called_off)
def a_shutdown_is_never_called_off(stack: ExitStack) -> None:
    async def resume(self: NodeShutdown) -> None:
        """Who was stopped stays so until the next boot."""

    patch(stack, NodeShutdown, "_resume", resume)


@mutant(mirror_is_deleted, manifests_change)
def a_deleted_mirror_stays_away(stack: ExitStack) -> None:
    made: set[tuple[int, Any]] = set()

    async def create_once(self: Mirrors, node: str, pod: Any) -> float | None:
        which = (id(self), pod.key)
        if which in made:
            return None
        made.add(which)
        return await create(self, node, pod)

    create = Mirrors._create
    patch(stack, Mirrors, "_create", create_once)


@mutant(manifests_change)
def the_mirror_of_a_vanished_file_stays(stack: ExitStack) -> None:
    async def delete(self: Mirrors, mirror: Any) -> None:
        """It is left to whoever cleans up."""

    patch(stack, Mirrors, "_delete", delete)


@mutant(manifests_change)
def a_broken_file_is_a_vanished_one(stack: ExitStack) -> None:
    """As on a kubelet."""

    def take(self: Folder, name: str, found: Any, stamp: Any, *, now: str) -> None:
        if isinstance(found, str):
            self._pods.pop(name, None)
        take_file(self, name, found, stamp, now=now)

    take_file = Folder._take_file
    patch(stack, Folder, "_take_file", take)


@mutant(api_is_restored)
def what_a_backup_has_is_old_news(stack: ExitStack) -> None:
    """A list counts as late where its pods have lower versions than those that are known."""

    def put_if_newer(self: Fleet, pod: Any, effects: Any) -> None:
        known = self._known(ObjectKey.of("Pod", pod))
        if known is None or not known.is_newer_than(pod):
            put(self, pod, effects)

    put = Fleet._put
    patch(stack, Fleet, "_put", put_if_newer)


@mutant(node_is_tainted, agent_dies)
def a_pod_is_judged_again_at_every_start(stack: ExitStack) -> None:
    """As a kubelet does it."""

    def take(self: LivePod, body: Any, materials: Any) -> None:
        if self.pod and self.refusal is None and self.uid not in judged.setdefault(materials, {}):
            self.refusal = materials.refusal(body)
        judged.setdefault(materials, {})[self.uid] = True
        take_body(self, body, materials)

    judged: dict[Any, dict[str, bool]] = {}
    take_body = LivePod.take_body
    patch(stack, LivePod, "take_body", take)
    patch(stack, PodView, "taken_up", property(lambda self: self.wanted is not Wanted.RUN))


@mutant(node_is_tainted)
def devices_are_told_that_they_are_unreachable(stack: ExitStack) -> None:
    patch(stack, taints, "CONTROL_PLANES", "none/")


@mutant(node_is_labelled, watches_lag)
def pods_are_refused_by_what_the_watch_of_nodes_says(stack: ExitStack) -> None:
    """It may lag behind that of pods, and a label that has just been set refuses them."""

    async def believe(self: Nodes, node: str) -> bool:
        return True

    patch(stack, Nodes, "read", believe)


@mutant(node_is_labelled)
def labels_are_told_for_pods_that_run(stack: ExitStack) -> None:
    patch(stack, placing, "was_refused", lambda status: True)


@mutant()
def reports_of_what_is_gone_stay_at_the_broker(stack: ExitStack) -> None:
    async def clear(self: Uplink, node: str, key: ObjectKey) -> None:
        """A retained message more or less."""

    patch(stack, Uplink, "clear_report", clear)


@mutant()
def nobody_asks_whether_a_device_still_lives(stack: ExitStack) -> None:
    patch(stack, LifeSigns, "born", lambda self, node, birth, *, live: None)


@contextmanager
def planted(name: str) -> Iterator[None]:
    with ExitStack() as stack:
        MUTANTS[name].plant(stack)
        yield


def hunt(name: str, seeds: int) -> str:
    """The first seed that fails with this bug, and how; empty when none does."""
    from simulator import logs
    from simulator.scenario import play

    logs.configure(story=False)
    with planted(name):
        for seed in range(seeds):
            verdict, _ = play(seed, MUTANTS[name].faults)
            if verdict.failures:
                return f"seed {seed}: {', '.join(verdict.rules)}: {verdict.failures[0]}"
    return ""


if __name__ == "__main__":
    fixed.restart("tests.sim.mutants")
    found = hunt(sys.argv[1], int(sys.argv[2]))
    print(found or "not found")
    sys.exit(0 if found else 1)
