"""Probes: what startup, liveness and readiness verdicts do to a pod. Exec stands for all kinds."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from structlog.testing import capture_logs

from edgeagent.runtime.memory_device import Behaviour
from edgeagent.runtime.port import ExecResult, RuntimeAway
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


@virtual
async def test_a_new_agent_probes_each_container_in_the_rhythm_of_its_start() -> None:
    async with World() as world:
        moments: dict[str, list[float]] = defaultdict(list)

        def answers(name: str) -> ExecResult:
            moments[name].append(world.clock.monotonic())
            return GOOD

        for name in ("a", "b", "c"):
            world.exec_results[name] = partial(answers, name)
            probe = a_probe(name, periodSeconds=10, initialDelaySeconds=4)
            world.apply(a_pod(name, a_container(livenessProbe=probe)))
            await world.passes(2.5)
        await world.passes(30)
        await world.restart_agent()
        await world.passes(40)
        for name in ("a", "b", "c"):
            assert len(moments[name]) >= 7
            steps = [b - a for a, b in pairwise(moments[name])]
            assert steps == pytest.approx([10.0] * len(steps), abs=0.1)


@virtual
async def test_a_new_agent_asks_at_once_what_was_not_ready_yet() -> None:
    async with World() as world:
        world.exec_results["up"] = lambda: BAD
        slow = {"periodSeconds": 60, "failureThreshold": 10}
        probes = {"startupProbe": a_probe("up", **slow), "readinessProbe": a_probe("ready", **slow)}
        uid = world.apply(a_pod("web", a_container(**probes)))
        await world.passes(30)
        await world.restart_agent()
        world.exec_results["up"] = lambda: GOOD
        await world.passes(5)
        assert world.container(uid)["ready"] is True


@virtual
async def test_a_check_that_takes_its_time_does_not_move_the_next_one() -> None:
    async with World() as world:
        moments: list[float] = []

        def answers() -> ExecResult:
            moments.append(world.clock.monotonic())
            return GOOD

        world.exec_results["alive"] = answers
        world.device.latency["exec_sync"] = 3.0
        probe = a_probe("alive", periodSeconds=10, timeoutSeconds=5)
        world.apply(a_pod("web", a_container(livenessProbe=probe)))
        await world.passes(60)
        assert [round(b - a, 3) for a, b in pairwise(moments)] == [10.0] * 5


@virtual
async def test_a_check_that_cannot_be_made_decides_nothing_and_is_told() -> None:
    async with World() as world:
        probe: Json = {"tcpSocket": {"port": "nowhere"}, "periodSeconds": 10, "failureThreshold": 1}
        uid = world.apply(a_pod("web", a_container(livenessProbe=probe, readinessProbe=probe)))
        await world.passes(300)
        assert world.container(uid)["restartCount"] == 0
        assert world.container(uid)["ready"] is False
        words = "probe errored and resulted in unknown state: couldn't find port: nowhere"
        told = set(world.messages(uid, "Unhealthy"))
        assert told == {f"Liveness {words}", f"Readiness {words}"}


@virtual
async def test_while_the_runtime_is_away_probes_decide_and_tell_nothing() -> None:
    async with World() as world:
        uid = world.apply(a_pod("web", a_container(livenessProbe=a_probe("alive"))))
        await world.passes(15)
        world.device.failures["exec_sync"] = [RuntimeAway("gone") for _ in range(20)]
        await world.passes(300)
        assert world.container(uid)["restartCount"] == 0
        assert world.messages(uid, "Unhealthy") == []


@virtual
async def test_readiness_is_probed_until_the_end_and_nothing_else_is() -> None:
    async with World() as world:
        ready = [GOOD]
        world.exec_results.update(ready=lambda: ready[0], alive=lambda: ready[0])
        world.behaviours["main"] = Behaviour(ignores_stop=True)
        probes = {
            "readinessProbe": a_probe("ready", failureThreshold=1),
            "livenessProbe": a_probe("alive", failureThreshold=1),
        }
        uid = world.apply(a_pod("web", a_container(**probes), terminationGracePeriodSeconds=100))
        await world.passes(15)
        world.delete(uid, grace=100)
        await world.passes(15)
        assert world.condition(uid, "Ready")["status"] == "True"
        ready[0] = BAD
        await world.passes(15)
        assert world.condition(uid, "Ready")["reason"] == "ContainersNotReady"
        assert "running" in world.container(uid)["state"]
        assert {*world.messages(uid, "Unhealthy")} == {"Readiness probe failed: not well"}
        await world.passes(100)
        assert world.reports.by_uid[uid].finished


@virtual
async def test_a_pod_past_its_deadline_is_not_ready_though_its_containers_still_are() -> None:
    async with World() as world:
        world.behaviours["main"] = Behaviour(ignores_stop=True)
        uid = world.apply(a_pod("web", activeDeadlineSeconds=30))
        await world.passes(40)
        assert world.phase(uid) == "Running"
        assert world.container(uid)["ready"] is True
        assert world.condition(uid, "Ready")["reason"] == "PodFailed"


@virtual
async def test_what_will_not_be_restarted_is_not_said_to_be() -> None:
    async with World() as world:
        world.exec_results["alive"] = lambda: BAD
        probed = a_container(livenessProbe=a_probe("alive", failureThreshold=1))
        uid = world.apply(a_pod("web", probed, restartPolicy="Never"))
        await world.passes(60)
        assert world.messages(uid, "Killing") == ["Container main failed liveness probe"]
        side = {**probed, "name": "side", "restartPolicy": "Always"}
        uid = world.apply(a_pod("other", initContainers=[side]))
        await world.passes(20)
        assert world.messages(uid, "Killing")[0] == "Init container side failed liveness probe"


@virtual
async def test_a_clock_that_is_set_later_does_not_shorten_the_initial_delay() -> None:
    async with World() as world:
        up = [BAD]
        world.exec_results["up"] = lambda: up[0]
        alive = a_probe("alive", initialDelaySeconds=300)
        container = a_container(
            startupProbe=a_probe("up", failureThreshold=30), livenessProbe=alive
        )
        world.apply(a_pod("web", container))
        await world.passes(5)
        world.clock.set_wall(world.clock.now() + 86_400)
        up[0] = GOOD
        await world.passes(250)
        asked = world.device.calls("exec_sync")
        await world.passes(80)
        assert len(asked) == 2, "the startup probe alone"
        assert len(world.device.calls("exec_sync")) > 2


@virtual
async def test_that_a_ready_pod_is_being_stopped_is_told_at_once() -> None:
    async with World() as world:
        world.behaviours["main"] = Behaviour(ignores_stop=True)
        uid = world.apply(a_pod("web", terminationGracePeriodSeconds=100))
        await world.passes(5)
        world.delete(uid, grace=100)
        await world.passes(5)
        assert world.condition(uid, "Ready")["status"] == "True"
        assert world.messages(uid, "Killing") == ["Stopping container main"]


@virtual
async def test_nothing_is_probed_of_a_pod_that_is_forgotten() -> None:
    """Also when it is gone from the list and from the runtime at once."""
    async with World() as world:
        probe = a_probe("ready")
        uid = world.apply(a_pod("web", a_container(readinessProbe=probe, livenessProbe=probe)))
        await world.passes(15)
        world.device.pods.clear()
        world.drop(uid)
        await world.passes(1)
        assert uid not in world.facts.records
        asked = len(world.device.calls("exec_sync"))
        await world.passes(60)
        assert len(world.device.calls("exec_sync")) == asked


@virtual
async def test_an_error_of_the_agent_itself_decides_nothing_and_ends_no_probe() -> None:
    """Told to whoever runs the pod each time, and to the log once."""

    def odd() -> ExecResult:
        raise LookupError("nobody expects this")

    async with World() as world:
        answers = [lambda: BAD, lambda: BAD, odd, odd, odd, lambda: BAD]
        world.exec_results["alive"] = lambda: (answers.pop(0) if answers else lambda: GOOD)()
        with capture_logs() as logged:
            uid = world.apply(a_pod("web", a_container(livenessProbe=a_probe("alive"))))
            await world.passes(45)
            assert world.container(uid)["restartCount"] == 0, "two failures and two of nothing"
            await world.passes(11)
            assert world.container(uid)["restartCount"] == 1, "the third failure"
        [line] = [one for one in logged if one["event"] == "probe failed unexpectedly"]
        assert (line["pod_uid"], line["container"], line["probe"]) == (uid, "main", "liveness")
        assert line["exc_info"]
        words = "Liveness probe errored and resulted in unknown state: internal error: LookupError"
        assert any(one.startswith(words) for one in world.messages(uid, "Unhealthy"))


@virtual
async def test_a_handler_that_makes_no_address_decides_nothing() -> None:
    async with World() as world:
        uids = [
            world.apply(a_pod(name, a_container(livenessProbe={"httpGet": {"port": 80, **wrong}})))
            for name, wrong in (("one", {"host": "[::1"}), ("other", {"path": "//["}))
        ]
        await world.passes(60)
        for uid in uids:
            assert world.container(uid)["restartCount"] == 0
            [words] = set(world.messages(uid, "Unhealthy"))
            assert words.startswith("Liveness probe errored and resulted in unknown state: parse ")


@virtual
async def test_of_many_commands_at_the_same_moment_some_wait_and_none_fails_by_that() -> None:
    async with World() as world:
        world.device.latency["exec_sync"] = 0.9
        probe = a_probe("live", failureThreshold=1, timeoutSeconds=1)
        many = [a_container(f"c{number}", livenessProbe=probe) for number in range(40)]
        uid = world.apply(a_pod("web", *many))
        await world.passes(60)
        assert len(world.running(uid)) == 40
        assert len(world.starts()) == 40
        begun = sorted(one.at for one in world.device.history if one.name == "exec_sync")
        assert all(late - early >= 0.9 for early, late in zip(begun, begun[16:], strict=False))
