"""Restartable init containers: started in turn, kept running, stopped last."""

from __future__ import annotations

from edgeagent.runtime.memory_device import Behaviour
from edgeagent.runtime.port import ExecResult
from shared.objects import Json
from tests.edge_pods.world import World, a_container, a_pod
from tests.parts.virtual_time import virtual


def a_sidecar(name: str, **fields: object) -> Json:
    return a_container(name, restartPolicy="Always", **fields)


@virtual
async def test_a_sidecar_starts_before_the_containers_and_goes_on_beside_them() -> None:
    async with World() as world:
        uid = world.apply(a_pod(initContainers=[a_sidecar("proxy")]))
        await world.passes(1)
        assert world.running(uid) == ["proxy", "main"]
        assert world.phase(uid) == "Running"


@virtual
async def test_what_comes_after_a_sidecar_waits_for_its_startup_probe() -> None:
    async with World() as world:
        answers = [ExecResult(1, b"", b"")]
        world.exec_results["up"] = lambda: answers[0]
        probe = {"exec": {"command": ["up"]}, "periodSeconds": 1, "failureThreshold": 60}
        uid = world.apply(a_pod(initContainers=[a_sidecar("proxy", startupProbe=probe)]))
        await world.passes(10)
        assert world.running(uid) == ["proxy"]
        assert world.phase(uid) == "Pending"
        answers[0] = ExecResult(0, b"", b"")
        await world.passes(2)
        assert world.running(uid) == ["proxy", "main"]


@virtual
async def test_a_pod_waits_for_its_sidecar_again_in_the_next_sandbox() -> None:
    """But one that is restarted beside containers that have begun makes no pod Pending."""
    async with World() as world:
        answers = [ExecResult(0, b"", b"")]
        world.exec_results["up"] = lambda: answers[0]
        probe = {"exec": {"command": ["up"]}, "periodSeconds": 1, "failureThreshold": 600}
        uid = world.apply(a_pod(initContainers=[a_sidecar("proxy", startupProbe=probe)]))
        await world.passes(3)
        answers[0] = ExecResult(1, b"", b"")
        world.crash(uid, "proxy")
        await world.passes(3)
        assert sorted(world.running(uid)) == ["main", "proxy"]
        assert (world.container(uid, "proxy")["started"], world.phase(uid)) == (False, "Running")
        await world.kill_agent()
        world.device.reboot()
        world.start_agent()
        await world.passes(3)
        assert world.running(uid) == ["proxy"]
        assert world.phase(uid) == "Pending"
        answers[0] = ExecResult(0, b"", b"")
        await world.passes(3)
        assert world.phase(uid) == "Running"


@virtual
async def test_a_sidecar_that_ends_is_restarted_whatever_the_pods_policy() -> None:
    async with World() as world:
        uid = world.apply(a_pod(initContainers=[a_sidecar("proxy")], restartPolicy="Never"))
        await world.passes(1)
        world.crash(uid, "proxy", exit_code=0)
        await world.passes(1)
        assert sorted(world.running(uid)) == ["main", "proxy"]
        assert world.container(uid, "proxy")["restartCount"] == 1


@virtual
async def test_a_container_is_restarted_though_a_sidecar_that_started_once_waits() -> None:
    async with World() as world:
        uid = world.apply(a_pod(initContainers=[a_sidecar("proxy")]))
        await world.passes(1)
        for _ in range(2):
            world.crash(uid, "proxy")
            await world.passes(1)
        assert world.container(uid, "proxy")["state"]["waiting"]["reason"] == "CrashLoopBackOff"
        world.crash(uid, "main")
        await world.passes(1)
        assert world.running(uid) == ["main"]


@virtual
async def test_a_pod_is_complete_without_its_sidecars_which_are_then_stopped() -> None:
    async with World() as world:
        world.behaviours["main"] = Behaviour(exit_after=5.0)
        uid = world.apply(a_pod(initContainers=[a_sidecar("proxy")], restartPolicy="OnFailure"))
        await world.passes(10)
        assert world.phase(uid) == "Succeeded"
        assert world.running(uid) == []


@virtual
async def test_sidecars_stop_after_the_containers_in_reverse_order() -> None:
    async with World() as world:
        world.device.latency["stop_container"] = 6.0
        sidecars = [a_sidecar("first"), a_sidecar("second")]
        uid = world.apply(a_pod(initContainers=sidecars))
        await world.passes(1)
        world.delete(uid, grace=30)
        await world.passes(5)
        assert world.running(uid) == ["first", "second", "main"]
        told = [f"Stopping container {name}" for name in ("first", "main", "second")]
        assert sorted(world.messages(uid, "Killing")) == told, "all at once"
        await world.passes(20)
        stops = [call.rsplit("/", 1)[1] for call in world.device.calls("stop_container")]
        assert stops == ["main", "second", "first"]
        assert len(world.messages(uid, "Killing")) == len(told)
        assert world.reports.by_uid[uid].finished


@virtual
async def test_a_sidecar_waits_neither_for_debug_nor_for_ordinary_init_containers() -> None:
    """As on a kubelet: who looks into a pod does not hold up its sidecars."""
    async with World() as world:
        world.behaviours["stays"] = Behaviour(ignores_stop=True)
        stays, proxy = a_container("stays"), a_sidecar("proxy")
        looked_into = world.apply(a_pod(initContainers=[proxy], ephemeralContainers=[stays]))
        beginning = world.apply(a_pod("early", initContainers=[proxy, stays]))
        await world.passes(1)
        for uid in (looked_into, beginning):
            assert {"proxy", "stays"} <= set(world.running(uid))
            world.delete(uid, grace=30)
        await world.passes(5)
        assert world.running() == ["stays", "stays"]
