"""How pods stop with their device and run again, in virtual time; the turns are the test's."""

from __future__ import annotations

from edgeagent.pods.held import ShutdownOf
from edgeagent.pods.model.view import Refusal, Shutdown
from edgeagent.runtime.memory_device import Behaviour
from edgeagent.runtime.port import ExecResult
from tests.edge_pods.world import World, a_container, a_pod
from tests.parts.virtual_time import virtual

MESSAGE = "Pod was terminated in response to imminent node shutdown."


def turn(world: World, grace: int) -> ShutdownOf:
    now = world.clock.monotonic()
    return lambda pod: Shutdown(grace, now)


def shut_down(world: World, grace: int = 9) -> None:
    assert world.pods is not None
    world.pods.shut_down(turn(world, grace))


def announce(world: World) -> None:
    """The device shuts down, and nobody's turn has come."""
    assert world.pods is not None
    world.pods.shut_down(lambda pod: Shutdown())


def call_off(world: World) -> None:
    assert world.pods is not None
    world.pods.shut_down(None)


async def boot(world: World) -> None:
    await world.kill_agent()
    world.device.reboot()
    world.start_agent()
    await world.passes(5)


def at_rest(world: World, uid: str) -> bool:
    assert world.pods is not None
    return next(one.rests for one in world.pods.held() if one.uid == uid)


@virtual
async def test_a_pod_that_comes_back_is_stopped_and_not_failed() -> None:
    async with World() as world:
        uid = world.apply(a_pod())
        await world.passes(5)
        assert not at_rest(world, uid)
        shut_down(world)
        await world.passes(2)
        assert world.running() == []
        assert at_rest(world, uid)
        status = world.status(uid)
        assert (status["phase"], status["reason"]) == ("Running", "Terminated")
        assert status["message"] == MESSAGE
        assert world.container(uid)["state"]["terminated"]["exitCode"] == 143
        assert world.condition(uid, "Ready")["status"] == "False"
        assert not any(one["type"] == "DisruptionTarget" for one in status["conditions"])
        assert world.messages(uid, "Terminated") == [MESSAGE]
        assert world.messages(uid, "Killing") == ["Stopping container main"]
        await world.passes(3600)
        assert len(world.starts()) == 1


@virtual
async def test_after_the_boot_it_runs_with_one_restart_more() -> None:
    async with World() as world:
        uid = world.apply(a_pod())
        await world.passes(5)
        shut_down(world)
        await world.passes(2)
        await boot(world)
        main = world.container(uid)
        assert "running" in main["state"]
        assert main["restartCount"] == 1
        assert main["lastState"]["terminated"]["exitCode"] == 143
        assert "reason" not in world.status(uid)
        assert world.condition(uid, "Ready")["status"] == "True"


@virtual
async def test_a_job_that_ends_well_on_its_stop_is_not_done() -> None:
    """A process that answers SIGTERM with exit code 0 has not finished its work."""
    async with World() as world:
        world.behaviours["main"] = Behaviour(stop_code=0)
        uid = world.apply(a_pod(restartPolicy="OnFailure"))
        await world.passes(5)
        shut_down(world)
        await world.passes(2)
        assert world.running() == []
        assert {one["phase"] for one in world.reports.by_uid[uid].history} <= {
            "Pending",
            "Running",
        }
        await boot(world)
        assert world.running() == ["main"]
        assert world.container(uid)["restartCount"] == 1


@virtual
async def test_a_job_that_ends_by_itself_meanwhile_is_done() -> None:
    async with World() as world:
        world.behaviours["main"] = Behaviour(ignores_stop=True)
        uid = world.apply(a_pod(restartPolicy="OnFailure"))
        await world.passes(5)
        announce(world)
        await world.passes(1)
        world.crash(uid, exit_code=0)
        await world.passes(1)
        assert world.phase(uid) == "Succeeded"
        shut_down(world)
        await world.passes(1)
        assert "reason" not in world.status(uid)
        assert at_rest(world, uid)


@virtual
async def test_a_pod_that_never_restarts_fails_as_on_a_kubelet() -> None:
    async with World() as world:
        uid = world.apply(a_pod(restartPolicy="Never"))
        await world.passes(5)
        shut_down(world)
        await world.passes(3)
        status = world.status(uid)
        assert (status["phase"], status["reason"]) == ("Failed", "Terminated")
        assert status["message"] == MESSAGE
        target = world.condition(uid, "DisruptionTarget")
        assert (target["status"], target["reason"]) == ("True", "TerminationByKubelet")
        assert target["message"] == MESSAGE
        assert world.messages(uid, "Terminated") == [MESSAGE]
        assert at_rest(world, uid)
        await boot(world)
        assert world.running() == []
        assert world.phase(uid) == "Failed"


@virtual
async def test_a_pod_that_never_restarts_and_has_not_begun_begins_after_the_boot() -> None:
    async with World() as world:
        world.materials.pull_seconds = 3600.0
        uid = world.apply(a_pod(restartPolicy="Never"))
        await world.passes(5)
        shut_down(world)
        await world.passes(3)
        assert world.phase(uid) == "Pending"
        assert at_rest(world, uid)
        world.materials.pull_seconds = 0.0
        await boot(world)
        assert world.running() == ["main"]
        assert world.container(uid)["restartCount"] == 0


@virtual
async def test_what_comes_back_is_decided_by_containers_too() -> None:
    async with World() as world:
        never = a_container(restartPolicy="Never")
        always = a_container(restartPolicy="Always")
        fails = world.apply(a_pod("fails", never))
        stays = world.apply(a_pod("stays", always, restartPolicy="Never"))
        await world.passes(5)
        shut_down(world)
        await world.passes(3)
        assert (world.phase(fails), world.phase(stays)) == ("Failed", "Running")


@virtual
async def test_its_own_grace_counts_when_it_is_shorter() -> None:
    async with World() as world:
        world.behaviours["main"] = Behaviour(ignores_stop=True)
        short = world.apply(a_pod("short", terminationGracePeriodSeconds=3))
        long = world.apply(a_pod("long", terminationGracePeriodSeconds=600))
        await world.passes(5)
        shut_down(world, grace=9)
        await world.passes(2.9)
        assert len(world.running()) == 2
        await world.passes(1)
        assert world.running(short) == []
        await world.passes(4)
        assert world.running(long) == ["main"]
        await world.passes(2)
        assert world.running() == []


@virtual
async def test_a_pod_that_is_being_deleted_gets_no_longer_than_the_others() -> None:
    async with World() as world:
        world.behaviours["main"] = Behaviour(ignores_stop=True)
        uid = world.apply(a_pod())
        await world.passes(5)
        world.delete(uid, grace=600)
        await world.passes(5)
        shut_down(world, grace=3)
        await world.passes(4)
        assert world.running() == []
        assert world.reports.by_uid[uid].finished


@virtual
async def test_a_pod_whose_turn_has_not_come_lives_on() -> None:
    async with World() as world:
        uid = world.apply(a_pod())
        await world.passes(5)
        announce(world)
        await world.passes(1)
        world.crash(uid)
        await world.passes(5)
        assert world.running() == ["main"]
        assert not at_rest(world, uid)
        assert "reason" not in world.status(uid)


@virtual
async def test_a_pod_that_comes_meanwhile_waits_for_the_boot() -> None:
    async with World() as world:
        announce(world)
        uid = world.apply(a_pod())
        await world.passes(60)
        assert world.starts() == []
        status = world.status(uid)
        assert (status["phase"], status["reason"]) == ("Pending", "NodeShutdown")
        assert at_rest(world, uid)
        assert world.facts.records == {}, "nobody has decided about it"
        await boot(world)
        assert world.running() == ["main"]
        assert "reason" not in world.status(uid)


@virtual
async def test_a_pod_that_waited_is_asked_at_the_door_like_any_other() -> None:
    async with World() as world:
        announce(world)
        world.materials.refused = Refusal("OutOfcpu", "no room")
        uid = world.apply(a_pod())
        await world.passes(5)
        assert world.status(uid)["reason"] == "NodeShutdown"
        await boot(world)
        assert world.status(uid)["reason"] == "OutOfcpu"


@virtual
async def test_a_pod_that_waits_can_be_deleted() -> None:
    async with World() as world:
        announce(world)
        uid = world.apply(a_pod())
        await world.passes(5)
        world.delete(uid)
        await world.passes(5)
        assert world.reports.by_uid[uid].finished


@virtual
async def test_a_shutdown_that_is_called_off_takes_pods_up_at_once() -> None:
    """Also one that was in back-off: it did not crash."""
    async with World() as world:
        uid = world.apply(a_pod())
        await world.passes(5)
        for _ in range(2):
            world.crash(uid)
            await world.passes(30)
        shut_down(world)
        await world.passes(5)
        assert world.running() == []
        call_off(world)
        await world.passes(1)
        assert world.running() == ["main"]
        assert len(world.device.pods) == 1, "in the sandbox that it had"
        assert world.container(uid)["restartCount"] == 3
        assert not at_rest(world, uid)
        assert "reason" not in world.status(uid)
        assert world.condition(uid, "Ready")["status"] == "True"


@virtual
async def test_called_off_in_the_middle_of_a_stop_the_container_is_replaced() -> None:
    async with World() as world:
        world.behaviours["main"] = Behaviour(ignores_stop=True)
        uid = world.apply(a_pod())
        await world.passes(5)
        shut_down(world, grace=9)
        await world.passes(3)
        call_off(world)
        await world.passes(20)
        assert world.running() == ["main"]
        assert world.container(uid)["restartCount"] == 1


@virtual
async def test_sidecars_stop_after_the_others_and_init_containers_run_again() -> None:
    async with World() as world:
        inits = [a_container("setup"), a_container("proxy", restartPolicy="Always")]
        world.behaviours["setup"] = Behaviour(exit_after=1.0)
        uid = world.apply(a_pod(initContainers=inits))
        await world.passes(10)
        shut_down(world)
        await world.passes(5)
        stops = [one.rpartition("/")[2] for one in world.device.calls("stop_container")]
        assert stops == ["main", "proxy"]
        assert world.running() == []
        await boot(world)
        await world.passes(10)
        assert sorted(world.running()) == ["main", "proxy"]
        assert world.container(uid, "setup")["restartCount"] == 1


@virtual
async def test_a_pull_is_given_up() -> None:
    async with World() as world:
        world.materials.pull_seconds = 3600.0
        uid = world.apply(a_pod())
        await world.passes(5)
        shut_down(world)
        await world.passes(1)
        assert at_rest(world, uid)
        assert world.phase(uid) == "Pending"
        world.materials.pull_seconds = 0.0
        await boot(world)
        assert world.running() == ["main"]


@virtual
async def test_a_pod_on_hold_stops_and_runs_again_as_it_was() -> None:
    async with World() as world:
        pod = a_pod()
        pod["metadata"]["annotations"] = {"kubetide.io/hold-update": "true"}
        uid = world.apply(pod)
        await world.passes(5)
        world.drop(uid)
        await world.passes(5)
        shut_down(world)
        await world.passes(3)
        assert world.running() == []
        await boot(world)
        assert world.running() == ["main"]


@virtual
async def test_a_pod_of_which_nothing_is_known_stops_in_order_too() -> None:
    async with World() as world:
        uid = world.apply(a_pod())
        await world.passes(5)
        world.desired.known = False
        world.drop(uid)
        await world.passes(5)
        assert world.running() == ["main"]
        shut_down(world)
        await world.passes(3)
        assert world.running() == []
        assert at_rest(world, uid)


@virtual
async def test_an_agent_that_is_restarted_meanwhile_goes_on_with_it() -> None:
    async with World() as world:
        world.behaviours["main"] = Behaviour(stop_code=0)
        uid = world.apply(a_pod(restartPolicy="OnFailure"))
        await world.passes(5)
        shut_down(world)
        await world.passes(0.5)
        await world.kill_agent()
        world.start_agent()
        assert world.pods is not None
        assert not world.pods.looked_through
        shut_down(world)
        await world.passes(3)
        assert world.pods.looked_through
        assert world.running() == []
        await boot(world)
        assert world.running() == ["main"]
        assert world.phase(uid) == "Running"


@virtual
async def test_nobody_is_evicted_whose_turn_has_come() -> None:
    async with World() as world:
        world.behaviours["main"] = Behaviour(ignores_stop=True)
        uid = world.apply(a_pod())
        await world.passes(5)
        shut_down(world)
        await world.passes(1)
        assert world.pods is not None
        (held,) = world.pods.held()
        assert held.leaving, uid


@virtual
async def test_pre_stop_hooks_run_within_the_grace_period() -> None:
    async with World() as world:
        hook = {"preStop": {"exec": {"command": ["drain"]}}}
        drained: list[float] = []

        def drain() -> ExecResult:
            drained.append(world.clock.monotonic())
            return ExecResult(0, b"", b"")

        world.exec_results["drain"] = drain
        world.apply(a_pod("web", a_container(lifecycle=hook)))
        await world.passes(5)
        shut_down(world)
        await world.passes(3)
        assert len(drained) == 1
        assert world.running() == []
