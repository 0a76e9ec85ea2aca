"""What cannot be done now is told in the status or by an Event, and tried again."""

from __future__ import annotations

from edgeagent.pods.model.errors import ClaimError, ConfigError, MountError
from edgeagent.runtime.memory_device import Behaviour
from edgeagent.runtime.port import RuntimeAway
from shared.errors import TemporaryError
from shared.objects import NO_NAMESPACE, ObjectKey
from tests.edge_pods.world import World, a_container, a_pod
from tests.parts.virtual_time import virtual


@virtual
async def test_a_pod_that_cannot_be_killed_says_so() -> None:
    async with World() as world:
        uid = world.apply(a_pod())
        await world.passes(1)
        world.device.failures["stop_container"] = [TemporaryError("it is stuck")]
        world.device.failures["stop_sandbox"] = [TemporaryError("no network")]
        world.delete(uid)
        await world.passes(60)
        assert world.messages(uid, "FailedKillPod") == [
            'error killing pod: failed to "KillContainer" for "main" with KillContainerError:'
            ' "it is stuck"',
            f'error killing pod: failed to "KillPodSandbox" for "{uid}" with KillPodSandboxError:'
            ' "no network"',
        ]
        assert world.running(uid) == []


@virtual
async def test_what_has_failed_for_a_day_is_still_tried_only_now_and_then() -> None:
    """After the thousandth failure it was tried without a pause."""
    async with World() as world:
        world.materials.failures["prepare"] = ConfigError('configmap "settings" not found')
        uid = world.apply(a_pod())
        await world.passes(24 * 3600)
        tries = len([one for one in world.materials.calls if one.startswith("prepare")])
        assert 1000 < tries < 24 * 3600 / 9
        del world.materials.failures["prepare"]
        await world.passes(30)
        assert world.running(uid) == ["main"]


@virtual
async def test_that_one_container_cannot_be_stopped_is_no_trouble_of_killing_its_pod() -> None:
    async with World() as world:
        uid = world.apply(a_pod("web", a_container()))
        await world.passes(1)
        world.device.failures["stop_container"] = [TemporaryError("it is stuck")]
        world.apply(a_pod("web", a_container(image="app:2")))
        await world.passes(60)
        assert world.container(uid)["restartCount"] == 1
        assert "FailedKillPod" not in world.reasons(uid)


@virtual
async def test_a_volume_that_cannot_be_made_is_told_and_tried_again() -> None:
    async with World() as world:
        error = MountError("config", 'configmap "settings" not found')
        world.materials.failures["prepare"] = error
        uid = world.apply(a_pod(volumes=[{"name": "v", "configMap": {"name": "settings"}}]))
        await world.passes(30)
        assert world.container(uid)["state"]["waiting"]["reason"] == "ContainerCreating"
        assert "FailedMount" in world.reasons(uid)
        assert world.condition(uid, "PodReadyToStartContainers")["status"] == "False"
        assert world.device.pods == {} and "podIP" not in world.status(uid)
        assert "image" not in world.materials.calls
        del world.materials.failures["prepare"]
        assert world.pods is not None
        world.pods.changed({ObjectKey("ConfigMap", "default", "settings")})
        await world.passes(0.5)
        assert world.phase(uid) == "Running"


@virtual
async def test_what_was_made_of_volumes_goes_with_a_pod_that_never_had_a_sandbox() -> None:
    async with World() as world:
        world.materials.failures["prepare"] = MountError("v", 'configmap "settings" not found')
        uid = world.apply(a_pod())
        await world.passes(3)
        world.drop(uid)
        await world.passes(30)
        assert world.materials.calls[-2:] == ["remove", "forget"]
        assert world.facts.records == {}


@virtual
async def test_a_sandbox_waits_for_the_folder_of_its_logs() -> None:
    async with World() as world:
        world.materials.failures["before_sandbox"] = TemporaryError("no space left on device")
        uid = world.apply(a_pod())
        await world.passes(5)
        assert world.device.pods == {}
        assert "FailedCreatePodSandBox" in world.reasons(uid)
        del world.materials.failures["before_sandbox"]
        await world.passes(30)
        assert world.phase(uid) == "Running"


@virtual
async def test_a_pod_that_waits_for_its_claim_begins_as_soon_as_its_volume_is_there() -> None:
    """The name of the volume is nowhere in the pod."""
    async with World() as world:
        world.materials.failures["prepare"] = ClaimError("v", "default/data", "PVC is not bound")
        uid = world.apply(
            a_pod(volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}])
        )
        await world.passes(30)
        assert "FailedMount" in world.reasons(uid)
        del world.materials.failures["prepare"]
        assert world.pods is not None
        world.pods.changed({ObjectKey("PersistentVolume", NO_NAMESPACE, "pv-1")})
        await world.passes(0.1)
        assert world.phase(uid) == "Running"


@virtual
async def test_a_sandbox_that_cannot_be_made_is_told_and_tried_again() -> None:
    async with World() as world:
        world.device.failures["start_sandbox"] = [TemporaryError("no network")] * 2
        uid = world.apply(a_pod())
        await world.passes(10)
        assert world.phase(uid) == "Running"
        words = "Failed to create pod sandbox: no network"
        assert words in world.messages(uid, "FailedCreatePodSandBox")


@virtual
async def test_while_there_is_no_network_only_pods_on_the_devices_own_start() -> None:
    """One of them may be the one that brings it; and CRI-O would let the others wait for hours."""
    async with World() as world:
        world.device.network_trouble = "no CNI config"
        waiting = [world.apply(a_pod(f"pod-{number}")) for number in range(5)]
        cni = world.apply(a_pod("cni", hostNetwork=True))
        await world.passes(2)
        assert world.running() == world.running(cni) == ["main"]
        assert {one.split()[1] for one in world.device.calls("start_sandbox")} == {"default/cni"}
        assert world.messages(waiting[0], "NetworkNotReady")[0] == (
            "network is not ready: no CNI config"
        )
        world.device.network_trouble = ""
        await world.passes(11)
        assert len(world.running()) == 6


@virtual
async def test_a_sandbox_that_takes_too_long_is_asked_for_again_by_the_same_name() -> None:
    """CRI-O goes on making it, and hands it out to who asks again; another name costs another."""
    async with World() as world:
        late = [RuntimeAway("no answer in time")] * 2
        world.device.failures["start_sandbox"] = [*late, TemporaryError("the name is reserved")]
        uid = world.apply(a_pod())
        await world.passes(15)
        assert [one.seen.attempt for one in world.device.pods.values()] == [1]
        assert world.phase(uid) == "Running"


@virtual
async def test_a_container_that_cannot_be_started_backs_off_like_one_that_crashes() -> None:
    async with World() as world:
        world.behaviours["main"] = Behaviour(start_error="no such program")
        uid = world.apply(a_pod())
        await world.passes(5)
        assert world.container(uid)["state"]["waiting"]["reason"] == "CrashLoopBackOff"
        assert world.container(uid)["lastState"]["terminated"]["exitCode"] == 128
        assert "Error: no such program" in world.messages(uid, "Failed")
        assert len(world.starts()) == 2


@virtual
async def test_a_container_that_cannot_be_configured_says_so_and_is_tried_again() -> None:
    async with World() as world:
        world.materials.failures["container"] = ConfigError('secret "login" not found')
        uid = world.apply(a_pod())
        await world.passes(5)
        waiting = world.container(uid)["state"]["waiting"]
        assert waiting["reason"] == "CreateContainerConfigError"
        assert waiting["message"] == 'secret "login" not found'
        del world.materials.failures["container"]
        await world.passes(15)
        assert world.phase(uid) == "Running"


@virtual
async def test_an_error_that_nobody_expected_is_told_by_its_kind_alone() -> None:
    """It may quote a value that is a secret; the log has it whole."""
    async with World() as world:
        world.device.failures["create_container"] = [LookupError("s3cret")]
        uid = world.apply(a_pod())
        await world.passes(0.5)
        waiting = str(world.status(uid))
        assert "internal error: LookupError" in waiting
        assert "s3cret" not in waiting
        await world.passes(60)
        assert world.phase(uid) == "Running"
