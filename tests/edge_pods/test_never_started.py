"""What a finished pod says of containers that were never started, by the kubelet's two rules."""

from __future__ import annotations

from edgeagent.pods.model.errors import PodTrouble
from edgeagent.pods.ports import Record
from edgeagent.runtime.memory_device import Behaviour
from edgeagent.runtime.port import ExecResult, Image
from shared.objects import Json
from tests.edge_pods.world import World, a_container, a_pod
from tests.parts.virtual_time import virtual

NOT_LOCATED = {
    "exitCode": 137,
    "reason": "ContainerStatusUnknown",
    "message": "The container could not be located when the pod was terminated",
    "startedAt": None,
    "finishedAt": None,
}
INITIALIZING = {"waiting": {"reason": "PodInitializing"}}
ABSENT = "elsewhere:1"
"""No registry has it."""


class WithoutAnImage(World):
    def __init__(self) -> None:
        super().__init__()
        found = self.materials.image

        async def image(pod: Json, container: Json, record: Record) -> Image:
            if container["image"] == ABSENT:
                raise PodTrouble("ErrImagePull", "no such image")
            return await found(pod, container, record)

        self.materials.image = image  # type: ignore[method-assign]


async def states(world: World, *inits: Json, image: str = ABSENT) -> dict[str, Json]:
    """By container, when the deadline of the pod has passed."""
    main = a_container(image=image)
    uid = world.apply(a_pod("web", main, initContainers=list(inits), activeDeadlineSeconds=60))
    await world.passes(120)
    status = world.status(uid)
    assert (status["phase"], status["reason"]) == ("Failed", "DeadlineExceeded")
    listed = [*status.get("initContainerStatuses", ()), *status["containerStatuses"]]
    return {one["name"]: one["state"] for one in listed}


@virtual
async def test_a_container_whose_image_never_came_is_terminated_with_its_pod() -> None:
    async with WithoutAnImage() as world:
        uid = world.apply(a_pod("web", a_container(image=ABSENT), a_container("other")))
        await world.passes(30)
        assert world.container(uid)["state"]["waiting"]["reason"] == "ErrImagePull"
        world.device.latency["stop_container"] = 10.0
        world.delete(uid)
        await world.passes(5)
        assert world.container(uid)["state"] == {"waiting": {"reason": "ContainerCreating"}}, (
            "not while something still runs, but what it lacked is not asked for any more"
        )
        await world.passes(60)
        assert world.phase(uid) == "Failed"
        assert world.container(uid)["state"] == {"terminated": NOT_LOCATED}
        assert world.container(uid)["lastState"] == {}
        assert world.container(uid, "other")["state"]["terminated"]["reason"] == "Error"


@virtual
async def test_a_pod_without_init_containers_was_always_initialized() -> None:
    async with WithoutAnImage() as world:
        assert await states(world) == {"main": {"terminated": NOT_LOCATED}}


@virtual
async def test_of_a_pod_that_was_not_initialized_containers_go_on_waiting() -> None:
    """And so do the init containers after the last that was started."""
    async with World() as world:
        found = await states(world, a_container("first"), a_container("second"))
        assert found["first"]["terminated"]["reason"] == "Error"
        assert found["second"] == found["main"] == INITIALIZING


@virtual
async def test_the_first_init_container_is_terminated_though_it_never_started() -> None:
    async with WithoutAnImage() as world:
        found = await states(world, a_container("first", image=ABSENT), a_container("second"))
        assert found["first"] == {"terminated": NOT_LOCATED}
        assert found["second"] == found["main"] == INITIALIZING


@virtual
async def test_where_the_last_init_container_was_done_the_pod_was_initialized() -> None:
    async with WithoutAnImage() as world:
        world.behaviours["init"] = Behaviour(exit_after=1.0)
        found = await states(world, a_container("init"))
        assert found["init"]["terminated"]["reason"] == "Completed"
        assert found["main"] == {"terminated": NOT_LOCATED}


@virtual
async def test_where_the_last_init_container_is_a_sidecar_that_started_so_it_was_too() -> None:
    async with WithoutAnImage() as world:
        found = await states(world, a_container("proxy", restartPolicy="Always"))
        assert found["main"] == {"terminated": NOT_LOCATED}


@virtual
async def test_but_not_where_its_startup_probe_never_succeeded() -> None:
    async with World() as world:
        world.exec_results["up"] = lambda: ExecResult(1, b"", b"")
        probe = {"exec": {"command": ["up"]}, "failureThreshold": 1000}
        sidecar = a_container("proxy", restartPolicy="Always", startupProbe=probe)
        found = await states(world, sidecar, image="app:1")
        assert found["main"] == INITIALIZING
