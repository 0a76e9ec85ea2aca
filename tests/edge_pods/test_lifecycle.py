"""Hooks, deadlines, ephemeral containers, changes of a running pod."""

from __future__ import annotations

import asyncio

from edgeagent.pods.errors import ClaimError, ConfigError, ContentsError, MountError
from edgeagent.pods.view import Refusal
from edgeagent.runtime.memory_device import Behaviour
from edgeagent.runtime.port import ExecResult, RuntimeAway
from shared.errors import TemporaryError
from shared.objects import NO_NAMESPACE, Json, ObjectKey
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
        assert "FailedPreStopHook" in world.reasons(uid)


@virtual
async def test_a_sleep_of_zero_seconds_is_a_hook_that_succeeds() -> None:
    async with World() as world:
        uid = world.apply(a_pod("web", with_hook("preStop", {"sleep": {"seconds": 0}})))
        await world.passes(1)
        world.delete(uid)
        await world.passes(1)
        assert world.reports.by_uid[uid].finished


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
        del world.materials.failures["prepare"]
        assert world.pods is not None
        world.pods.changed({ObjectKey("ConfigMap", "default", "settings")})
        await world.passes(0.5)
        assert world.phase(uid) == "Running"


@virtual
async def test_a_sandbox_waits_for_the_folder_of_its_logs() -> None:
    async with World() as world:
        world.materials.failures["make_log_folder"] = TemporaryError("no space left on device")
        uid = world.apply(a_pod())
        await world.passes(5)
        assert world.device.pods == {}
        assert "FailedCreatePodSandBox" in world.reasons(uid)
        del world.materials.failures["make_log_folder"]
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
async def test_twenty_pods_start_at_the_same_time_but_not_all_at_once() -> None:
    async with World() as world:
        world.device.latency["start_sandbox"] = 0.2
        for number in range(20):
            world.apply(a_pod(f"pod-{number}"))
        await world.passes(1.5)
        assert len(world.running()) == 20


@virtual
async def test_a_config_map_that_changed_refreshes_the_volumes() -> None:
    async with World() as world:
        world.apply(a_pod(volumes=[{"name": "v", "configMap": {"name": "settings"}}]))
        await world.passes(1)
        assert world.pods is not None
        world.pods.changed({ObjectKey("ConfigMap", "default", "other")})
        await asyncio.sleep(0.1)
        assert world.materials.calls[-1] != "refresh"
        world.pods.changed({ObjectKey("ConfigMap", "default", "settings")})
        await asyncio.sleep(0.1)
        assert world.materials.calls[-1] == "refresh"


@virtual
async def test_a_refresh_that_the_disk_refused_is_tried_again_without_hurry() -> None:
    async with World() as world:
        uid = world.apply(a_pod(volumes=[{"name": "v", "configMap": {"name": "settings"}}]))
        await world.passes(1)
        assert world.pods is not None
        world.materials.failures["refresh"] = MountError("v", "No space left on device")
        world.pods.changed({ObjectKey("ConfigMap", "default", "settings")})
        await world.passes(60)
        assert 5 < world.materials.calls.count("refresh") < 12
        words = 'MountVolume.SetUp failed for volume "v" : No space left on device'
        assert set(world.messages(uid, "FailedMount")) == {words}
        await refreshes_at_last(world)


@virtual
async def test_a_pod_whose_volumes_are_behind_after_a_restart_runs_and_gets_a_refresh() -> None:
    async with World() as world:
        world.materials.behind = True
        world.materials.failures["refresh"] = MountError("v", "No space left on device")
        world.apply(a_pod(volumes=[{"name": "v", "configMap": {"name": "settings"}}]))
        await world.passes(30)
        assert len(world.running()) == 1
        assert world.materials.calls.count("refresh") > 1
        await refreshes_at_last(world)


async def refreshes_at_last(world: World) -> None:
    """The next try succeeds, and none follows it."""
    del world.materials.failures["refresh"]
    await world.passes(10)
    tried = world.materials.calls.count("refresh")
    await world.passes(60)
    assert world.materials.calls.count("refresh") == tried


@virtual
async def test_a_refresh_waits_for_the_object_that_it_lacks() -> None:
    async with World() as world:
        world.apply(a_pod(volumes=[{"name": "v", "configMap": {"name": "settings"}}]))
        await world.passes(1)
        assert world.pods is not None
        world.materials.failures["refresh"] = ContentsError("v", 'configmap "settings" not found')
        for times in (1, 2):
            world.pods.changed({ObjectKey("ConfigMap", "default", "settings")})
            await world.passes(60)
            assert world.materials.calls.count("refresh") == times


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
