"""The veto of the device: a pod on hold goes on running as it is, until it is released."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from edgeagent.pods.rules.holding import CONDITION, HOLD
from edgeagent.windows import parse_window
from shared.objects import Json, ObjectKey
from tests.edge_pods.world import World, a_container, a_pod
from tests.parts.virtual_time import virtual

KEY = ObjectKey("Pod", "default", "web")


def a_held_pod(image: str = "app:1", *, uid: str = "uid-web", hold: str = "true") -> Json:
    pod = a_pod("web", a_container(image=image), uid=uid)
    pod["metadata"]["annotations"] = {HOLD: hold}
    return pod


def delete(world: World) -> None:
    world.delete("uid-web")


def drop(world: World) -> None:
    world.drop("uid-web")


def update(world: World) -> None:
    world.apply(a_held_pod("app:2"))


EVERYTHING = pytest.mark.parametrize("ask", [delete, drop, update])


@EVERYTHING
def test_whatever_is_asked_a_held_pod_runs_on(ask: Callable[[World], None]) -> None:
    @virtual
    async def story() -> None:
        async with World() as world:
            uid = world.apply(a_held_pod())
            await world.passes(3)
            ask(world)
            await world.passes(600)
            assert len(world.starts()) == 1
            assert world.running(uid) == ["main"]

    story()


@EVERYTHING
def test_released_it_is_done_and_the_next_one_is_held_again(ask: Callable[[World], None]) -> None:
    @virtual
    async def story() -> None:
        async with World() as world:
            world.apply(a_held_pod())
            await world.passes(3)
            ask(world)
            await world.passes(60)
            assert world.pods is not None
            assert await world.pods.release(KEY) in ("deletion", "removal", "update")
            await world.passes(60)
            if ask is not update:
                assert world.running() == []
                return
            assert len(world.starts()) == 2
            world.apply(a_held_pod("app:3"))
            await world.passes(600)
            assert len(world.starts()) == 2
            assert await world.pods.release(KEY) == "update"

    story()


@virtual
async def test_the_cluster_sees_what_is_held_and_that_it_was_released() -> None:
    async with World() as world:
        uid = world.apply(a_held_pod())
        await world.passes(3)
        world.delete(uid)
        await world.passes(3)
        condition = world.condition(uid, CONDITION)
        assert (condition["status"], condition["reason"]) == ("True", "DeletionHeld")
        assert "edgeagent release" in condition["message"]
        assert world.phase(uid) == "Running" and not world.reports.by_uid[uid].finished
        assert world.pods is not None
        await world.pods.release(KEY)
        await world.passes(60)
        assert world.reports.by_uid[uid].finished
        assert all(one["type"] != CONDITION for one in world.status(uid)["conditions"])
        assert world.reasons(uid).count("DeletionHeld") == 1
        assert world.reasons(uid).count("UpdateReleased") == 1


@EVERYTHING
def test_a_hold_and_a_release_outlive_the_agent(ask: Callable[[World], None]) -> None:
    @virtual
    async def story() -> None:
        async with World() as world:
            world.apply(a_held_pod())
            await world.passes(3)
            ask(world)
            await world.passes(3)
            await world.restart_agent()
            await world.passes(60)
            assert world.running() == ["main"] and len(world.starts()) == 1
            assert world.pods is not None
            assert await world.pods.release(KEY)
            await world.restart_agent()
            await world.passes(60)
            assert len(world.starts()) == (2 if ask is update else 1)
            assert world.running() == (["main"] if ask is update else [])

    story()


@virtual
async def test_what_restarts_nothing_is_not_held() -> None:
    async with World() as world:
        uid = world.apply(a_held_pod())
        await world.passes(3)
        labelled = a_held_pod()
        labelled["metadata"]["labels"] = {"a": "b"}
        world.apply(labelled)
        await world.passes(3)
        assert all(one["type"] != CONDITION for one in world.status(uid)["conditions"])
        assert world.facts.records[uid]["pod"]["metadata"]["labels"] == {"a": "b"}


@virtual
async def test_the_owner_ends_a_hold_by_taking_the_annotation_away() -> None:
    async with World() as world:
        uid = world.apply(a_held_pod())
        await world.passes(3)
        world.apply(a_held_pod("app:2"))
        await world.passes(3)
        world.apply(a_held_pod("app:2", hold="false"))
        await world.passes(60)
        assert len(world.starts()) == 2
        assert world.running(uid) == ["main"]


@virtual
async def test_a_crash_of_a_held_pod_restarts_what_ran() -> None:
    async with World() as world:
        uid = world.apply(a_held_pod())
        await world.passes(3)
        world.apply(a_held_pod("app:2"))
        await world.passes(3)
        world.crash(uid)
        await world.passes(30)
        assert world.running(uid) == ["main"]
        assert world.container(uid)["image"] == "app:1"


@virtual
async def test_a_new_pod_of_the_same_name_waits_for_the_held_one() -> None:
    async with World() as world:
        world.apply(a_held_pod())
        await world.passes(3)
        world.drop("uid-web")
        new = world.apply(a_held_pod("app:2", uid="uid-new"))
        await world.passes(600)
        assert world.running("uid-web") == ["main"] and world.running(new) == []
        await world.restart_agent()
        await world.passes(600)
        assert world.running("uid-web") == ["main"] and world.running(new) == []
        assert world.pods is not None
        assert await world.pods.release(KEY) == "removal"
        await world.passes(60)
        assert world.running("uid-web") == [] and world.running(new) == ["main"]


@virtual
async def test_nothing_is_released_that_is_not_held() -> None:
    async with World() as world:
        world.apply(a_held_pod())
        await world.passes(3)
        assert world.pods is not None
        assert await world.pods.release(KEY) == ""


@virtual
async def test_a_maintenance_window_lets_it_go_on() -> None:
    async with World() as world:
        hour = time.localtime(world.clock.now()).tm_hour
        opens = (hour + 2) % 24
        world.windows = (parse_window(f"{opens:02}:00-{opens:02}:30"),)
        await world.restart_agent()
        uid = world.apply(a_held_pod())
        await world.passes(3)
        world.delete(uid)
        await world.passes(1800)
        assert world.running(uid) == ["main"]
        await world.passes(3 * 3600)
        assert world.running(uid) == []


@virtual
async def test_a_release_counts_though_the_disk_is_slower_than_who_asked_is_patient() -> None:
    async with World() as world:
        world.apply(a_held_pod())
        await world.passes(3)
        update(world)
        await world.passes(3)
        save = world.facts.save

        async def slow(uid: str, record: Json) -> None:
            await world.passes(10)
            await save(uid, record)

        world.facts.save = slow  # type: ignore[method-assign]
        assert world.pods is not None
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                await world.pods.release(KEY)
        await world.passes(60)
        assert len(world.starts()) == 2
