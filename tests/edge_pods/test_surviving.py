"""What agent deaths, device reboots and a silent runtime do to pods: as little as possible."""

from __future__ import annotations

from dataclasses import replace

from edgeagent.pods.model.view import Eviction
from edgeagent.runtime.memory_device import Behaviour
from edgeagent.runtime.port import ExecResult
from shared.errors import TemporaryError
from tests.edge_pods.world import NODE, World, a_container, a_pod
from tests.parts.virtual_time import virtual


@virtual
async def test_a_new_agent_adopts_what_runs() -> None:
    async with World() as world:
        uid = world.apply(a_pod())
        await world.passes(5)
        world.device.history.clear()
        await world.restart_agent()
        await world.passes(60)
        assert world.starts() == []
        assert world.device.calls("stop_container", "start_sandbox", "remove_container") == []
        assert world.phase(uid) == "Running"


@virtual
async def test_a_new_agent_without_a_database_adopts_what_runs() -> None:
    async with World() as world:
        uid = world.apply(a_pod())
        await world.passes(5)
        world.crash(uid)
        await world.passes(5)
        await world.kill_agent()
        world.facts.records.clear()
        world.device.history.clear()
        world.start_agent()
        await world.passes(60)
        assert world.starts() == []
        assert world.container(uid)["restartCount"] == 1


@virtual
async def test_a_pod_that_went_unwanted_while_the_agent_was_dead_is_stopped() -> None:
    async with World() as world:
        uid = world.apply(a_pod())
        await world.passes(5)
        await world.kill_agent()
        world.drop(uid)
        world.facts.records.clear()
        world.start_agent()
        await world.passes(5)
        assert world.device.pods == {}


@virtual
async def test_a_list_older_than_the_sandbox_is_no_reason_to_stop_it() -> None:
    """The database was restored from an image made before the pod came."""
    async with World() as world:
        world.desired.revision = 7
        uid = world.apply(a_pod())
        await world.passes(5)
        await world.kill_agent()
        world.drop(uid)
        world.facts.records.clear()
        world.desired.revision = 6
        world.start_agent()
        await world.passes(60)
        assert world.running(uid) == ["main"]
        world.desired.revision = 8
        world.apply(a_pod("other"))
        await world.passes(5)
        assert world.running(uid) == []


@virtual
async def test_after_a_reboot_pods_run_again_in_new_sandboxes() -> None:
    async with World() as world:
        uid = world.apply(a_pod(initContainers=[a_container("first")]))
        world.behaviours["first"] = Behaviour(exit_after=1.0)
        await world.passes(60)
        await world.kill_agent()
        world.device.reboot()
        world.clock.boot()
        world.start_agent()
        await world.passes(5)
        assert world.running(uid) == ["main"]
        assert world.container(uid)["restartCount"] == 1
        assert world.container(uid, "first")["restartCount"] == 1
        assert len(world.starts("first")) == 2


@virtual
async def test_after_a_reboot_pods_start_before_dead_sandboxes_are_unplugged() -> None:
    async with World() as world:
        uids = [world.apply(a_pod(f"web-{number}")) for number in range(3)]
        await world.passes(60)
        await world.kill_agent()
        world.device.reboot()
        world.start_agent()
        before = len(world.device.calls())
        await world.passes(30)
        calls = [call.split()[0] for call in world.device.calls()[before:]]
        assert calls.index("stop_sandbox") > calls.index("start_container")
        assert calls.count("stop_sandbox") == len(uids)


@virtual
async def test_dead_sandboxes_with_host_ports_are_unplugged_before_the_next_start() -> None:
    async with World() as world:
        ports = [{"containerPort": 80, "hostPort": 80}]
        world.apply(a_pod("web", a_container(ports=ports)))
        await world.passes(60)
        world.device.reboot()
        before = len(world.device.calls())
        await world.passes(30)
        calls = [call.split()[0] for call in world.device.calls()[before:]]
        assert calls.index("stop_sandbox") < calls.index("start_sandbox")


@virtual
async def test_a_dead_sandbox_that_the_runtime_can_never_unplug_does_not_keep_its_pod_away() -> (
    None
):
    async with World() as world:
        ports = [{"containerPort": 80, "hostPort": 80}]
        uid = world.apply(a_pod("web", a_container(ports=ports)))
        await world.passes(60)
        world.device.reboot()
        failure = TemporaryError("stop sandbox: failed to destroy network")
        world.device.failures["stop_sandbox"] = [failure] * 1000
        await world.passes(2)
        assert world.running(uid) == []
        await world.passes(60)
        assert world.running(uid) == ["main"]


@virtual
async def test_a_pod_that_never_restarts_fails_when_the_device_reboots() -> None:
    async with World() as world:
        uid = world.apply(a_pod(restartPolicy="Never"))
        await world.passes(60)
        world.device.reboot()
        await world.passes(5)
        assert world.phase(uid) == "Failed"
        assert len(world.starts()) == 1


@virtual
async def test_a_pod_that_finished_while_the_agent_was_dead_gets_its_true_exit_code() -> None:
    async with World() as world:
        uid = world.apply(a_pod(restartPolicy="Never"))
        await world.passes(5)
        await world.kill_agent()
        world.crash(uid, exit_code=42)
        await world.passes(600)
        world.start_agent()
        await world.passes(1)
        assert world.phase(uid) == "Failed"
        assert world.container(uid)["state"]["terminated"]["exitCode"] == 42


@virtual
async def test_a_finished_pod_is_never_started_again() -> None:
    async with World() as world:
        world.behaviours["main"] = Behaviour(exit_after=1.0)
        uid = world.apply(a_pod(restartPolicy="OnFailure"))
        await world.passes(10)
        await world.kill_agent()
        world.device.wipe()
        world.start_agent()
        await world.passes(600)
        assert world.phase(uid) == "Succeeded"
        assert len(world.starts()) == 1


@virtual
async def test_a_container_that_vanished_has_an_unknown_status() -> None:
    async with World() as world:
        uid = world.apply(a_pod(restartPolicy="Never"))
        await world.passes(5)
        await world.kill_agent()
        world.device.wipe()
        world.start_agent()
        await world.passes(5)
        ended = world.container(uid)["state"]["terminated"]
        assert ended["reason"] == "ContainerStatusUnknown"
        assert ended["exitCode"] == 137
        assert ended["message"] == (
            "The container could not be located when the pod was deleted."
            "  The container used to be Running"
        )
        assert world.phase(uid) == "Failed"


@virtual
async def test_nothing_is_concluded_while_the_runtime_is_away() -> None:
    async with World() as world:
        uid = world.apply(a_pod())
        await world.passes(5)
        reports = len(world.reports.by_uid[uid].history)
        world.device.go_away()
        await world.passes(600)
        assert len(world.reports.by_uid[uid].history) == reports
        world.device.come_back()
        await world.passes(10)
        assert len(world.starts()) == 1
        assert world.phase(uid) == "Running"


@virtual
async def test_what_was_wanted_while_the_runtime_was_away_starts_when_it_is_back() -> None:
    async with World() as world:
        world.device.go_away()
        uid = world.apply(a_pod())
        await world.passes(60)
        world.device.come_back()
        await world.passes(5)
        assert world.phase(uid) == "Running"


@virtual
async def test_a_fenced_agent_touches_nothing() -> None:
    async with World() as world:
        uid = world.apply(a_pod())
        await world.passes(5)
        assert world.pods is not None
        await world.pods.fence()
        world.drop(uid)
        await world.passes(600)
        assert world.running(uid) == ["main"]


@virtual
async def test_an_agent_that_is_fenced_no_more_goes_on_from_what_it_finds() -> None:
    async with World() as world:
        world.exec_results["ready"] = lambda: ExecResult(0, b"", b"")
        probe = {"exec": {"command": ["ready"]}, "periodSeconds": 10}
        probed = world.apply(a_pod("probed", a_container(readinessProbe=probe)))
        kept = world.apply(a_pod("kept"))
        dropped = world.apply(a_pod("dropped"))
        await world.passes(30)
        assert world.pods is not None
        await world.pods.fence()
        world.drop(dropped)
        world.crash(kept)
        new = world.apply(a_pod("new"))
        world.pods.evict(kept, Eviction("short of disk"))
        await world.passes(600)
        assert world.running(kept) == []
        assert world.running(dropped) == ["main"]
        world.pods.unfence()
        await world.passes(60)
        assert world.running(kept) == ["main"]
        assert world.running(dropped) == []
        assert world.running(new) == ["main"]
        world.exec_results["ready"] = lambda: ExecResult(1, b"", b"")
        await world.passes(60)
        assert world.condition(probed, "Ready")["status"] == "False", "its probe goes on"


@virtual
async def test_a_jumping_wall_clock_stops_nothing_and_hurries_nothing() -> None:
    async with World() as world:
        uid = world.apply(a_pod(activeDeadlineSeconds=3600))
        await world.passes(5)
        world.clock.offset = 10 * 365 * 86400.0
        world.crash(uid)
        await world.passes(60)
        assert world.phase(uid) == "Running"
        world.clock.offset = -20 * 365 * 86400.0
        world.crash(uid)
        await world.passes(30)
        assert world.running(uid) == ["main"]


@virtual
async def test_a_deletion_that_an_agent_began_is_finished_by_the_next() -> None:
    async with World() as world:
        world.behaviours["main"] = Behaviour(ignores_stop=True)
        uid = world.apply(a_pod())
        await world.passes(5)
        world.delete(uid, grace=60)
        await world.passes(20)
        await world.restart_agent()
        await world.passes(30)
        assert world.running(uid) == ["main"]
        await world.passes(15)
        assert world.reports.by_uid[uid].finished


@virtual
async def test_a_pod_that_is_wanted_again_runs_again() -> None:
    async with World() as world:
        pod = a_pod()
        world.behaviours["main"] = Behaviour(ignores_stop=True)
        uid = world.apply(pod)
        await world.passes(5)
        world.drop(uid)
        await world.passes(5)
        world.apply(pod)
        await world.passes(60)
        assert world.phase(uid) == "Running"
        assert world.running(uid) == ["main"]


@virtual
async def test_pods_go_on_while_the_disk_is_full() -> None:
    async with World() as world:
        world.facts.full = True
        uid = world.apply(a_pod())
        await world.passes(5)
        world.crash(uid)
        await world.passes(5)
        assert world.container(uid)["restartCount"] == 1
        assert world.facts.records == {}
        world.facts.full = False
        await world.passes(31)
        assert uid in world.facts.records


@virtual
async def test_a_device_whose_address_changed_reports_it_for_its_pods() -> None:
    async with World() as world:
        uid = world.apply(a_pod())
        await world.passes(5)
        assert world.pods is not None
        world.pods.node_changed(replace(NODE, ips=("192.0.2.8",)))
        await world.passes(1)
        assert world.status(uid)["hostIP"] == "192.0.2.8"
