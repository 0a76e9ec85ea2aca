"""Replicas that come, stop, crash and lose the API server, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cloudhub.kube.memory import MemoryKube
from cloudhub.kube.port import LEASES, Change, Resource, WatchEvent
from cloudhub.replicas import Replicas, owned_slots
from shared.errors import KubeError, KubeRefused
from shared.objects import Json
from shared.tasks import stop
from shared.topics import SLOTS
from simulator.clock import SimClock
from tests.parts.virtual_time import virtual

ALL = frozenset(range(SLOTS))


def away(verb: str, resource: Resource, name: str) -> None:
    raise KubeError("away")


class Replica:
    def __init__(self, kube: MemoryKube, name: str, *, clock_error: float = 0.0) -> None:
        self.slots: frozenset[int] = frozenset()
        self.changes = 0
        self._kube = kube
        clock = SimClock(asyncio.get_running_loop(), offset=clock_error)
        self.linked = True
        self.replicas = Replicas(
            *(kube, self._take),
            name=name,
            namespace="hub",
            linked=lambda: self.linked,
            clock=clock,
        )
        self.task = asyncio.create_task(self.replicas.run())

    def _take(self, slots: frozenset[int]) -> None:
        self.slots = slots
        self.changes += 1

    async def crash(self) -> None:
        """It ends without a last word to the API server."""
        working, self._kube.fail = self._kube.fail, away
        await stop(self.task)
        self._kube.fail = working

    async def stop(self) -> None:
        await stop(self.task)


@asynccontextmanager
async def replicas(*names: str) -> AsyncIterator[tuple[MemoryKube, list[Replica]]]:
    kube = MemoryKube(SimClock(asyncio.get_running_loop()))
    made = [Replica(kube, name) for name in names]
    await asyncio.sleep(1)
    yield kube, made
    for replica in made:
        await replica.stop()


def shared(made: Iterable[Replica]) -> bool:
    """Every slot is owned, and by one only."""
    owned = [slot for replica in made for slot in replica.slots]
    return sorted(owned) == sorted(ALL)


async def lease_names(kube: MemoryKube) -> set[str]:
    return {lease["metadata"]["name"] for lease in await kube.list(LEASES, namespace="hub")}


@virtual
async def test_one_replica_owns_all_slots_at_once() -> None:
    async with replicas("a") as (_, [a]):
        assert a.slots == ALL
        await asyncio.sleep(3600)
        assert a.changes == 1


@virtual
async def test_three_replicas_share_and_stay_as_they_are() -> None:
    async with replicas("a", "b", "c") as (_, made):
        assert shared(made)
        changes = [replica.changes for replica in made]
        await asyncio.sleep(3600)
        assert [replica.changes for replica in made] == changes


@virtual
async def test_who_stops_hands_over_at_once() -> None:
    async with replicas("a", "b") as (kube, [a, b]):
        await b.stop()
        await asyncio.sleep(0.1)
        assert a.slots == ALL
        assert await lease_names(kube) == {"a"}


@virtual
async def test_who_stops_before_it_saw_the_lease_that_it_made_takes_it_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def nothing_yet(resource: Resource, **selected: str) -> AsyncIterator[WatchEvent]:
        await asyncio.Event().wait()
        yield WatchEvent(Change.LISTED)

    async with replicas("a") as (kube, [a]):
        monkeypatch.setattr(kube, "watch", nothing_yet)
        b = Replica(kube, "b")
        await asyncio.sleep(0.1)
        assert await lease_names(kube) == {"a", "b"}
        await b.stop()
        await asyncio.sleep(0.1)
        assert a.slots == ALL
        assert await lease_names(kube) == {"a"}


@virtual
async def test_who_crashes_is_missed_after_its_lifetime_and_swept_in_the_end() -> None:
    async with replicas("a", "b") as (kube, [a, b]):
        await asyncio.sleep(60)
        await b.crash()
        await asyncio.sleep(9)
        assert a.slots == owned_slots("a", ["a", "b"])
        await asyncio.sleep(12)
        assert a.slots == ALL
        assert await lease_names(kube) == {"a", "b"}
        await asyncio.sleep(700)
        assert await lease_names(kube) == {"a"}


@virtual
async def test_the_dead_may_be_swept_by_two_at_the_same_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with replicas("a", "b", "c") as (kube, [a, b, c]):
        alone = kube.delete

        async def all_at_once(*place: Any, uid: str, grace: int) -> None:
            for lease in await kube.list(LEASES, namespace="hub"):
                metadata = lease["metadata"]
                if metadata["name"] != "a":
                    await alone(LEASES, "hub", metadata["name"], uid=metadata["uid"], grace=0)
            await asyncio.sleep(0.1)

        await asyncio.sleep(60)
        await b.crash()
        await c.crash()
        monkeypatch.setattr(kube, "delete", all_at_once)
        await asyncio.sleep(700)
        assert await lease_names(kube) == {"a"}
        assert not a.task.done()
        monkeypatch.undo()


@virtual
async def test_who_is_cut_off_from_the_broker_is_replaced_until_it_is_back() -> None:
    async with replicas("a", "b") as (_, [a, b]):
        b.linked = False
        await asyncio.sleep(9)
        assert shared([a, b]), "it may be back in a moment"
        await asyncio.sleep(31)
        assert a.slots == ALL
        await asyncio.sleep(3600)
        b.linked = True
        await asyncio.sleep(6)
        assert shared([a, b])


@virtual
async def test_a_broker_that_is_away_for_all_moves_no_slot() -> None:
    async with replicas("a", "b") as (_, made):
        changes = [replica.changes for replica in made]
        for replica in made:
            replica.linked = False
        await asyncio.sleep(500)
        assert [replica.changes for replica in made] == changes
        for replica in made:
            replica.linked = True
        await asyncio.sleep(60)
        assert shared(made)


@virtual
async def test_a_newcomer_takes_its_share_and_only_that() -> None:
    async with replicas("a", "b") as (kube, made):
        before = [replica.slots for replica in made]
        made.append(Replica(kube, "c"))
        await asyncio.sleep(1)
        assert shared(made)
        for replica, slots in zip(made, before, strict=False):
            assert replica.slots == slots - made[2].slots


@virtual
async def test_wrong_wall_clocks_harm_nothing() -> None:
    async with replicas("a") as (kube, made):
        made.append(Replica(kube, "b", clock_error=-40_000_000))
        made.append(Replica(kube, "c", clock_error=90_000))
        await asyncio.sleep(1)
        assert shared(made)
        await asyncio.sleep(600)
        assert shared(made)


@virtual
async def test_the_lease_of_a_long_dead_replica_counts_only_for_its_lifetime() -> None:
    kube = MemoryKube(SimClock(asyncio.get_running_loop()))
    old = Replica(kube, "old")
    await asyncio.sleep(1)
    await old.crash()
    await asyncio.sleep(10_000)
    a = Replica(kube, "a")
    await asyncio.sleep(21)
    assert a.slots == ALL
    await a.stop()


@virtual
async def test_while_the_server_is_away_nobody_is_declared_dead() -> None:
    async with replicas("a", "b") as (kube, made):
        before = [replica.slots for replica in made]
        kube.fail, working = away, kube.fail
        await asyncio.sleep(600)
        assert [replica.slots for replica in made] == before
        kube.fail = working
        await asyncio.sleep(60)
        assert [replica.slots for replica in made] == before


@virtual
async def test_who_renews_first_after_an_outage_does_not_take_the_others_for_dead() -> None:
    """Its own event comes before theirs, after a gap that is longer than a Lease lives."""
    async with replicas("a", "b", "c") as (kube, made):
        before = [replica.slots for replica in made]
        changes = [replica.changes for replica in made]
        kube.fail, working = away, kube.fail
        await asyncio.sleep(20)
        kube.fail = working
        await asyncio.sleep(60)
        assert [replica.changes for replica in made] == changes
        assert [replica.slots for replica in made] == before


@virtual
async def test_who_died_during_an_outage_is_noticed_after_it() -> None:
    async with replicas("a", "b") as (kube, [a, b]):
        kube.fail, working = away, kube.fail
        await stop(b.task)
        await asyncio.sleep(60)
        kube.fail = working
        await asyncio.sleep(40)
        assert a.slots == ALL


@virtual
async def test_who_died_is_noticed_also_while_every_renewal_is_slow() -> None:
    async with replicas("a", "b") as (kube, [a, b]):
        patch = kube.patch

        async def slowly(*which: Any, **how: Any) -> Json:
            await asyncio.sleep(6)
            return await patch(*which, **how)

        kube.patch = slowly  # type: ignore[method-assign]
        await b.crash()
        await asyncio.sleep(120)
        assert a.slots == ALL


@virtual
async def test_who_may_not_renew_any_more_serves_no_slots_for_ever() -> None:
    """Others have taken them by then."""

    def refuse(verb: str, resource: Resource, name: str) -> None:
        raise KubeRefused("patch leases: a Role must allow …", status=403, reason="Forbidden")

    async with replicas("a") as (kube, [a]):
        kube.fail = refuse
        await asyncio.sleep(100)
        assert not a.task.done()
        await asyncio.sleep(60)
        assert a.task.done()
        with pytest.raises(KubeRefused, match="a Role must allow"):
            await a.task


@virtual
async def test_refusals_before_and_after_an_outage_are_not_one_that_lasts() -> None:
    def refuse(verb: str, resource: Resource, name: str) -> None:
        raise KubeRefused("Unauthorized", status=401, reason="Unauthorized")

    async with replicas("a") as (kube, [a]):
        working = kube.fail
        for fault, seconds in ((refuse, 6), (away, 200), (refuse, 6), (working, 30)):
            kube.fail = fault
            await asyncio.sleep(seconds)
        assert not a.task.done()
        assert a.slots == ALL


@virtual
async def test_a_refusal_ends_no_hub_that_has_worked() -> None:
    """A server that is just starting, or whose keys change, says 401 and 403 for a moment."""

    def refuse(verb: str, resource: Resource, name: str) -> None:
        raise KubeRefused("Unauthorized", status=401, reason="Unauthorized")

    async with replicas("a", "b") as (kube, made):
        before = [replica.slots for replica in made]
        kube.fail, working = refuse, kube.fail
        await asyncio.sleep(12)
        kube.fail = working
        await asyncio.sleep(60)
        assert not any(replica.task.done() for replica in made)
        assert [replica.slots for replica in made] == before


@virtual
async def test_a_server_that_asks_for_minutes_is_asked_again_before_the_lease_is_over() -> None:
    def busy(verb: str, resource: Resource, name: str) -> None:
        raise KubeError("Service Unavailable", status=503, delay=120.0)

    async with replicas("a", "b") as (kube, made):
        changes = [replica.changes for replica in made]
        kube.fail, working = busy, kube.fail
        await asyncio.sleep(8)
        kube.fail = working
        await asyncio.sleep(60)
        assert [replica.changes for replica in made] == changes


@virtual
async def test_a_restart_under_the_same_name_owns_the_same_slots_at_once() -> None:
    async with replicas("a", "b") as (kube, [_, b]):
        slots = b.slots
        await b.crash()
        again = Replica(kube, "b")
        await asyncio.sleep(0.1)
        assert again.slots == slots
        await again.stop()


@virtual
async def test_a_lease_of_foreign_making_is_survived() -> None:
    async with replicas("a") as (kube, [a]):
        labels = {"app.kubernetes.io/name": "kubetide-hub"}
        odd: Json = {"metadata": {"name": "odd", "labels": labels}}
        odd["metadata"]["labels"]["app.kubernetes.io/component"] = "replica"
        await kube.create(LEASES, "hub", odd)
        await asyncio.sleep(30)
        assert a.slots == ALL


@virtual
async def test_without_the_right_to_leases_the_hub_does_not_run() -> None:
    kube = MemoryKube(SimClock(asyncio.get_running_loop()))

    def forbid(verb: str, resource: Resource, name: str) -> None:
        raise KubeRefused("patch leases: a Role must allow …", status=403, reason="Forbidden")

    kube.fail = forbid
    replica = Replica(kube, "a")
    with pytest.raises(KubeRefused, match="a Role must allow"):
        await replica.task
