"""Deadlines, ephemeral containers, changes of a running pod, many pods at once."""

from __future__ import annotations

import pytest

from edgeagent.pods.model.view import Refusal
from edgeagent.runtime.memory_device import Behaviour
from shared.errors import TemporaryError
from shared.objects import Json
from tests.edge_pods.world import World, a_container, a_pod
from tests.parts.virtual_time import virtual


@virtual
async def test_a_pod_past_its_active_deadline_is_stopped_and_failed() -> None:
    async with World() as world:
        uid = world.apply(a_pod(activeDeadlineSeconds=60))
        await world.passes(59)
        assert world.phase(uid) == "Running"
        await world.passes(3)
        assert world.phase(uid) == "Failed"
        assert world.status(uid)["reason"] == "DeadlineExceeded"
        assert world.running(uid) == []
        await world.passes(600)
        assert len(world.starts()) == 1


@virtual
async def test_an_ephemeral_container_joins_a_running_pod_and_is_never_restarted() -> None:
    async with World() as world:
        uid = world.apply(a_pod())
        await world.passes(1)
        world.behaviours["debug"] = Behaviour(exit_after=5.0, exit_code=1)
        world.apply(a_pod(ephemeralContainers=[a_container("debug")]))
        await world.passes(1)
        assert world.running(uid) == ["main", "debug"]
        await world.passes(30)
        assert world.container(uid, "debug")["state"]["terminated"]["exitCode"] == 1
        assert world.running(uid) == ["main"]
        assert world.phase(uid) == "Running"


@virtual
async def test_a_changed_image_restarts_that_container_only() -> None:
    async with World() as world:
        uid = world.apply(a_pod("web", a_container("one"), a_container("two")))
        await world.passes(1)
        world.apply(a_pod("web", a_container("one", image="app:2"), a_container("two")))
        await world.passes(2)
        assert world.container(uid, "one")["image"] == "app:2"
        assert world.container(uid, "one")["restartCount"] == 1
        assert world.container(uid, "two")["restartCount"] == 0
        words = "Container one definition changed, will be restarted"
        assert words in world.messages(uid, "Killing")


@virtual
async def test_a_job_whose_image_changes_is_never_called_done() -> None:
    """The container that makes way ends with code 0, and the pull of the next one takes long."""
    async with World() as world:
        world.behaviours["main"] = Behaviour(stop_code=0)
        uid = world.apply(a_pod(restartPolicy="OnFailure"))
        await world.passes(5)
        world.materials.pull_seconds = 60.0
        world.apply(a_pod("web", a_container(image="app:2"), restartPolicy="OnFailure"))
        await world.passes(30)
        assert world.running() == []
        assert world.phase(uid) == "Running"
        await world.passes(60)
        assert world.running() == ["main"]


@virtual
async def test_cpu_and_memory_are_resized_in_place() -> None:
    async with World() as world:
        uid = world.apply(a_pod("web", a_container(resources={"limits": {"cpu": "1"}})))
        await world.passes(1)
        world.apply(a_pod("web", a_container(resources={"limits": {"cpu": "2"}})))
        await world.passes(1)
        assert len(world.device.calls("update_resources")) == 1
        assert world.container(uid)["restartCount"] == 0
        assert world.container(uid)["resources"] == {"limits": {"cpu": "2"}}


@virtual
async def test_a_resize_restarts_the_container_when_its_resize_policy_says_so() -> None:
    async with World() as world:
        policy = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]

        def sized(memory: str) -> Json:
            limits = {"limits": {"memory": memory}}
            return a_pod("web", a_container(resources=limits, resizePolicy=policy))

        uid = world.apply(sized("1Gi"))
        await world.passes(1)
        world.apply(sized("2Gi"))
        await world.passes(2)
        assert world.container(uid)["restartCount"] == 1
        assert world.running(uid) == ["main"]


@virtual
async def test_a_pod_that_is_not_admitted_fails_and_starts_nothing() -> None:
    async with World() as world:
        world.materials.refused = Refusal("OutOfcpu", "Node didn't have enough resource: cpu")
        uid = world.apply(a_pod())
        await world.passes(10)
        assert world.phase(uid) == "Failed"
        assert world.status(uid)["reason"] == "OutOfcpu"
        words = "Node didn't have enough resource: cpu"
        assert world.status(uid)["message"] == f"Pod was rejected: {words}"
        assert world.messages(uid, "OutOfcpu") == [words], "the Event says why, and no more"
        assert world.device.pods == {}


@virtual
async def test_what_is_stopped_so_that_all_may_begin_anew_is_killed_and_no_more_is_said() -> None:
    rule = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}
    async with World() as world:
        source = a_container("source", restartPolicy="Never", restartPolicyRules=[rule])
        uid = world.apply(a_pod("web", source, a_container("other")))
        await world.passes(1)
        world.crash(uid, "source", exit_code=42)
        await world.passes(30)
        assert sorted(world.running(uid)) == ["other", "source"]
        assert world.messages(uid, "Killing") == ["killing"]
        states = [
            one["state"].get("waiting", {})
            for status in world.reports.by_uid[uid].history
            for one in status["containerStatuses"]
        ]
        words = "The container is removed because RestartAllContainers in place"
        assert {"reason": "RestartingAllContainers", "message": words} in states


@virtual
async def test_twenty_pods_start_at_the_same_time_but_not_all_at_once() -> None:
    async with World() as world:
        world.device.latency["start_sandbox"] = 0.2
        for number in range(20):
            world.apply(a_pod(f"pod-{number}"))
        await world.passes(1.5)
        assert len(world.running()) == 20


@virtual
@pytest.mark.parametrize(
    "resources",
    [{"limits": {"cpu": "20m"}}, {"requests": {"cpu": "20m"}, "limits": {"cpu": "99m"}}],
)
async def test_pods_that_a_small_cpu_limit_slows_down_hold_up_no_others(resources: Json) -> None:
    async with World() as world:
        world.device.latency["start_sandbox"] = world.device.latency["start_container"] = 2.0
        for number in range(8):
            world.apply(a_pod(f"slow-{number}", a_container(resources=resources)))
        world.apply(a_pod("other"))
        await world.passes(4.5)
        assert len(world.running()) == 9


@virtual
async def test_a_container_with_a_small_cpu_limit_takes_no_turn_of_others_in_a_pod_without() -> (
    None
):
    async with World() as world:
        world.device.latency["start_container"] = 2.0
        for number in range(8):
            slow = a_container("slow", resources={"limits": {"cpu": "20m"}})
            world.apply(a_pod(f"pod-{number}", slow, a_container("other")))
        await world.passes(6.5)
        assert len(world.running()) == 16


@virtual
async def test_a_container_whose_restart_rule_names_its_exit_code_restarts_despite_never() -> None:
    async with World() as world:
        rule = {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}
        container = a_container(restartPolicy="Never", restartPolicyRules=[rule])
        uid = world.apply(a_pod("web", container, restartPolicy="Never"))
        await world.passes(1)
        world.crash(uid, exit_code=42)
        await world.passes(1)
        assert world.running(uid) == ["main"]
        world.crash(uid, exit_code=1)
        await world.passes(30)
        assert world.phase(uid) == "Failed"


@virtual
async def test_volumes_that_were_made_anew_for_a_pod_that_is_wanted_again_go_with_it() -> None:
    """Though it never had another sandbox."""
    async with World() as world:
        uid = world.apply(a_pod())
        await world.passes(1)
        world.materials.remove_seconds = 3.0
        pod = world.desired.wanted[uid].pod
        world.drop(uid)
        await world.passes(2)
        assert world.materials.calls[-1] == "remove"
        world.device.failures["start_sandbox"] = [TemporaryError("no network")] * 9
        world.apply(pod)
        await world.passes(10)
        assert (world.materials.calls.count("prepare"), world.device.pods) == (2, {})
        world.drop(uid)
        await world.passes(30)
        assert world.materials.calls[-2:] == ["remove", "forget"]
