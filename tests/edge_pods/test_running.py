"""Plain pods: start, run, restart, stop, status."""

from __future__ import annotations

from itertools import pairwise

import pytest

from edgeagent.runtime.memory_device import Behaviour
from shared.objects import ObjectKey
from tests.edge_pods.world import World, a_container, a_pod
from tests.parts.virtual_time import virtual


@virtual
async def test_a_pod_runs_as_soon_as_it_is_wanted() -> None:
    async with World() as world:
        uid = world.apply(a_pod())
        await world.passes(0.1)
        assert world.running(uid) == ["main"]
        assert world.phase(uid) == "Running"
        assert world.container(uid)["ready"] is True
        assert world.condition(uid, "Ready")["status"] == "True"
        assert world.reasons(uid) == ["Created", "Started"]


@virtual
async def test_each_container_has_its_own_event_of_its_making_and_its_start() -> None:
    async with World() as world:
        uid = world.apply(a_pod("web", a_container("one"), a_container("two")))
        await world.passes(0.1)
        assert [
            (one.reason, one.message, one.field_path, one.count)
            for one in world.reports.by_uid[uid].events
        ] == [
            ("Created", "Container created", "spec.containers{one}", 1),
            ("Started", "Container started", "spec.containers{one}", 1),
            ("Created", "Container created", "spec.containers{two}", 1),
            ("Started", "Container started", "spec.containers{two}", 1),
        ]


@virtual
async def test_containers_start_in_the_order_of_the_spec() -> None:
    async with World() as world:
        world.apply(a_pod("web", a_container("one"), a_container("two"), a_container("three")))
        await world.passes(0.1)
        assert [call.rsplit("/", 1)[1] for call in world.starts()] == ["one", "two", "three"]


@virtual
async def test_a_container_that_ends_is_restarted_by_the_always_policy() -> None:
    async with World() as world:
        uid = world.apply(a_pod())
        await world.passes(1)
        world.crash(uid)
        await world.passes(1)
        assert world.running(uid) == ["main"]
        status = world.container(uid)
        assert status["restartCount"] == 1
        assert status["lastState"]["terminated"]["exitCode"] == 1
        assert status["lastState"]["terminated"]["reason"] == "Error"


@virtual
async def test_restarts_back_off_from_10_seconds_doubling_to_5_minutes() -> None:
    async with World() as world:
        world.behaviours["main"] = Behaviour(exit_after=1.0, exit_code=3)
        uid = world.apply(a_pod())
        await world.passes(1500)
        starts = [one.at for one in world.device.history if one.name == "start_container"]
        gaps = [round(later - earlier - 1) for earlier, later in pairwise(starts)]
        assert gaps[:8] == [0, 10, 20, 40, 80, 160, 300, 300]
        waiting = world.container(uid)["state"]["waiting"]
        assert waiting["reason"] == "CrashLoopBackOff"
        assert waiting["message"] == (
            "back-off 5m0s restarting failed container=main pod=web_default(uid-web)"
        )


@virtual
async def test_the_back_off_is_forgotten_after_10_minutes_of_running() -> None:
    async with World() as world:
        uid = world.apply(a_pod())
        for _ in range(4):
            await world.passes(60)
            world.crash(uid)
        await world.passes(41)
        assert world.running(uid) == ["main"]
        await world.passes(601)
        world.crash(uid)
        await world.passes(1)
        assert world.running(uid) == ["main"]


@virtual
async def test_a_pod_that_never_restarts_succeeds_with_exit_code_0() -> None:
    async with World() as world:
        world.behaviours["main"] = Behaviour(exit_after=5.0)
        uid = world.apply(a_pod(restartPolicy="Never"))
        await world.passes(20)
        assert world.phase(uid) == "Succeeded"
        assert world.container(uid)["state"]["terminated"]["reason"] == "Completed"
        assert world.condition(uid, "Ready")["reason"] == "PodCompleted"
        assert len(world.starts()) == 1


@virtual
async def test_on_failure_restarts_until_it_succeeds() -> None:
    async with World() as world:
        world.behaviours["main"] = Behaviour(exit_after=1.0, exit_code=1)
        uid = world.apply(a_pod(restartPolicy="OnFailure"))
        await world.passes(5)
        world.behaviours["main"] = Behaviour(exit_after=1.0)
        await world.passes(60)
        assert world.phase(uid) == "Succeeded"
        assert world.container(uid)["restartCount"] == 2


@virtual
async def test_a_deleted_pod_is_stopped_and_reported_finished() -> None:
    async with World() as world:
        uid = world.apply(a_pod())
        await world.passes(1)
        world.delete(uid)
        await world.passes(1)
        assert world.reports.by_uid[uid].finished
        assert world.phase(uid) == "Failed"
        assert world.container(uid)["state"]["terminated"]["exitCode"] == 143
        assert "Stopping container main" in world.messages(uid, "Killing")
        world.drop(uid)
        await world.passes(1)
        assert world.device.pods == {}
        assert world.facts.records == {}


@virtual
async def test_a_container_that_ignores_its_stop_signal_is_killed_after_the_grace_period() -> None:
    async with World() as world:
        world.behaviours["main"] = Behaviour(ignores_stop=True)
        uid = world.apply(a_pod())
        await world.passes(1)
        world.delete(uid, grace=10)
        await world.passes(9.5)
        assert world.running(uid) == ["main"]
        await world.passes(1)
        assert world.running(uid) == []
        assert world.container(uid)["state"]["terminated"]["exitCode"] == 137


@virtual
async def test_a_second_deletion_shortens_the_grace_period() -> None:
    async with World() as world:
        world.behaviours["main"] = Behaviour(ignores_stop=True)
        uid = world.apply(a_pod())
        await world.passes(1)
        world.delete(uid, grace=600)
        await world.passes(5)
        world.delete(uid, grace=0)
        await world.passes(1)
        assert world.reports.by_uid[uid].finished


@virtual
async def test_a_deletion_does_not_wait_for_a_pull() -> None:
    async with World() as world:
        world.materials.pull_seconds = 3600
        uid = world.apply(a_pod())
        await world.passes(10)
        assert world.container(uid)["state"] == {"waiting": {"reason": "ContainerCreating"}}
        world.delete(uid)
        await world.passes(1)
        assert world.reports.by_uid[uid].finished


@virtual
async def test_a_pod_that_nobody_wants_any_more_is_stopped_gracefully() -> None:
    async with World() as world:
        world.behaviours["main"] = Behaviour(ignores_stop=True)
        uid = world.apply(a_pod(terminationGracePeriodSeconds=7))
        await world.passes(1)
        world.drop(uid)
        await world.passes(6)
        assert world.running(uid) == ["main"]
        await world.passes(3)
        assert world.device.pods == {}


@virtual
async def test_nothing_is_stopped_while_the_desired_set_is_not_known() -> None:
    async with World() as world:
        uid = world.apply(a_pod())
        await world.passes(1)
        await world.kill_agent()
        world.facts.records.clear()
        world.desired.known = False
        world.desired.wanted.clear()
        world.start_agent()
        await world.passes(3600)
        assert world.running(uid) == ["main"]


@virtual
async def test_ports_that_are_null_are_none() -> None:
    async with World() as world:
        uid = world.apply(a_pod("web", a_container(ports=None)))
        await world.passes(1)
        assert world.running(uid) == ["main"]


@virtual
async def test_init_containers_run_in_order_before_the_others() -> None:
    async with World() as world:
        world.behaviours["first"] = Behaviour(exit_after=2.0)
        world.behaviours["second"] = Behaviour(exit_after=2.0)
        inits = [a_container("first"), a_container("second")]
        uid = world.apply(a_pod(initContainers=inits))
        await world.passes(1)
        assert world.running(uid) == ["first"]
        assert world.phase(uid) == "Pending"
        assert world.container(uid)["state"]["waiting"]["reason"] == "PodInitializing"
        assert world.condition(uid, "Initialized")["status"] == "False"
        await world.passes(2)
        assert world.running(uid) == ["second"]
        await world.passes(2)
        assert world.running(uid) == ["main"]
        assert world.phase(uid) == "Running"
        assert world.condition(uid, "Initialized")["status"] == "True"


@virtual
async def test_a_failed_init_container_fails_the_pod_whose_policy_is_never() -> None:
    async with World() as world:
        world.behaviours["first"] = Behaviour(exit_after=1.0, exit_code=9)
        uid = world.apply(a_pod(initContainers=[a_container("first")], restartPolicy="Never"))
        await world.passes(30)
        assert world.phase(uid) == "Failed"
        assert world.starts("main") == []


@virtual
@pytest.mark.parametrize("policy", ["Always", "OnFailure", "Never"])
async def test_an_init_container_that_ran_out_of_memory_has_failed_whatever_its_code(
    policy: str,
) -> None:
    async with World() as world:
        uid = world.apply(a_pod(initContainers=[a_container("first")], restartPolicy=policy))
        await world.passes(1)
        (first,) = world.processes(uid)
        world.device.kill(first.seen.id, exit_code=0, reason="OOMKilled")
        await world.passes(5)
        assert world.starts("main") == []
        if policy == "Never":
            assert world.phase(uid) == "Failed"
            assert not world.container(uid, "first")["ready"]
        else:
            assert world.running(uid) == ["first"]
            assert world.container(uid, "first")["restartCount"] == 1


@virtual
async def test_a_failed_init_container_is_retried_with_back_off_otherwise() -> None:
    async with World() as world:
        world.behaviours["first"] = Behaviour(exit_after=1.0, exit_code=9)
        uid = world.apply(a_pod(initContainers=[a_container("first")]))
        await world.passes(8)
        assert world.container(uid, "first")["state"]["waiting"]["reason"] == "CrashLoopBackOff"
        assert world.phase(uid) == "Pending"


@virtual
async def test_a_container_waits_a_moment_for_services_that_are_on_their_way() -> None:
    async with World() as world:
        world.materials.services_awaited = True
        uid = world.apply(a_pod())
        await world.passes(1)
        assert world.running(uid) == []
        world.materials.services_awaited = False
        world.desired_changed(ObjectKey("Service", "default", "db"))
        await world.passes(0.01)
        assert world.running(uid) == ["main"]
        assert world.reasons(uid) == ["Created", "Started"]


@virtual
async def test_services_that_do_not_come_keep_no_pod_from_running() -> None:
    async with World() as world:
        world.materials.services_awaited = True
        uid = world.apply(a_pod())
        await world.passes(4)
        assert world.running(uid) == ["main"]
        assert world.reasons(uid) == ["MissingServices", "Created", "Started"]
