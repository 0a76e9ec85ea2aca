"""Probes: what startup, liveness and readiness verdicts do to a pod. Exec stands for all kinds."""

from __future__ import annotations

from typing import Any

from edgeagent.runtime.port import ExecResult
from shared.objects import Json
from tests.edge_pods.world import World, a_container, a_pod
from tests.parts.virtual_time import virtual

GOOD, BAD = ExecResult(0, b"", b""), ExecResult(1, b"not well", b"")


def a_probe(command: str, **numbers: Any) -> Json:
    return {"exec": {"command": [command]}, "periodSeconds": 10, "failureThreshold": 3, **numbers}


@virtual
async def test_a_container_is_ready_when_its_readiness_probe_succeeds() -> None:
    async with World() as world:
        answers = [BAD]
        world.exec_results["ready"] = lambda: answers[0]
        uid = world.apply(a_pod("web", a_container(readinessProbe=a_probe("ready"))))
        await world.passes(5)
        assert world.phase(uid) == "Running"
        assert world.container(uid)["ready"] is False
        assert world.condition(uid, "Ready")["reason"] == "ContainersNotReady"
        answers[0] = GOOD
        await world.passes(10)
        assert world.container(uid)["ready"] is True
        assert world.condition(uid, "Ready")["status"] == "True"


@virtual
async def test_an_unready_container_is_not_restarted() -> None:
    async with World() as world:
        world.exec_results["ready"] = lambda: BAD
        uid = world.apply(a_pod("web", a_container(readinessProbe=a_probe("ready"))))
        await world.passes(600)
        assert world.container(uid)["restartCount"] == 0
        assert "Readiness probe failed: not well" in world.messages(uid, "Unhealthy")


@virtual
async def test_a_repeated_failure_does_not_cost_a_report_each_time() -> None:
    async with World() as world:
        world.exec_results["ready"] = lambda: BAD
        uid = world.apply(a_pod("web", a_container(readinessProbe=a_probe("ready"))))
        await world.passes(60)
        before = len(world.reports.by_uid[uid].history)
        await world.passes(1200)
        assert len(world.reports.by_uid[uid].history) - before <= 5


@virtual
async def test_a_failed_liveness_probe_restarts_the_container_after_its_threshold() -> None:
    async with World() as world:
        answers = [GOOD]
        world.exec_results["alive"] = lambda: answers[0]
        uid = world.apply(a_pod("web", a_container(livenessProbe=a_probe("alive"))))
        await world.passes(35)
        answers[0] = BAD
        await world.passes(20)
        assert world.container(uid)["restartCount"] == 0
        await world.passes(10)
        answers[0] = GOOD
        await world.passes(5)
        assert world.container(uid)["restartCount"] == 1
        words = "Container main failed liveness probe, will be restarted"
        assert words in world.messages(uid, "Killing")


@virtual
async def test_other_probes_wait_for_the_startup_probe() -> None:
    async with World() as world:
        startup = [BAD]
        world.exec_results["up"] = lambda: startup[0]
        world.exec_results["alive"] = lambda: BAD if startup[0] is BAD else GOOD
        slow = a_container(
            startupProbe=a_probe("up", failureThreshold=30), livenessProbe=a_probe("alive")
        )
        uid = world.apply(a_pod("web", slow))
        await world.passes(120)
        assert world.container(uid)["started"] is False
        assert world.container(uid)["ready"] is False
        startup[0] = GOOD
        await world.passes(11)
        assert world.container(uid)["started"] is True
        assert world.container(uid)["ready"] is True
        assert world.container(uid)["restartCount"] == 0


@virtual
async def test_a_container_that_never_starts_up_is_killed_and_goes_by_the_restart_policy() -> None:
    async with World() as world:
        world.exec_results["up"] = lambda: BAD
        slow = a_container(startupProbe=a_probe("up", failureThreshold=2))
        uid = world.apply(a_pod("web", slow, restartPolicy="Never"))
        await world.passes(60)
        assert world.phase(uid) == "Failed"
        assert len(world.starts()) == 1


@virtual
async def test_the_initial_delay_counts_from_the_start_of_the_container() -> None:
    async with World() as world:
        probe = a_probe("ready", initialDelaySeconds=30)
        world.apply(a_pod("web", a_container(readinessProbe=probe)))
        await world.passes(29)
        assert world.device.calls("exec_sync") == []
        await world.passes(2)
        assert len(world.device.calls("exec_sync")) == 1


@virtual
async def test_a_new_agent_keeps_what_the_last_one_knew_about_readiness() -> None:
    async with World() as world:
        uid = world.apply(a_pod("web", a_container(readinessProbe=a_probe("ready"))))
        await world.passes(5)
        history = world.reports.by_uid[uid].history
        count = len(history)
        await world.restart_agent()
        await world.passes(60)
        assert all(one["containerStatuses"][0]["ready"] for one in history[count:])
        assert world.container(uid)["restartCount"] == 0
