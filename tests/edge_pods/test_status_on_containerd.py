"""What the status of a pod says, word by word, with a real containerd behind it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.messages import COMBINED
from shared.objects import Json
from tests.edge_pods.device import OBEYS, SHARED, WAITS, Device, a_device, a_script, a_sharer
from tests.parts import images
from tests.parts.containerd import Containerd

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
UNREADY = "ContainersNotReady"


@pytest.fixture
async def device(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Device]:
    async with a_device(containerd, tmp_path) as one:
        yield one


def conditions(device: Device, uid: str) -> dict[str, tuple[str, str, str]]:
    """Status, reason and message of each."""
    rows = device.status(uid).get("conditions", ())
    return {
        one["type"]: (one["status"], one.get("reason", ""), one.get("message", "")) for one in rows
    }


def since(device: Device, uid: str, kind: str) -> str:
    (found,) = [one for one in device.status(uid)["conditions"] if one["type"] == kind]
    return str(found["lastTransitionTime"])


async def phase(device: Device, uid: str, wanted: str) -> None:
    await device.until(lambda: device.status(uid).get("phase") == wanted)


# States of containers


async def test_a_running_container_says_since_when_and_what_it_has(device: Device) -> None:
    asked = {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "32Mi"}}
    uid = device.apply(a_script(OBEYS, resources=asked))
    await device.until(lambda: device.runs(uid))
    status = device.container(uid)
    started = status["state"]["running"]["startedAt"]
    assert STAMP.fullmatch(started)
    assert started >= device.status(uid)["startTime"]
    assert status["lastState"] == {}
    assert (status["started"], status["ready"], status["restartCount"]) == (True, True, 0)
    assert status["image"] == images.BUSYBOX
    assert status["imageID"].startswith("sha256:")
    assert re.fullmatch("containerd://[0-9a-f]{64}", status["containerID"])
    assert status["resources"] == asked
    assert status["allocatedResources"] == asked["requests"]
    if (await device.runtime.info()).strict_groups is None:
        assert "user" not in status, "a runtime that old does not say it"
    else:
        assert (status["user"]["linux"]["uid"], status["user"]["linux"]["gid"]) == (0, 0)


async def test_before_their_turn_containers_wait_for_the_pod_or_for_init_containers(
    device: Device,
) -> None:
    volumes = [{"name": "c", "configMap": {"name": "late"}}]
    first = a_sharer(WAITS, "first")
    mounts = [{"name": "c", "mountPath": "/c"}]
    plain = device.apply(a_script(OBEYS, volumeMounts=mounts), volumes=volumes)
    layered = device.apply(a_script(OBEYS), initContainers=[first], volumes=SHARED)
    await device.until(lambda: "FailedMount" in device.reasons(plain))
    assert device.container(plain)["state"] == {"waiting": {"reason": "ContainerCreating"}}
    first_said = {one["type"]: one["status"] for one in _first_conditions(device, plain)}
    assert first_said["PodReadyToStartContainers"] == "False", "it has no network yet"
    assert first_said["Initialized"] == "True"
    await device.until(lambda: device.runs(layered, "first"))
    main = device.container(layered)
    assert main["state"] == {"waiting": {"reason": "PodInitializing"}}
    assert (main["image"], main["imageID"], main["started"]) == (images.BUSYBOX, "", False)
    assert "containerID" not in main
    unready = ("False", UNREADY, "containers with unready status: [main]")
    assert conditions(device, layered) == {
        "PodReadyToStartContainers": ("True", "", ""),
        "Initialized": (
            *("False", "ContainersNotInitialized"),
            "containers with incomplete status: [first]",
        ),
        "Ready": unready,
        "ContainersReady": unready,
    }
    device.go_on(layered)
    await device.until(lambda: device.runs(layered))
    ended = device.container(layered, "first")
    assert (ended["ready"], ended["state"]["terminated"]["reason"]) == (True, "Completed")


def _first_conditions(device: Device, uid: str) -> list[Json]:
    return list(device.reports.by_uid[uid].history[0]["conditions"])


@pytest.mark.parametrize(
    ("code", "reason", "of_pod", "why"),
    [(0, "Completed", "Succeeded", "PodCompleted"), (3, "Error", "Failed", "PodFailed")],
)
async def test_an_ended_container_says_how_and_when(
    device: Device, code: int, reason: str, of_pod: str, why: str
) -> None:
    uid = device.apply(a_script(f"sleep 1; exit {code}"), restartPolicy="Never")
    await phase(device, uid, of_pod)
    ended = device.ended(uid)
    assert (ended["exitCode"], ended["reason"]) == (code, reason)
    assert STAMP.fullmatch(ended["startedAt"])
    assert ended["startedAt"] < ended["finishedAt"]
    status = device.container(uid)
    assert ended["containerID"] == status["containerID"]
    assert (status["ready"], status["started"]) == (False, False)
    assert conditions(device, uid) == {
        "PodReadyToStartContainers": ("False", "", ""),
        "Initialized": ("True", "PodCompleted" if code == 0 else "", ""),
        "Ready": ("False", why, ""),
        "ContainersReady": ("False", why, ""),
    }


async def test_a_command_that_is_not_there_is_a_start_error_of_a_container_that_never_started(
    device: Device,
) -> None:
    container = {**a_script(""), "command": ["/no/such/program"]}
    uid = device.apply(container, restartPolicy="Never")
    await phase(device, uid, "Failed")
    ended = device.ended(uid)
    assert (ended["exitCode"], ended["reason"]) == (128, "StartError")
    assert "/no/such/program" in ended["message"]
    (failed,) = [one.message for one in device.reports.by_uid[uid].events if one.reason == "Failed"]
    assert failed == f"Error: {ended['message']}", "the runtime's words alone, as on a kubelet"
    assert ended["startedAt"] == "1970-01-01T00:00:00Z" < ended["finishedAt"]


async def test_a_container_that_waits_for_its_restart_shows_its_last_end_and_what_it_has(
    device: Device,
) -> None:
    asked = {"limits": {"cpu": "200m"}, "requests": {"cpu": "100m"}}
    uid = device.apply(a_script("sleep 0.2; exit 9", resources=asked))
    await device.until(
        lambda: (
            device.container(uid).get("restartCount") == 1
            and "waiting" in device.container(uid)["state"]
        )
    )
    status = device.container(uid)
    title = f"{device.desired.wanted[uid].key.name}_default({uid})"
    assert status["state"]["waiting"] == {
        "reason": "CrashLoopBackOff",
        "message": f"back-off 10s restarting failed container=main pod={title}",
    }
    last = status["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (9, "Error")
    assert last["containerID"] == status["containerID"]
    assert status["resources"] == asked
    assert status["allocatedResources"] == asked["requests"]
    assert device.status(uid)["phase"] == "Running"


async def test_too_much_memory_ends_a_container_as_oom_killed(device: Device) -> None:
    greedy = "x=$(head -c 50000000 /dev/zero | tr '\\0' x); sleep 99"
    uid = device.apply(
        a_script(greedy, resources={"limits": {"memory": "16Mi"}}), restartPolicy="Never"
    )
    await phase(device, uid, "Failed")
    assert (device.ended(uid)["exitCode"], device.ended(uid)["reason"]) == (137, "OOMKilled")


async def test_a_pod_past_its_deadline_is_failed_and_says_so(device: Device) -> None:
    uid = device.apply(a_script(OBEYS), activeDeadlineSeconds=2, terminationGracePeriodSeconds=5)
    await phase(device, uid, "Failed")
    words = "Pod was active on the node longer than the specified deadline"
    status = device.status(uid)
    assert (status["reason"], status["message"]) == ("DeadlineExceeded", words)
    assert device.ended(uid)["exitCode"] == 7, "it was told to stop, and did"
    assert "DeadlineExceeded" in device.reasons(uid)
    assert conditions(device, uid)["Ready"] == ("False", "PodFailed", "")


async def test_a_container_that_was_never_started_is_terminated_with_its_pod(
    device: Device,
) -> None:
    absent = a_script(OBEYS, "absent", image="nowhere:1", imagePullPolicy="Never")
    uid = device.apply(a_script(OBEYS), absent, activeDeadlineSeconds=3)
    await device.until(lambda: device.waits_for(uid, "absent") == "ErrImageNeverPull")
    await phase(device, uid, "Failed")
    ended = device.ended(uid, "absent")
    assert (ended["exitCode"], ended["reason"]) == (137, "ContainerStatusUnknown")
    assert ended["message"] == "The container could not be located when the pod was terminated"


async def test_a_container_that_was_lost_has_an_unknown_status(device: Device) -> None:
    """Somebody took it away while no agent looked."""
    uid = device.apply(a_script(OBEYS), restartPolicy="Never")
    await device.until(lambda: device.runs(uid))
    lost = device.container(uid)["containerID"]
    await device.kill_agent()
    await device.runtime.remove_container(lost.removeprefix("containerd://"))
    device.start_agent()
    await phase(device, uid, "Failed")
    ended = device.ended(uid)
    assert (ended["exitCode"], ended["reason"]) == (137, "ContainerStatusUnknown")
    assert ended["containerID"] == lost


async def test_restart_counts_and_last_ends_outlive_the_agent(device: Device) -> None:
    uid = device.apply(a_script("[ -e /d/x ] && sleep 999; touch /d/x; exit 4", volumeMounts=[
        {"name": "d", "mountPath": "/d"}
    ]), volumes=[{"name": "d", "emptyDir": {}}])  # fmt: skip
    await device.until(lambda: device.runs(uid) and device.container(uid)["restartCount"] == 1)
    before = device.container(uid)
    await device.kill_agent()
    device.reports.by_uid.clear()
    device.start_agent()
    await device.until(lambda: device.runs(uid))
    assert device.container(uid) == before
    assert before["lastState"]["terminated"]["exitCode"] == 4


# Last words


async def test_the_termination_message_is_read_from_its_path_and_cut_at_4096_bytes(
    device: Device,
) -> None:
    says = "head -c 5000 /dev/zero | tr '\\0' x > /tmp/said; echo logged; exit 1"
    uid = device.apply(a_script(says, terminationMessagePath="/tmp/said"), restartPolicy="Never")
    await phase(device, uid, "Failed")
    assert device.ended(uid)["message"] == "x" * 4096


async def test_the_log_serves_only_when_asked_only_after_an_error_and_only_its_end(
    device: Device,
) -> None:
    lines = "i=0; while [ $i -lt 200 ]; do i=$((i+1)); echo line $i; done"
    asked = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    never = {"restartPolicy": "Never"}
    failed = device.apply(a_script(f"{lines}; exit 1", **asked), **never)
    well = device.apply(a_script(lines, **asked), **never)
    silent = device.apply(a_script(f"{lines}; exit 1"), **never)
    said = device.apply(
        a_script(f"{lines}; echo -n so >/dev/termination-log; exit 1", **asked), **never
    )
    for uid in (failed, silent, said):
        await phase(device, uid, "Failed")
    await phase(device, well, "Succeeded")
    assert device.ended(failed)["message"].splitlines() == [f"line {n}" for n in range(121, 201)]
    assert "message" not in device.ended(well)
    assert "message" not in device.ended(silent)
    assert device.ended(said)["message"] == "so"


@pytest.mark.parametrize("length", [12_000, 40_000])
async def test_of_a_long_line_of_the_log_its_end_serves(device: Device, length: int) -> None:
    """The runtime writes the longer one in parts."""
    writes = f"head -c {length} /dev/zero | tr '\\0' x; echo; exit 1"
    asked = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    uid = device.apply(a_script(writes, **asked), restartPolicy="Never")
    await phase(device, uid, "Failed")
    assert device.ended(uid)["message"] == "x" * 2047 + "\n"


async def test_what_writes_over_its_line_is_one_line_of_the_log(device: Device) -> None:
    writes = "printf 'at one of two files\\rat two of two files\\n'; exit 1"
    asked = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    uid = device.apply(a_script(writes, **asked), restartPolicy="Never")
    await phase(device, uid, "Failed")
    assert device.ended(uid)["message"] == "at one of two files\rat two of two files\n"


# Conditions


async def test_a_transition_time_changes_when_the_status_does_and_not_before(
    device: Device,
) -> None:
    probe = {"exec": {"command": ["test", "-e", "/v/go"]}, "periodSeconds": 1}
    uid = device.apply(a_sharer(OBEYS, readinessProbe=probe), volumes=SHARED)
    await device.until(lambda: device.runs(uid))
    unready = since(device, uid, "Ready")
    initialized = since(device, uid, "Initialized")
    await asyncio.sleep(1.1)  # A stamp has whole seconds.
    device.go_on(uid)
    await device.until(lambda: conditions(device, uid)["Ready"][0] == "True")
    assert since(device, uid, "Ready") == since(device, uid, "ContainersReady") > unready
    assert since(device, uid, "Initialized") == initialized
    ready = since(device, uid, "Ready")
    await device.kill_agent()
    device.start_agent()
    await asyncio.sleep(2)
    assert since(device, uid, "Ready") == ready


async def test_what_is_the_schedulers_or_the_api_servers_is_not_said(device: Device) -> None:
    uid = device.apply(a_script(OBEYS))
    await device.until(lambda: device.runs(uid))
    assert "PodScheduled" not in conditions(device, uid)
    assert "nominatedNodeName" not in device.status(uid)


# Events


async def test_events_that_differ_in_their_words_only_become_one(device: Device) -> None:
    command = ["sh", "-c", "cat /proc/uptime; exit 1"]
    probe = {"exec": {"command": command}, "periodSeconds": 1, "failureThreshold": 999}
    uid = device.apply(a_script(OBEYS, readinessProbe=probe))
    await device.until(lambda: any(COMBINED in one for one in unhealthy(device, uid)), seconds=40)
    reports = len(device.reports.by_uid[uid].history)
    await asyncio.sleep(3)
    assert len(device.reports.by_uid[uid].history) == reports, "no failure costs a message now"
    said = unhealthy(device, uid)
    assert len(said) == 10
    assert said[-1].startswith(f"{COMBINED}Readiness probe failed: ")


def unhealthy(device: Device, uid: str) -> list[str]:
    events = device.reports.by_uid[uid].events if uid in device.reports.by_uid else []
    return [one.message for one in events if one.reason == "Unhealthy"]
