"""securityContext of pods and containers, as kernel and processes see it on a real containerd."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgeagent.pods.admission.refusals import SAFE_SYSCTLS
from edgeagent.pods.materials import security
from edgeagent.pods.model.errors import ConfigError, SandboxConfigError
from edgeagent.runtime.abilities import Handler
from shared.errors import KubetideError
from shared.objects import Json
from tests.edge_materials.device import NODE, Answers, Device, a_device, a_pod, seen_by
from tests.parts import images
from tests.parts.containerd import OTHER, Containerd

STATUS = "sed -n 's/^\\(CapEff\\|CapBnd\\|NoNewPrivs\\|Seccomp\\):\\s*/\\1=/p' /proc/self/status"
DEFAULT_CAPABILITIES = 0xA80425FB
"""What containerd gives: CHOWN to SETFCAP, without anything that reaches beyond the container."""
NET_BIND_SERVICE, NET_ADMIN, SYS_TIME, CHOWN = 10, 12, 25, 0


@pytest.fixture
async def device(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Device]:
    async with a_device(containerd, tmp_path) as one:
        yield one


async def status(device: Device, *, spec: Json | None = None, **context: object) -> Answers:
    return await device.answers(STATUS, spec=spec, securityContext=context)


# Who


async def test_the_word_of_the_container_beats_that_of_the_pod(device: Device) -> None:
    pods: Json = {"runAsUser": 1000, "runAsGroup": 2000, "supplementalGroups": [4000, 5000]}
    script = "echo user=$(id -u); echo group=$(id -g); echo groups=$(id -G)"
    found = await device.answers(script, spec={"securityContext": pods})
    assert found == {"user": "1000", "group": "2000", "groups": "2000 4000 5000"}
    own = {"runAsUser": 1001, "runAsGroup": None}
    found = await device.answers(script, spec={"securityContext": pods}, securityContext=own)
    assert found == {"user": "1001", "group": "2000", "groups": "2000 4000 5000"}
    found = await device.answers(script, securityContext={"runAsGroup": 7})
    assert (found["user"], found["group"]) == ("0", "7")


async def test_without_a_user_the_image_says_who_it_is(device: Device) -> None:
    script = "echo $(id -u):$(id -g)"
    assert await device.output(script) == ["0:0"]
    assert await device.output(script, image=images.NUMERIC_USER) == ["1234:1234"]
    assert await device.output(script, image=images.NAMED_USER) == ["1234:1234"]
    pods = {"securityContext": {"runAsUser": 0}}
    assert await device.output("id -u", spec=pods, image=images.NUMERIC_USER) == ["0"]


@pytest.mark.parametrize(
    ("image", "context", "words"),
    [
        (images.BUSYBOX, {}, "container has runAsNonRoot and image will run as root"),
        (images.BUSYBOX, {"runAsUser": 0}, "container's runAsUser breaks non-root policy"),
        (
            images.NAMED_USER,
            {},
            "container has runAsNonRoot and image has non-numeric user \\(app\\), cannot verify"
            " user is non-root",
        ),
        (images.BUSYBOX, {"runAsUser": 5}, ""),
        (images.NUMERIC_USER, {}, ""),
        (images.NAMED_USER, {"runAsUser": 1234}, ""),
        (images.BUSYBOX, {"runAsNonRoot": False}, ""),
    ],
)
async def test_run_as_non_root_refuses_root_and_what_may_be_root(
    device: Device, image: str, context: Json, words: str
) -> None:
    spec = {"securityContext": {"runAsNonRoot": True}}
    whole = a_pod("id -u", spec=spec, image=image, securityContext=context)
    if not words:
        assert (await device.ended(whole)).exit_code == 0
        return
    with pytest.raises(ConfigError, match=words) as raised:
        await device.start(whole)
    assert raised.value.reason == "CreateContainerConfigError"


async def test_groups_of_the_image_are_merged_by_default(device: Device) -> None:
    """/etc/group of the image makes the user a member of one more group."""
    context = {"runAsUser": 1234, "runAsGroup": 2000, "supplementalGroups": [4000]}
    spec = {"securityContext": {**context, "supplementalGroupsPolicy": "Merge"}}
    found = await device.output("id -G", spec=spec, image=images.NAMED_USER)
    assert sorted(found[0].split()) == sorted(["2000", "4000", "5678"])


async def test_strict_groups_are_those_of_the_pod_where_the_runtime_knows_it(
    device: Device,
) -> None:
    if not (await device.runtime.info()).strict_groups:
        pytest.skip(f"needs containerd 2: {OTHER} can name one")
    context = {"runAsUser": 1234, "runAsGroup": 2000, "supplementalGroups": [4000]}
    spec = {"securityContext": {**context, "supplementalGroupsPolicy": "Strict"}}
    device.materials.node_changed(replace(NODE, strict_groups=True))
    assert device.materials.refusal(a_pod("", spec=spec)) is None
    assert await device.output("id -G", spec=spec, image=images.NAMED_USER) == ["2000 4000"]


# What it may do


async def test_capabilities_are_the_default_ones_with_those_added_and_dropped(
    device: Device,
) -> None:
    assert int((await status(device))["CapEff"], 16) == DEFAULT_CAPABILITIES
    for change, expected in (
        ({"add": ["SYS_TIME"]}, DEFAULT_CAPABILITIES | 1 << SYS_TIME),
        ({"drop": ["CHOWN"]}, DEFAULT_CAPABILITIES & ~(1 << CHOWN)),
        ({"drop": ["ALL"]}, 0),
        ({"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}, 1 << NET_BIND_SERVICE),
    ):
        found = await status(device, capabilities=change)
        assert int(found["CapBnd"], 16) == int(found["CapEff"], 16) == expected
    everything = await status(device, capabilities={"add": ["ALL"]})
    assert int(everything["CapEff"], 16) & (1 << NET_ADMIN | 1 << SYS_TIME)


async def test_a_privileged_container_has_all_of_the_device(device: Device) -> None:
    script = f"{STATUS}; echo devices=$(ls /dev | wc -l)"
    usual = await device.answers(script)
    found = await device.answers(script, securityContext={"privileged": True})
    own = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    assert int(found["CapEff"], 16) == int(own["CapBnd"], 16)
    assert found["Seccomp"] == "0"
    assert int(found["devices"]) > int(usual["devices"])


async def test_allow_privilege_escalation_false_sets_no_new_privileges(device: Device) -> None:
    assert (await status(device))["NoNewPrivs"] == "0"
    assert (await status(device, allowPrivilegeEscalation=True))["NoNewPrivs"] == "0"
    assert (await status(device, allowPrivilegeEscalation=False))["NoNewPrivs"] == "1"


async def test_a_read_only_root_leaves_volumes_writable(device: Device) -> None:
    found = await device.answers(
        "echo root=$(touch /x 2>&1); echo volume=$(touch /v/x 2>&1)",
        securityContext={"readOnlyRootFilesystem": True},
        volumeMounts=[{"name": "disk", "mountPath": "/v"}],
        spec={"volumes": [{"name": "disk", "emptyDir": {}}]},
    )
    assert "Read-only file system" in found["root"]
    assert found["volume"] == ""


async def test_proc_is_masked_unless_proc_mount_is_unmasked(device: Device) -> None:
    script = "echo keys=$(wc -c </proc/keys); grep -c ' /proc/' /proc/mounts | sed s/^/masks=/"
    usual = await device.answers(script, securityContext={"procMount": "Default"})
    assert usual["keys"] == "0"
    assert int(usual["masks"]) > 5
    bare = await device.answers(script, securityContext={"procMount": "Unmasked"})
    assert int(bare["keys"]) > 0
    assert bare["masks"] == "0"


async def test_seccomp_profiles_filter_system_calls(
    device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0 = no filter, 2 = filtered. A profile of the device forbids one call for all to see."""
    monkeypatch.setattr(security, "SECCOMP_ROOT", str(tmp_path))
    forbids = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [forbids]}
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "no-mkdir.json").write_text(json.dumps(profile))
    assert (await status(device))["Seccomp"] == "0", "nothing said: as without SeccompDefault"
    for profile, mode in (
        ({"type": "Unconfined"}, "0"),
        ({"type": "RuntimeDefault"}, "2"),
    ):
        assert (await status(device, seccompProfile=profile))["Seccomp"] == mode
        whole_pod = {"securityContext": {"seccompProfile": profile}}
        assert (await status(device, spec=whole_pod))["Seccomp"] == mode
    local = {"type": "Localhost", "localhostProfile": "profiles/no-mkdir.json"}
    found = await device.answers(
        f"{STATUS}; echo mkdir=$(mkdir /x 2>&1)", securityContext={"seccompProfile": local}
    )
    assert found["Seccomp"] == "2"
    assert "Operation not permitted" in found["mkdir"]
    with pytest.raises(KubetideError, match=r"absent\.json"):
        absent = {"type": "Localhost", "localhostProfile": "absent.json"}
        await device.start(a_pod("", securityContext={"seccompProfile": absent}))


async def test_the_process_that_holds_the_sandbox_is_no_better_confined_than_any_other(
    device: Device,
) -> None:
    """It can be reached where processes are shared: who is confined finds it confined."""
    script = "sed -n 's/^\\(Name\\|Seccomp\\):\\s*/\\1=/p' /proc/1/status"
    plain = {"shareProcessNamespace": True}
    assert await device.answers(script, spec=plain) == {"Name": "pause", "Seccomp": "0"}
    asks = {"seccompProfile": {"type": "RuntimeDefault"}}
    found = await device.answers(script, spec=plain, securityContext=asks)
    assert found == {"Name": "pause", "Seccomp": "2"}


async def test_without_apparmor_only_profiles_that_need_none_run(device: Device) -> None:
    """What the runtime cannot enforce is refused at admission, never left out without a word."""
    for context in ({}, {"appArmorProfile": {"type": "Unconfined"}}):
        whole = a_pod("echo ran", securityContext=context)
        assert device.materials.refusal(whole) is None
        assert await device.output("echo ran", securityContext=context) == ["ran"]
    by_field = [
        {"securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}},
        {"securityContext": {"appArmorProfile": {"type": "Localhost", "localhostProfile": "mine"}}},
        {"spec": {"securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}}},
    ]
    by_annotation = a_pod("")
    name = "container.apparmor.security.beta.kubernetes.io/main"
    by_annotation["metadata"]["annotations"] = {name: "runtime/default"}
    for whole in (*(a_pod("", **fields) for fields in by_field), by_annotation):
        refused = device.materials.refusal(whole)
        assert refused is not None and refused.reason == "AppArmor"
        assert refused.message == "Cannot enforce AppArmor: AppArmor is not enabled on the host"


async def test_safe_sysctls_are_set_in_the_pod_only(device: Device) -> None:
    """All of them; a name may have slashes for dots."""
    values = {
        "kernel.shm_rmid_forced": "1",
        "net.ipv4.ip_local_port_range": "40000 40010",
        "net.ipv4.ip_local_reserved_ports": "8080",
        "net.ipv4.ip_unprivileged_port_start": "80",
        "net.ipv4.ping_group_range": "0 7",
        "net.ipv4.tcp_fin_timeout": "17",
        "net.ipv4.tcp_keepalive_intvl": "18",
        "net.ipv4.tcp_keepalive_probes": "7",
        "net.ipv4.tcp_keepalive_time": "70",
        "net.ipv4.tcp_rmem": "4096 7000 70000",
        "net.ipv4.tcp_syncookies": "0",
        "net.ipv4.tcp_wmem": "4096 7000 70000",
    }
    assert values.keys() == SAFE_SYSCTLS
    files = [one.replace(".", "/") for one in values]
    before = [Path("/proc/sys", one).read_text() for one in files]
    script = f"cd /proc/sys; for one in {' '.join(files)}; do echo $(cat $one); done"
    sysctls = [{"name": name, "value": value} for name, value in values.items()]
    sysctls[-1]["name"] = files[-1]
    spec = {"securityContext": {"sysctls": sysctls}}
    assert device.materials.refusal(a_pod(script, spec=spec)) is None
    assert await device.output(script, spec=spec) == list(values.values())
    assert [Path("/proc/sys", one).read_text() for one in files] == before


# What it shares with the device


async def test_namespaces_are_the_pods_own_unless_the_hosts_are_asked_for(device: Device) -> None:
    script = "for one in pid ipc net uts; do echo $one=$(readlink /proc/self/ns/$one); done"
    own = {name: os.readlink(f"/proc/self/ns/{name}") for name in ("pid", "ipc", "net", "uts")}
    apart = await device.answers(script)
    assert not set(apart.values()) & set(own.values())
    spec = {"hostPID": True, "hostIPC": True, "hostNetwork": True}
    shared = await device.answers(script, spec=spec)
    assert shared == own


HANDLERS = replace(NODE, handlers=(Handler(), Handler("runc")))


async def test_a_pod_runs_by_the_handler_that_its_runtime_class_names(device: Device) -> None:
    classes = {"sandboxed": "runc", "runc": "kata", "awaited": ""}
    device.materials.node_changed(replace(HANDLERS, runtime_classes=classes))
    container_id = await device.start(a_pod("echo ran", spec={"runtimeClassName": "sandboxed"}))
    seen = await seen_by(device.runtime, container_id)
    sandbox = await device.runtime.inspect_sandbox(seen.sandbox_id)
    assert sandbox is not None and sandbox.runtime_handler == "runc"
    for name, words in (
        ("runc", 'no runtime for "kata" is configured'),
        ("awaited", 'RuntimeClass "awaited" not found'),
        ("none", 'RuntimeClass "none" not found'),
    ):
        with pytest.raises(SandboxConfigError, match=words) as raised:
            await device.start(a_pod("", spec={"runtimeClassName": name}))
        assert raised.value.event == "FailedCreatePodSandBox"


async def test_a_container_starts_again_by_the_handler_of_its_sandbox(device: Device) -> None:
    """Whatever its RuntimeClass is by now."""
    whole = a_pod("echo ran", spec={"runtimeClassName": "sandboxed"})
    device.materials.node_changed(replace(HANDLERS, runtime_classes={"sandboxed": "runc"}))
    seen = await seen_by(device.runtime, await device.start(whole))
    for classes in ({}, {"sandboxed": "kata"}, {"sandboxed": ""}):
        device.materials.node_changed(replace(HANDLERS, runtime_classes=classes))
        with pytest.raises(SandboxConfigError):
            await device.start(a_pod("", spec={"runtimeClassName": "sandboxed"}))
    again = await seen_by(device.runtime, await device.start_again(whole, seen.sandbox_id))
    assert (again.sandbox_id, again.attempt) == (seen.sandbox_id, 1)


async def test_a_class_that_nobody_tells_of_is_the_handler_of_its_name(device: Device) -> None:
    device.materials.node_changed(HANDLERS)
    assert await device.output("echo ran", spec={"runtimeClassName": "runc"}) == ["ran"]
    with pytest.raises(SandboxConfigError, match='RuntimeClass "kata" not found'):
        await device.start(a_pod("", spec={"runtimeClassName": "kata"}))
