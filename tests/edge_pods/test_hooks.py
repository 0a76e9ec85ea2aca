"""postStart and preStop: what waits for them, what their failure brings, how long they get."""

from __future__ import annotations

from edgeagent.runtime.memory_device import Behaviour
from edgeagent.runtime.port import ExecResult, RuntimeAway
from shared.objects import Json
from tests.edge_pods.world import World, a_container, a_pod
from tests.parts.virtual_time import virtual


def with_hook(kind: str, hook: Json) -> Json:
    return a_container(lifecycle={kind: hook})


@virtual
async def test_a_container_counts_as_running_when_its_post_start_hook_has_completed() -> None:
    async with World() as world:
        uid = world.apply(a_pod("web", with_hook("postStart", {"sleep": {"seconds": 5}})))
        await world.passes(4)
        assert world.running(uid) == ["main"]
        assert world.phase(uid) == "Pending"
        await world.passes(2)
        assert world.phase(uid) == "Running"


@virtual
async def test_a_post_start_hook_holds_up_the_containers_after_it() -> None:
    async with World() as world:
        first = with_hook("postStart", {"sleep": {"seconds": 5}})
        uid = world.apply(a_pod("web", first, a_container("second")))
        await world.passes(4)
        assert world.running(uid) == ["main"]
        await world.passes(2)
        assert world.running(uid) == ["main", "second"]


@virtual
async def test_a_failed_post_start_hook_kills_the_container() -> None:
    async with World() as world:
        world.exec_results["prepare"] = lambda: ExecResult(1, b"", b"no")
        hook = {"exec": {"command": ["prepare"]}}
        uid = world.apply(a_pod("web", with_hook("postStart", hook), restartPolicy="Never"))
        await world.passes(5)
        assert world.phase(uid) == "Failed"
        assert "FailedPostStartHook" in world.reasons(uid)


@virtual
async def test_the_pre_stop_hook_runs_before_the_stop_signal_within_the_grace_period() -> None:
    async with World() as world:
        uid = world.apply(a_pod("web", with_hook("preStop", {"sleep": {"seconds": 5}})))
        await world.passes(1)
        world.delete(uid, grace=30)
        await world.passes(4)
        assert world.device.calls("stop_container") == []
        await world.passes(2)
        assert world.reports.by_uid[uid].finished


@virtual
async def test_a_pre_stop_hook_that_takes_too_long_leaves_two_more_seconds() -> None:
    async with World() as world:
        world.behaviours["main"] = Behaviour(ignores_stop=True)
        uid = world.apply(a_pod("web", with_hook("preStop", {"sleep": {"seconds": 500}})))
        await world.passes(1)
        world.delete(uid, grace=10)
        await world.passes(11.5)
        assert world.running(uid) == ["main"]
        await world.passes(1)
        assert world.running(uid) == []
        assert "FailedPreStopHook" not in world.reasons(uid), "a sleep cannot fail"


@virtual
async def test_a_sleep_of_zero_seconds_is_a_hook_that_succeeds() -> None:
    async with World() as world:
        uid = world.apply(a_pod("web", with_hook("preStop", {"sleep": {"seconds": 0}})))
        await world.passes(1)
        world.delete(uid)
        await world.passes(1)
        assert world.reports.by_uid[uid].finished


@virtual
async def test_a_runtime_that_goes_away_during_a_post_start_hook_costs_no_container() -> None:
    """As a restart of the agent in that moment: nothing was learned about the hook."""
    async with World() as world:
        world.device.failures["exec_sync"] = [RuntimeAway("containerd is restarted")]
        hook = {"exec": {"command": ["prepare"]}}
        uid = world.apply(a_pod("web", with_hook("postStart", hook), restartPolicy="Never"))
        await world.passes(30)
        assert world.phase(uid) == "Running"
        assert world.device.calls("stop_container") == []
        assert "FailedPostStartHook" not in world.reasons(uid)


@virtual
async def test_a_runtime_that_goes_away_during_a_pre_stop_hook_gets_it_again() -> None:
    async with World() as world:
        hook = {"exec": {"command": ["say goodbye"]}}
        uid = world.apply(a_pod("web", with_hook("preStop", hook)))
        await world.passes(1)
        world.device.failures["exec_sync"] = [RuntimeAway("containerd is restarted")]
        world.delete(uid, grace=30)
        await world.passes(20)
        assert world.reports.by_uid[uid].finished
        assert len(world.device.calls("exec_sync")) == 2
        assert "FailedPreStopHook" not in world.reasons(uid)


@virtual
async def test_a_runtime_that_goes_away_right_after_a_start_costs_no_post_start_hook() -> None:
    async with World() as world:
        hook = {"exec": {"command": ["prepare"]}}
        world.device.failures["inspect_container"] = [RuntimeAway("containerd is restarted")]
        uid = world.apply(a_pod("web", with_hook("postStart", hook)))
        await world.passes(30)
        assert len(world.device.calls("exec_sync")) == 1
        assert world.phase(uid) == "Running"
        assert world.reasons(uid).count("Started") == 1
        assert len(world.starts()) == 1
