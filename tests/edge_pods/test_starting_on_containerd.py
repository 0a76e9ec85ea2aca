"""In which order the containers of a pod start, and when they start again, on a real containerd."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.objects import Json
from tests.edge_pods.device import OBEYS, SHARED, WAITS, Device, a_device, a_script, a_sharer
from tests.parts import images
from tests.parts.containerd import Containerd


@pytest.fixture
async def device(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Device]:
    async with a_device(containerd, tmp_path) as one:
        yield one


def a_sidecar(text: str, name: str = "proxy", **fields: object) -> Json:
    return a_sharer(text, name, restartPolicy="Always", **fields)


FIRST_TIME = "[ ! -e /v/{0} ] && touch /v/{0}"
"""Succeeds once in the life of a pod."""


# Init containers


async def test_containers_wait_for_the_init_containers(device: Device) -> None:
    init = a_sharer(f"{WAITS}; echo prepared > /v/file", "init")
    uid = device.apply(a_sharer(f"cat /v/file; {OBEYS}"), initContainers=[init], volumes=SHARED)
    await device.until(lambda: device.runs(uid, "init"))
    assert device.waits_for(uid) == "PodInitializing"
    assert device.status(uid)["phase"] == "Pending"
    initialized = device.condition(uid, "Initialized")
    assert (initialized["status"], initialized["reason"]) == ("False", "ContainersNotInitialized")
    assert initialized["message"] == "containers with incomplete status: [init]"
    device.go_on(uid)
    await device.until(lambda: device.log(uid) == "prepared")
    await device.until(lambda: device.status(uid)["phase"] == "Running")
    assert device.condition(uid, "Initialized")["status"] == "True"
    assert device.container(uid, "init")["ready"] is True


async def test_a_failed_init_container_fails_a_pod_that_never_restarts(device: Device) -> None:
    inits = [a_script("exit 9", "first"), a_script("exit 0", "second")]
    uid = device.apply(a_script(OBEYS), initContainers=inits, restartPolicy="Never")
    await device.until(lambda: device.status(uid).get("phase") == "Failed")
    assert device.ended(uid, "first")["exitCode"] == 9
    assert device.container(uid, "first")["restartCount"] == 0
    for name in ("second", "main"):
        assert device.waits_for(uid, name) == "PodInitializing"


@pytest.mark.parametrize("policy", ["Always", "OnFailure"])
async def test_a_failed_init_container_is_retried_until_it_succeeds(
    device: Device, policy: str
) -> None:
    init = a_sharer(FIRST_TIME.format("tried") + " && exit 1; exit 0", "init")
    uid = device.apply(a_script(OBEYS), initContainers=[init], restartPolicy=policy, volumes=SHARED)
    await device.until(lambda: device.runs(uid))
    assert device.container(uid, "init")["restartCount"] == 1
    assert device.ended(uid, "init")["reason"] == "Completed"
    assert device.container(uid)["restartCount"] == 0


async def test_init_containers_run_again_in_a_new_sandbox(device: Device) -> None:
    init = a_sharer("echo again >> /v/runs", "init")
    uid = device.apply(a_sharer(OBEYS), initContainers=[init], volumes=SHARED)
    await device.until(lambda: device.runs(uid))
    (sandbox,) = await device.sandboxes()
    await device.runtime.stop_sandbox(sandbox.id)
    await device.until(lambda: device.container(uid, "init")["restartCount"] == 1)
    await device.until(lambda: device.runs(uid))
    assert device.container(uid)["restartCount"] >= 1


async def test_a_changed_image_restarts_no_init_container(device: Device) -> None:
    init = a_sharer(f"trap 'exit 7' TERM; {WAITS}", "init")
    uid = device.apply(a_script(OBEYS), initContainers=[init], volumes=SHARED)
    await device.until(lambda: device.runs(uid, "init"))
    device.change(uid, initContainers=[{**init, "image": images.APP_V1}])
    await device.until(lambda: device.status(uid).get("observedGeneration") == 2)
    device.go_on(uid)
    await device.until(lambda: device.runs(uid))
    assert device.container(uid, "init")["restartCount"] == 0
    assert device.ended(uid, "init")["exitCode"] == 0
    assert device.status(uid)["observedGeneration"] == 2


# Sidecars


async def test_sidecars_start_in_their_turn_among_the_init_containers(device: Device) -> None:
    def says(name: str) -> str:
        return f"echo {name} >> /v/order"

    inits = [
        a_sidecar(f"{says('first')}; {OBEYS}", "first"),
        a_sharer(says("init"), "init"),
        a_sidecar(f"{says('second')}; {OBEYS}", "second"),
    ]
    uid = device.apply(
        a_sharer(f"{says('main')}; cat /v/order; {OBEYS}"), initContainers=inits, volumes=SHARED
    )
    await device.until(lambda: device.log(uid) == "first\ninit\nsecond\nmain")
    for name in ("first", "second", "main"):
        await device.until(lambda name=name: device.runs(uid, name))  # type: ignore[misc]
    assert device.status(uid)["phase"] == "Running"


async def test_what_follows_a_sidecar_waits_for_its_startup_probe(device: Device) -> None:
    probe: Json = {"exec": {"command": ["test", "-e", "/v/up"]}, "periodSeconds": 1}
    probe["failureThreshold"] = 60
    slow = a_sidecar(f"{WAITS}; echo up > /v/order; touch /v/up; {OBEYS}", startupProbe=probe)
    init = a_sharer("echo init >> /v/order", "init")
    uid = device.apply(
        a_sharer(f"cat /v/order; {OBEYS}"), initContainers=[slow, init], volumes=SHARED
    )
    await device.until(lambda: device.runs(uid, "proxy"))
    assert device.container(uid, "proxy")["started"] is False
    assert device.waits_for(uid, "init") == "PodInitializing"
    device.go_on(uid)
    await device.until(lambda: device.log(uid) == "up\ninit")
    await device.until(lambda: device.container(uid, "proxy")["started"])


async def test_a_sidecar_that_ends_is_restarted_though_its_pod_never_restarts(
    device: Device,
) -> None:
    once = a_sidecar(FIRST_TIME.format("ran") + f" && exit 0; {OBEYS}")
    uid = device.apply(
        a_script(OBEYS), initContainers=[once], restartPolicy="Never", volumes=SHARED
    )
    await device.until(lambda: device.container(uid, "proxy").get("restartCount") == 1)
    await device.until(lambda: device.runs(uid, "proxy") and device.runs(uid))
    assert device.container(uid)["restartCount"] == 0


async def test_a_sidecar_that_started_once_holds_up_nothing_when_it_fails(device: Device) -> None:
    crashes = a_sidecar("sleep 0.5; exit 1")
    init = a_sharer(WAITS, "init")
    uid = device.apply(a_script(OBEYS), initContainers=[crashes, init], volumes=SHARED)
    await device.until(lambda: device.waits_for(uid, "proxy") == "CrashLoopBackOff")
    assert not device.ended(uid, "init")
    device.go_on(uid)
    await device.until(lambda: device.runs(uid))
    assert device.waits_for(uid, "proxy") == "CrashLoopBackOff"
    assert device.status(uid)["phase"] == "Running"
    assert device.condition(uid, "Ready")["message"] == "containers with unready status: [proxy]"


async def test_a_sidecar_has_probes_of_its_own(device: Device) -> None:
    def probe(file: str) -> Json:
        return {
            "exec": {"command": ["test", "-e", file]},
            "periodSeconds": 1,
            "failureThreshold": 1,
        }

    text = f"touch /ok; sleep 1.5; rm /ok; {OBEYS}"
    proxy = a_sidecar(text, livenessProbe=probe("/ok"), readinessProbe=probe("/v/ready"))
    uid = device.apply(
        a_sharer(OBEYS), initContainers=[proxy], volumes=SHARED, terminationGracePeriodSeconds=1
    )
    await device.until(lambda: device.runs(uid))
    assert device.condition(uid, "Ready")["message"] == "containers with unready status: [proxy]"
    await device.until(lambda: device.container(uid, "proxy").get("restartCount") == 1)
    words = "Init container proxy failed liveness probe"
    assert words in device.messages(uid, "Killing")
    assert device.container(uid)["restartCount"] == 0


# Restart policies


@pytest.mark.parametrize(
    ("policy", "code", "phase"),
    [
        ("Never", 0, "Succeeded"),
        ("Never", 3, "Failed"),
        ("OnFailure", 0, "Succeeded"),
        ("OnFailure", 3, "Running"),
        ("Always", 0, "Running"),
    ],
)
async def test_the_restart_policy_of_a_pod_decides_what_an_exit_code_means(
    device: Device, policy: str, code: int, phase: str
) -> None:
    text = FIRST_TIME.format("ran") + f" && exit {code}; {OBEYS}"
    uid = device.apply(a_sharer(text), restartPolicy=policy, volumes=SHARED)
    restarts = int(phase == "Running")
    await device.until(lambda: device.container(uid).get("restartCount") == restarts)
    await device.until(lambda: device.status(uid)["phase"] == phase)
    before = device.container(uid)["lastState" if restarts else "state"]["terminated"]
    assert (before["exitCode"], before["reason"]) == (code, "Error" if code else "Completed")


async def test_a_container_has_a_restart_policy_of_its_own(device: Device) -> None:
    """The pod goes on while one of its containers does, and ends when none may start again."""
    text = f"{FIRST_TIME.format('a')} && exit 3; {WAITS}"
    uid = device.apply(
        a_sharer(text, "again", restartPolicy="OnFailure"),
        a_sharer("exit 4", "never"),
        restartPolicy="Never",
        volumes=SHARED,
    )
    await device.until(lambda: device.container(uid, "again").get("restartCount") == 1)
    assert device.status(uid)["phase"] == "Running"
    device.go_on(uid)
    await device.until(lambda: device.status(uid)["phase"] == "Failed")
    assert device.ended(uid, "again")["exitCode"] == 0
    assert device.container(uid, "never")["restartCount"] == 0


async def test_a_rule_restarts_a_container_by_its_exit_code(device: Device) -> None:
    """The first rule that matches decides, before the policy of the container."""

    def rule(operator: str, *values: int) -> Json:
        codes = {"operator": operator, "values": list(values)}
        return {"action": "Restart", "exitCodes": codes}

    text = FIRST_TIME.format("{0}") + " && exit 42; exit 1"
    uid = device.apply(
        a_sharer(
            text.format("a"),
            "listed",
            restartPolicy="Never",
            restartPolicyRules=[rule("In", 42, 43)],
        ),
        a_sharer(
            text.format("b"), "unlisted", restartPolicy="Never", restartPolicyRules=[rule("In", 7)]
        ),
        a_sharer(
            text.format("c"),
            "all-but",
            restartPolicy="Never",
            restartPolicyRules=[rule("NotIn", 1)],
        ),
        restartPolicy="Never",
        volumes=SHARED,
    )
    await device.until(lambda: device.status(uid).get("phase") == "Failed")
    for name, restarts, code in (("listed", 1, 1), ("unlisted", 0, 42), ("all-but", 1, 1)):
        assert device.container(uid, name)["restartCount"] == restarts
        assert device.ended(uid, name)["exitCode"] == code


def all_anew(*codes: int) -> Json:
    rule = {
        "action": "RestartAllContainers",
        "exitCodes": {"operator": "In", "values": list(codes)},
    }
    return {"restartPolicy": "Never", "restartPolicyRules": [rule]}


async def test_a_rule_makes_all_containers_begin_anew_on_the_same_volumes(device: Device) -> None:
    """Init containers first, as at the first start; what ended well and what runs alike."""
    init = a_sharer("echo init >> /v/order", "init")
    proxy = a_sidecar(f"echo proxy >> /v/order; {OBEYS}")
    ends = a_script("exit 0", "ends")
    source = a_sharer(
        FIRST_TIME.format("ran") + f" && {{ {WAITS}; exit 42; }}; cat /v/order; {OBEYS}",
        **all_anew(42),
    )
    uid = device.apply(
        source, ends, initContainers=[init, proxy], restartPolicy="Never", volumes=SHARED
    )
    await device.until(lambda: bool(device.ended(uid, "ends")))
    assert device.condition(uid, "AllContainersRestarting")["status"] == "False"
    (sandbox,) = await device.sandboxes()
    device.go_on(uid)
    await device.until(lambda: device.log(uid, attempt=1) == "init\nproxy\ninit\nproxy")
    every = ("init", "proxy", "main", "ends")
    await device.until(lambda: all(device.container(uid, one)["restartCount"] for one in every))
    await device.until(lambda: device.runs(uid) and device.runs(uid, "proxy"))
    await device.until(lambda: bool(device.ended(uid, "ends")))
    assert {device.container(uid, one)["restartCount"] for one in every} == {1}
    assert set(device.messages(uid, "Killing")) == {"killing"}
    assert device.container(uid)["lastState"]["terminated"]["exitCode"] == 42
    assert [one.id for one in await device.sandboxes()] == [sandbox.id]
    assert device.status(uid)["phase"] == "Running"
    history = device.reports.by_uid[uid].history
    assert {"Succeeded", "Failed"}.isdisjoint(status["phase"] for status in history)
    told = [
        one
        for status in history
        for one in status["conditions"]
        if one["type"] == "AllContainersRestarting"
    ]
    assert ("True", "RestartAllContainersStarted") in {
        (one["status"], one.get("reason")) for one in told
    }
    assert device.condition(uid, "AllContainersRestarting")["status"] == "False"


async def test_an_init_container_can_make_all_begin_anew_too(device: Device) -> None:
    first = a_sharer("echo first >> /v/order", "first")
    second = a_sharer(FIRST_TIME.format("ran") + " && exit 9; exit 0", "second", **all_anew(9))
    uid = device.apply(
        a_sharer(f"cat /v/order; {OBEYS}"),
        initContainers=[first, second],
        restartPolicy="Never",
        volumes=SHARED,
    )
    await device.until(lambda: device.log(uid) == "first\nfirst" and device.runs(uid))
    assert device.container(uid, "second")["restartCount"] == 1
    assert device.container(uid)["restartCount"] == 0


async def test_a_debug_container_stays_when_all_others_begin_anew(device: Device) -> None:
    source = a_sharer(f"{WAITS}; rm /v/go; exit 42", **all_anew(42))
    uid = device.apply(source, a_script(OBEYS, "other"), restartPolicy="Never", volumes=SHARED)
    await device.until(lambda: device.runs(uid, "other"))
    device.change(uid, ephemeralContainers=[a_script(OBEYS, "debug")])
    await device.until(lambda: device.runs(uid, "debug"))
    device.go_on(uid)
    await device.until(lambda: device.container(uid, "other").get("restartCount") == 1)
    await device.until(lambda: device.runs(uid, "other"))
    assert device.runs(uid, "debug")
    assert device.container(uid, "debug")["restartCount"] == 0


async def test_a_second_crash_waits_ten_seconds_and_the_third_twenty(device: Device) -> None:
    uid = device.apply(a_script("date +%s; exit 3"))
    await device.until(lambda: device.waits_for(uid) == "CrashLoopBackOff")
    assert device.container(uid)["restartCount"] == 1, "the first restart does not wait"
    title = f"{device.desired.wanted[uid].pod['metadata']['name']}_default({uid})"
    words = "back-off {} restarting failed container=main pod=" + title
    assert device.container(uid)["state"]["waiting"]["message"] == words.format("10s")
    event = f"Back-off restarting failed container main in pod {title}"
    assert device.messages(uid, "BackOff") == [event]
    await device.until(
        lambda: (
            device.container(uid)["restartCount"] == 2
            and device.waits_for(uid) == "CrashLoopBackOff"
        ),
        seconds=30,
    )
    assert device.container(uid)["state"]["waiting"]["message"] == words.format("20s")
    second, third = (int(device.log(uid, attempt=attempt)) for attempt in (1, 2))
    assert 10 <= third - second < 20


@pytest.mark.parametrize(
    "change", [{"image": images.APP_V1}, {"resources": {"limits": {"memory": "32Mi"}}}]
)
async def test_another_image_or_size_is_tried_at_once(device: Device, change: Json) -> None:
    crashes = a_script("exit 3")
    uid = device.apply(crashes)
    await device.until(lambda: device.waits_for(uid) == "CrashLoopBackOff")
    device.change(uid, {**crashes, **change})
    await device.until(lambda: device.container(uid)["restartCount"] == 2, seconds=9)
    await device.until(lambda: device.waits_for(uid) == "CrashLoopBackOff")
    message = device.container(uid)["state"]["waiting"]["message"]
    assert message.startswith("back-off 10s "), "counted from the beginning again"


# Ephemeral containers


async def test_an_ephemeral_container_joins_a_running_pod_once(device: Device) -> None:
    uid = device.apply(a_script(OBEYS))
    await device.until(lambda: device.runs(uid))
    before = device.container(uid)["containerID"]
    debugs = a_script("echo here; exit 5", "debug")
    device.change(uid, ephemeralContainers=[debugs])
    await device.until(lambda: bool(device.ended(uid, "debug")))
    await asyncio.sleep(1)
    assert device.log(uid, "debug") == "here"
    assert device.ended(uid, "debug")["exitCode"] == 5
    assert device.container(uid, "debug")["restartCount"] == 0, "it is never restarted"
    assert device.container(uid)["containerID"] == before
    assert device.status(uid)["phase"] == "Running"
    assert device.condition(uid, "Ready")["status"] == "True"


async def test_an_ephemeral_container_has_a_volume_that_no_other_container_uses(
    device: Device,
) -> None:
    """It is made for this one, and the others run meanwhile."""
    uid = device.apply(a_script(OBEYS), volumes=[{"name": "v", "emptyDir": {}}])
    await device.until(lambda: device.obeys(uid))
    assert not device.paths.volume(uid, "v").exists()
    mounts = [{"name": "v", "mountPath": "/v"}]
    debugs = a_script("echo in > /v/file", "debug", volumeMounts=mounts)
    device.change(uid, ephemeralContainers=[debugs])
    await device.until(lambda: device.ended(uid, "debug").get("exitCode") == 0)
    volume = device.paths.volume(uid, "v")
    assert (volume / "file").read_text() == "in\n"
    assert volume.stat().st_mode & 0o777 == 0o777, "made by us; a runtime makes what is missing"
    assert device.container(uid)["restartCount"] == 0 and device.runs(uid)


async def test_an_ephemeral_container_sees_the_processes_of_its_target(device: Device) -> None:
    uid = device.apply(a_script("echo $0; exec sleep 3611"), a_script(OBEYS, "other"))
    await device.until(lambda: device.runs(uid) and device.runs(uid, "other"))
    looks = a_script("tr '\\0' ' ' < /proc/1/cmdline; echo; sleep 3600", "looks")
    apart = a_script("tr '\\0' ' ' < /proc/1/cmdline | cut -c 1-10; sleep 3600", "apart")
    device.change(uid, ephemeralContainers=[{**looks, "targetContainerName": "main"}, apart])
    await device.until(lambda: device.log(uid, "looks").strip() == "sleep 3611")
    await device.until(lambda: device.log(uid, "apart") == "/bin/sh -c")


async def test_an_ephemeral_container_waits_for_a_target_that_does_not_run(device: Device) -> None:
    """One that has ended is the runtime's to refuse; one that never was cannot be named to it."""
    ends = a_script("sleep 1; exit 1", "ends")
    never = {
        **a_script(OBEYS, "never"),
        "image": "kubetide.test/none:1",
        "imagePullPolicy": "Never",
    }
    uid = device.apply(ends, never, a_script(OBEYS, "other"), restartPolicy="Never")
    await device.until(lambda: bool(device.ended(uid, "ends")) and device.runs(uid, "other"))

    def debugs(name: str, target: str) -> Json:
        return {**a_script(OBEYS, name), "targetContainerName": target}

    device.change(
        uid,
        ephemeralContainers=[debugs("dead", "ends"), debugs("early", "never"), debugs("odd", "x")],
    )

    def why(name: str) -> tuple[str, str]:
        waiting = device.container(uid, name).get("state", {}).get("waiting", {})
        return waiting.get("reason", ""), waiting.get("message", "")

    for name, target in (("early", "never"), ("odd", "x")):
        words = f"unable to find target container {target}"
        expected = "CreateContainerConfigError", words
        await device.until(lambda name=name, expected=expected: why(name) == expected)  # type: ignore[misc]
        assert f"Error: {words}" in device.messages(uid, "Failed")
    await device.until(lambda: why("dead")[0] == "CreateContainerError")
    assert "is not running" in why("dead")[1]
    assert f"Error: {why('dead')[1]}" in device.messages(uid, "Failed")
