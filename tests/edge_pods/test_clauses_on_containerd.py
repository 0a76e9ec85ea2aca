"""Whole pods on a real containerd where what is documented needs the pod's own machine.

What a container sees of its materials is in ``tests/edge_materials``; here it is what a user sees
of a pod that needs several containers, is refused, or waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from edgeagent.pods.resources import cgroups
from shared.objects import Json, ObjectKey
from tests.edge_materials.making import config_map
from tests.edge_pods.device import OBEYS, Device, a_device, a_script
from tests.parts.containerd import Containerd

V2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
MIB = 1024**2


@pytest.fixture
async def device(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Device]:
    async with a_device(containerd, tmp_path) as one:
        yield one


@pytest.fixture
async def small(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Device]:
    """A device that has little, and says so."""
    async with a_device(containerd, tmp_path) as one:
        await one.kill_agent()
        one.node = replace(
            one.node,
            labels={"kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux"},
            allocatable={
                "cpu": Fraction(1),
                "memory": Fraction(64 * MIB),
                "ephemeral-storage": Fraction(10 * MIB),
                "pods": Fraction(2),
            },
        )
        one.start_agent()
        yield one


def asks(**requests: str) -> Json:
    return a_script(OBEYS, resources={"requests": requests})


def where_arch_is(value: str) -> Json:
    expression = {"key": "kubernetes.io/arch", "operator": "In", "values": [value]}
    terms = [{"matchExpressions": [expression]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return {"affinity": {"nodeAffinity": required}}


# Environment


async def test_variables_come_from_a_file_that_an_init_container_wrote(device: Device) -> None:
    volumes = [{"name": "vars", "emptyDir": {}}]
    writes = a_script(
        "printf \"# made at start\\nTOKEN='s3cret'\\nEMPTY=''\\n\" > /vars/env",
        "writes",
        volumeMounts=[{"name": "vars", "mountPath": "/vars"}],
    )

    def key_of(key: str, **more: object) -> Json:
        return {"fileKeyRef": {"volumeName": "vars", "path": "env", "key": key, **more}}

    env = [
        {"name": "GIVEN", "valueFrom": key_of("TOKEN")},
        {"name": "ABSENT", "valueFrom": key_of("NONE", optional=True)},
    ]
    reads = a_script(f'echo "$GIVEN/${{ABSENT-left out}}"; {OBEYS}', env=env)
    uid = device.apply(reads, volumes=volumes, initContainers=[writes])
    await device.until(lambda: device.log(uid) == "s3cret/left out")
    needs = a_script(OBEYS, env=[{"name": "X", "valueFrom": key_of("NONE")}])
    waits = device.apply(needs, volumes=volumes, initContainers=[writes])
    words = 'environment variable key "NONE" not found in file "env"'
    await device.until(
        lambda: device.container(waits).get("state", {}).get("waiting", {}).get("message") == words
    )


async def test_a_pod_that_waits_for_a_config_map_says_so_and_runs_when_it_comes(
    device: Device,
) -> None:
    ref = {"configMapKeyRef": {"name": "late", "key": "level"}}
    env = [{"name": "LEVEL", "valueFrom": ref}]
    by_env = device.apply(a_script(f"echo $LEVEL; {OBEYS}", env=env))
    mounts = [{"name": "c", "mountPath": "/c"}]
    by_volume = device.apply(
        a_script(f"cat /c/level; echo; {OBEYS}", volumeMounts=mounts),
        volumes=[{"name": "c", "configMap": {"name": "late"}}],
    )
    await device.until(lambda: _waiting(device, by_env) == "CreateContainerConfigError")
    assert device.container(by_env)["state"]["waiting"]["message"] == 'configmap "late" not found'
    await device.until(lambda: "FailedMount" in device.reasons(by_volume))
    assert _waiting(device, by_volume) == "ContainerCreating"
    _comes(device, config_map("late", level="debug"))
    for uid in (by_env, by_volume):
        await device.until(lambda uid=uid: device.log(uid) == "debug")  # type: ignore[misc]


async def test_a_pod_that_lacks_a_volume_has_no_sandbox_and_no_address_and_pulls_nothing(
    device: Device,
) -> None:
    mounts = [{"name": "c", "mountPath": "/c"}]
    absent = a_script(OBEYS, image="kubetide.test/absent:1", volumeMounts=mounts)
    uid = device.apply(absent, volumes=[{"name": "c", "configMap": {"name": "late"}}])
    await device.until(lambda: "FailedMount" in device.reasons(uid))
    await asyncio.sleep(1.5)  # Long enough for a sandbox, and for another try.
    assert set(device.reasons(uid)) == {"FailedMount"}
    assert await device.sandboxes() == []
    assert device.condition(uid, "PodReadyToStartContainers")["status"] == "False"
    assert "podIP" not in device.status(uid)
    assert device.container(uid)["state"] == {"waiting": {"reason": "ContainerCreating"}}
    _comes(device, config_map("late", level="debug"))
    await device.until(lambda: _waiting(device, uid) == "ErrImagePull")
    await device.until(lambda: "podIP" in device.status(uid))
    assert device.condition(uid, "PodReadyToStartContainers")["status"] == "True"


def _comes(device: Device, thing: Json) -> None:
    key = ObjectKey.of(thing["kind"], thing)
    device.desired.objects[key] = thing
    device.pods.changed({key})


def _waiting(device: Device, uid: str) -> str:
    return str(device.container(uid).get("state", {}).get("waiting", {}).get("reason", ""))


# Volumes


async def test_an_empty_dir_is_shared_by_containers_and_outlives_their_restarts(
    device: Device,
) -> None:
    mounts = [{"name": "disk", "mountPath": "/v"}, {"name": "memory", "mountPath": "/m"}]
    volumes: list[Json] = [
        {"name": "disk", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
    ]
    counts = "echo x >> /v/starts; echo x >> /m/starts; [ $(wc -l < /v/starts) -gt 1 ] || exit 1"
    reads = "until [ $(cat /v/starts /m/starts 2>/dev/null | wc -l) -ge 4 ]; do sleep 0.1; done"
    uid = device.apply(
        a_script(f"{counts}; {OBEYS}", "counts", volumeMounts=mounts),
        a_script(f"{reads}; echo both; {OBEYS}", "reads", volumeMounts=mounts),
        volumes=volumes,
    )
    await device.until(lambda: device.log(uid, "reads") == "both", seconds=40)
    await device.until(lambda: device.container(uid, "counts")["restartCount"] == 1)


async def test_a_link_that_one_container_planted_does_not_let_another_out(device: Device) -> None:
    """Nor does it harm: the pod says why it waits, without a word about the device's files."""
    plants = a_script(
        "ln -s / /v/evil; mkdir /v/fine", "plants", volumeMounts=[{"name": "v", "mountPath": "/v"}]
    )
    mount = {"name": "v", "mountPath": "/m", "subPath": "evil"}
    uid = device.apply(
        a_script(f"ls /m; {OBEYS}", volumeMounts=[mount]),
        volumes=[{"name": "v", "emptyDir": {}}],
        initContainers=[plants],
    )
    await device.until(lambda: _waiting(device, uid) == "CreateContainerConfigError")
    words = 'failed to prepare subPath for volumeMount "v" of container "main"'
    assert device.container(uid)["state"]["waiting"]["message"] == words
    assert device.log(uid) == ""


async def test_a_host_path_that_is_not_what_it_should_be_is_a_failed_mount(
    device: Device, tmp_path: Path
) -> None:
    path = {"path": str(tmp_path / "absent"), "type": "Directory"}
    mounts = [{"name": "host", "mountPath": "/host"}]
    volumes = [{"name": "host", "hostPath": path}]
    uid = device.apply(a_script(OBEYS, volumeMounts=mounts), volumes=volumes)
    await device.until(lambda: "FailedMount" in device.reasons(uid))
    assert _waiting(device, uid) == "ContainerCreating"
    assert await device.sandboxes() == []
    (tmp_path / "absent").mkdir()
    await device.until(lambda: device.runs(uid))


# Network


async def test_the_status_has_all_addresses_of_the_pod_and_its_host(device: Device) -> None:
    own = device.apply(a_script(OBEYS))
    hosts = device.apply(a_script(OBEYS), hostNetwork=True)
    for uid in (own, hosts):
        await device.until(lambda uid=uid: device.runs(uid))  # type: ignore[misc]
        assert device.status(uid)["hostIP"] == "192.0.2.7"
        assert device.status(uid)["hostIPs"] == [{"ip": "192.0.2.7"}]
        assert device.status(uid)["podIPs"] == [{"ip": device.status(uid)["podIP"]}]
    (sandbox,) = [one for one in await device.sandboxes() if one.uid == own]
    inspected = await device.runtime.inspect_sandbox(sandbox.id)
    assert inspected is not None
    assert device.status(own)["podIP"] == inspected.ips[0]
    assert device.status(hosts)["podIP"] == "192.0.2.7"


# Resources, and what the device refuses


async def test_a_pod_that_does_not_fit_is_failed_and_nothing_of_it_is_made(small: Device) -> None:
    port = [{"containerPort": 80, "hostPort": 18080}]
    first = small.apply({**asks(cpu="600m", memory="40Mi"), "ports": port})
    await small.until(lambda: small.runs(first))
    strict = {"supplementalGroupsPolicy": "Strict"}
    unsafe = {"sysctls": [{"name": "kernel.msgmax", "value": "65536"}]}
    armoured = {"appArmorProfile": {"type": "RuntimeDefault"}}
    refused = {
        small.apply(asks(cpu="500m")): ("OutOfcpu", (
            "Node didn't have enough resource: cpu, requested: 500, used: 600, capacity: 1000"
        )),
        small.apply(asks(memory="30Mi")): ("OutOfmemory", (
            "Node didn't have enough resource: memory, requested: 31457280, used: 41943040,"
            " capacity: 67108864"
        )),
        small.apply(asks(cpu="1m"), resources={"requests": {"cpu": "450m"}}): ("OutOfcpu", (
            "Node didn't have enough resource: cpu, requested: 450, used: 600, capacity: 1000"
        )),
        small.apply(asks(**{"ephemeral-storage": "1Gi"})): ("OutOfephemeral-storage", ""),
        small.apply(asks(**{"hugepages-2Mi": "4Mi"})): ("OutOfhugepages-2Mi", ""),
        small.apply(a_script(OBEYS), **where_arch_is("arm64")): ("NodeAffinity", (
            "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
        )),
        small.apply(a_script(OBEYS), nodeSelector={"kubernetes.io/arch": "arm64"}): (
            "NodeAffinity", ""
        ),
        small.apply(a_script(OBEYS), os={"name": "windows"}): ("PodOSNotSupported", (
            "Failed to admit pod as the OS field doesn't match node OS"
        )),
        small.apply(a_script(OBEYS), nodeSelector={"kubernetes.io/os": "windows"}): (
            "NodeAffinity", ""
        ),
        small.apply(a_script(OBEYS), labels={"kubernetes.io/os": "windows"}): (
            "PodOSSelectorNodeLabelDoesNotMatch", (
            "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label"
        )),
        small.apply(a_script(OBEYS, ports=port)): ("NodePorts", ""),
        small.apply(a_script(OBEYS), securityContext=strict): (
            "SupplementalGroupsPolicyNotSupported",
            "SupplementalGroupsPolicy=Strict is not supported in this node",
        ),
        small.apply(a_script(OBEYS), securityContext=unsafe): (
            "SysctlForbidden", 'forbidden sysctl: "kernel.msgmax" not allowlisted'
        ),
        small.apply(a_script(OBEYS, securityContext=armoured)): (
            "AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host"
        ),
        small.apply(a_script(OBEYS), hostUsers=False, hostPID=True): (
            "UnsupportedPodField", "spec.hostPID: Forbidden: when `hostUsers` is false"
        ),
    }  # fmt: skip
    for uid, (reason, words) in refused.items():
        await small.until(lambda uid=uid: small.status(uid).get("phase") == "Failed")  # type: ignore[misc]
        status = small.status(uid)
        assert status["reason"] == reason
        assert words in status["message"]
        assert small.messages(uid, reason) == [status["message"].removeprefix("Pod was rejected: ")]
    fits = small.apply(asks(cpu="400m", memory="24Mi"), **where_arch_is("amd64"))
    await small.until(lambda: small.runs(fits))
    too_many = small.apply(a_script(OBEYS))
    await small.until(lambda: small.status(too_many).get("reason") == "OutOfpods")
    assert {one.uid for one in await small.sandboxes()} == {first, fits}
    for uid in (first, fits):
        small.delete(uid, grace=5)
        await small.until(lambda uid=uid: small.finished(uid))  # type: ignore[misc]
    again = small.apply(asks(cpu="1"))
    await small.until(lambda: small.runs(again))


async def test_the_status_names_the_qos_class(device: Device) -> None:
    exact = {
        "requests": {"cpu": "50m", "memory": "16Mi"},
        "limits": {"cpu": "50m", "memory": "16Mi"},
    }
    for resources, quality in (
        (exact, "Guaranteed"),
        ({"requests": {"cpu": "1m"}}, "Burstable"),
        ({}, "BestEffort"),
    ):
        uid = device.apply(a_script(OBEYS, resources=resources))
        await device.until(lambda uid=uid: device.runs(uid))  # type: ignore[misc]
        assert device.status(uid)["qosClass"] == quality


async def test_a_pod_with_huge_pages_runs_where_the_device_has_set_some_aside(
    small: Device,
) -> None:
    """Here no controller of the kernel enforces their limit; the runtime goes without."""
    await small.kill_agent()
    room = {**small.node.allocatable, "hugepages-2Mi": Fraction(8 * MIB)}
    small.node = replace(small.node, allocatable=room)
    small.start_agent()
    amounts = {"cpu": "10m", "memory": "8Mi", "hugepages-2Mi": "6Mi"}
    one = a_script(OBEYS, resources={"limits": amounts, "requests": amounts})
    uid = small.apply(one)
    await small.until(lambda: small.runs(uid))
    assert small.container(uid)["resources"]["limits"] == amounts
    second = small.apply(one)
    await small.until(lambda: small.status(second).get("reason") == "OutOfhugepages-2Mi")


async def test_huge_pages_can_be_a_volume(small: Device) -> None:
    """A file system with pages of the size that the pod asks for; mapping any needs some."""
    if not Path("/sys/kernel/mm/hugepages/hugepages-2048kB").is_dir():
        pytest.skip("the kernel has no huge pages of 2 MiB")
    await small.kill_agent()
    small.node = replace(
        small.node, allocatable={**small.node.allocatable, "hugepages-2Mi": Fraction(8 * MIB)}
    )
    small.start_agent()
    shows = f"awk '$2 == \"/huge\" {{print $3, $4}}' /proc/mounts; {OBEYS}"
    amounts = {"cpu": "10m", "memory": "8Mi", "hugepages-2Mi": "6Mi"}
    mounts = [{"name": "huge", "mountPath": "/huge"}]
    one = a_script(
        shows,
        resources={"limits": amounts, "requests": amounts},
        volumeMounts=mounts,
    )
    volumes = [{"name": "huge", "emptyDir": {"medium": "HugePages"}}]
    uid = small.apply(one, volumes=volumes)
    await small.until(lambda: small.log(uid) != "")
    kind, _, options = small.log(uid).partition(" ")
    assert kind == "hugetlbfs"
    assert "pagesize=2M" in options.split(",")
    waits = small.apply(a_script(OBEYS, volumeMounts=mounts), volumes=volumes)
    await small.until(lambda: "FailedMount" in small.reasons(waits))
    (message,) = small.messages(waits, "FailedMount")[:1]
    assert message.endswith("there is no resource request for huge pages")


async def test_a_resize_reaches_the_cgroups_of_container_and_pod(device: Device) -> None:
    """Both ways: a child may never have more than the cgroup that it is in."""
    limits = {"cpu": "100m", "memory": "32Mi"}
    uid = device.apply(a_script(OBEYS, resources={"limits": limits}))
    await device.until(lambda: device.runs(uid))
    pod = device.desired.wanted[uid].pod
    before = device.container(uid)["containerID"]
    path = Path(cgroups.parent(pod, "cgroupfs").lstrip("/"))
    for cpu, memory, quota in (("300m", "64Mi", 30_000), ("50m", "24Mi", 5_000)):
        resized = a_script(OBEYS, resources={"limits": {"cpu": cpu, "memory": memory}})
        device.put({**pod, "spec": {**pod["spec"], "containers": [resized]}})
        amount = int(memory.removesuffix("Mi")) * MIB
        expected = (str(quota), str(amount))
        child = path / before.partition("://")[2]
        await device.until(lambda expected=expected, child=child: _limits(child) == expected)  # type: ignore[misc]
        await device.until(lambda expected=expected: _limits(path) == expected)  # type: ignore[misc]
    assert device.container(uid)["restartCount"] == 0


def _limits(path: Path) -> tuple[str, str]:
    top = Path("/sys/fs/cgroup")
    if V2:
        return (
            (top / path / "cpu.max").read_text().split()[0],
            (top / path / "memory.max").read_text().strip(),
        )
    return (
        (top / "cpu" / path / "cpu.cfs_quota_us").read_text().strip(),
        (top / "memory" / path / "memory.limit_in_bytes").read_text().strip(),
    )
