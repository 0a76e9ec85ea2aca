"""What a device says about itself, and that it says it only when it changed."""

from __future__ import annotations

import os
import re
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloudhub.nodes.node_status import accepted
from edgeagent import VERSION
from edgeagent.housekeeping.signals import met, rooms_of
from edgeagent.node import device
from edgeagent.node.allocatable import allocatable_amounts
from edgeagent.node.device import Device, Disk, Readings, Room, read_device, read_disk, read_now
from edgeagent.node.facts import node_facts, parse_resolv_conf
from edgeagent.node.reporter import node_status
from edgeagent.runtime.abilities import Handler, RuntimeInfo
from edgeagent.runtime.port import DnsConfig
from edgeagent.settings import Settings
from shared.link import Broker
from shared.topics import Topics

GIB = 1 << 30
DEVICE = Device(
    hostname="pi",
    cpus=4,
    memory=2 * GIB,
    disk=100 * GIB,
    hugepages={"64": 1 << 20, "2048": 63 << 20, "1048576": 0},
    machine_id="m",
    system_uuid="s",
    boot_id="b",
    kernel="6.1",
    os_image="Debian",
    architecture="arm64",
)
WELL = Readings(addresses=("10.0.0.5", "fd00::5"))
CALM = {"MemoryPressure": False, "DiskPressure": False, "PIDPressure": False}


OLD = RuntimeInfo("containerd", "1.6.20")
ABLE = RuntimeInfo(
    "containerd",
    "2.1.0",
    handlers=(Handler("", recursive_readonly=True, user_namespaces=True), Handler("kata")),
    lists_handlers=True,
    strict_groups=True,
)


def status(
    readings: Readings = WELL, pressures: dict[str, bool] = CALM, runtime: RuntimeInfo = OLD
) -> dict[str, Any]:
    return node_status(DEVICE, readings, pressures, node="edge-1", runtime=runtime)


def test_resources_are_what_kubernetes_expects() -> None:
    said = status()
    assert said["capacity"] == {
        "cpu": "4",
        "memory": "2097152Ki",
        "ephemeral-storage": "104857600Ki",
        "pods": "110",
        "hugepages-64Ki": str(1 << 20),
        "hugepages-2Mi": str(63 << 20),
        "hugepages-1Gi": "0",
    }
    assert int(said["allocatable"]["memory"]) == 2 * GIB - (100 << 20) - (64 << 20)
    assert int(said["allocatable"]["ephemeral-storage"]) == 90 * GIB


def test_what_the_runtime_can_is_there_when_it_says_so() -> None:
    assert not {"features", "runtimeHandlers"} & status().keys()
    said = status(runtime=ABLE)
    assert said["nodeInfo"]["containerRuntimeVersion"] == "containerd://2.1.0"
    assert said["features"] == {"supplementalGroupsPolicy": True}
    able = {"recursiveReadOnlyMounts": True, "userNamespaces": True}
    assert said["runtimeHandlers"] == [
        {"name": "", "features": able},
        {"name": "kata", "features": dict.fromkeys(able, False)},
    ]


def test_what_the_agent_can_beyond_an_older_kubelet_is_declared() -> None:
    """Else a scheduler of 1.36 brings no pod that restarts all its containers."""
    assert "RestartAllContainersOnContainerExits" in status()["declaredFeatures"]


def test_the_hub_accepts_every_field_of_it() -> None:
    said = status(runtime=ABLE)
    said["nodeInfo"].pop("kubeProxyVersion")  # Empty: the hub leaves it out.
    assert accepted(said) == said


def test_the_version_is_one_that_kubectl_shows_well() -> None:
    version = status()["nodeInfo"]["kubeletVersion"]
    assert re.fullmatch(r"v1\.\d+\.\d+-kubetide-\d+\.\d+\.\d+", version)
    assert version.endswith(VERSION)
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert f'version = "{VERSION}"' in project


def test_addresses_and_the_host_name_are_there() -> None:
    assert status()["addresses"] == [
        {"type": "InternalIP", "address": "10.0.0.5"},
        {"type": "InternalIP", "address": "fd00::5"},
        {"type": "Hostname", "address": "pi"},
    ]


def test_no_times_are_in_it_so_that_looking_again_changes_nothing() -> None:
    assert status() == status()
    assert "Time" not in str(status())


def test_pressures_are_said_in_the_words_that_people_know() -> None:
    said = {row["type"]: row for row in status()["conditions"]}
    assert said["MemoryPressure"] == {
        "type": "MemoryPressure",
        "status": "False",
        "reason": "KubeletHasSufficientMemory",
        "message": "kubelet has sufficient memory available",
    }
    under = status(pressures={**CALM, "DiskPressure": True})["conditions"]
    assert {row["type"]: row["status"] for row in under}["DiskPressure"] == "True"
    assert "KubeletHasDiskPressure" in str(under)


def test_this_machine_can_be_read(tmp_path: Path) -> None:
    found, now = read_device(tmp_path), read_now(tmp_path)
    assert found.cpus >= 1
    assert found.memory > 1 << 20
    assert found.disk > 0
    assert found.kernel
    assert found.boot_id
    assert found.architecture in ("amd64", "arm64", "arm", "386", "riscv64")
    disk = read_disk(str(tmp_path))
    for room in (now.memory, now.disk, now.inodes, now.pids, disk.space, disk.inodes):
        assert room is not None
        assert 0 < room.available <= room.capacity
    assert now.memory is not None
    assert now.memory.capacity == found.memory


def test_the_cpus_are_the_machines_also_where_the_agent_may_not_use_all(tmp_path: Path) -> None:
    """As by ``CPUAffinity=`` of its unit."""
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(own)})
    try:
        assert read_device(tmp_path).cpus == os.cpu_count()
    finally:
        os.sched_setaffinity(0, own)


def test_a_machine_without_proc_and_sys_is_no_error(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(device, "PROC", tmp_path / "proc")
    monkeypatch.setattr(device, "SYS", tmp_path / "sys")
    found, now = read_device(tmp_path / "gone"), read_now(tmp_path / "gone")
    assert (found.memory, found.boot_id) == (0, "")
    assert found.disk > 0, "of the folder where the data directory will be made"
    assert met(rooms_of(now, Disk())) == (), "not knowing is no shortage"
    assert read_disk(str(tmp_path / "gone")) == Disk()


@pytest.mark.parametrize(
    ("pid_max", "threads_max", "most"),
    [("4194304", "7600", 7600), ("32768", "126000", 32768), ("32768", "", 32768)],
)
def test_processes_are_as_many_as_both_limits_of_the_kernel_allow(
    pid_max: str, threads_max: str, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "PROC", tmp_path)
    (tmp_path / "sys/kernel").mkdir(parents=True)
    (tmp_path / "loadavg").write_text("0.1 0.1 0.1 2/600 4711\n")
    (tmp_path / "sys/kernel/pid_max").write_text(pid_max)
    (tmp_path / "sys/kernel/threads-max").write_text(threads_max)
    assert read_now(tmp_path).pids == Room(most, most - 600)


def test_an_address_that_reaches_nobody_beyond_the_link_is_none_of_the_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Probe(socket.socket):
        def connect(self, _: object) -> None:
            """The way is there."""

        def getsockname(self) -> tuple[str, int]:
            return ("10.0.0.5", 1) if self.family == socket.AF_INET else ("fe80::c035:1", 1)

    monkeypatch.setattr(device.socket, "socket", Probe)
    assert device.own_addresses() == ("10.0.0.5",)


def test_what_could_not_be_read_refuses_nobody() -> None:
    names = {name for name, _ in allocatable_amounts(replace(DEVICE, disk=0, memory=0))}
    assert names.isdisjoint({"memory", "ephemeral-storage"})
    assert {"cpu", "pods"} <= names


@pytest.mark.parametrize(
    ("file", "version", "counts"),
    [
        ("memory/memory.memsw.limit_in_bytes", 1, True),
        ("memory/memory.limit_in_bytes", 1, False),
        ("system.slice/edgeagent.service/memory.swap.max", 2, True),
        ("kubepods/memory.swap.max", 2, True),
        ("memory.swap.max", 2, False),
        ("system.slice/edgeagent.service/memory.max", 2, False),
    ],
)
def test_whether_swap_is_counted_is_seen_by_the_files_of_cgroups(
    tmp_path: Path, monkeypatch: Any, file: str, version: int, counts: bool
) -> None:
    """Of version 2 the agent's own cgroup or any other shows it; the topmost one never has it."""
    monkeypatch.setattr(device, "PROC", tmp_path / "proc")
    monkeypatch.setattr(device, "SYS", tmp_path / "sys")
    write(tmp_path / "sys/fs/cgroup" / file)
    if version == 2:
        write(tmp_path / "sys/fs/cgroup/cgroup.controllers", "memory")
        write(tmp_path / "proc/self/mountinfo", "1 2 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw")
        write(tmp_path / "proc/self/cgroup", "0::/system.slice/edgeagent.service\n")
    found = read_device(tmp_path)
    assert (found.cgroup_version, found.swap_limits) == (version, counts)


def write(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_named_addresses_beat_the_ones_that_are_found(tmp_path: Path) -> None:
    assert read_now(tmp_path, node_ips=("192.0.2.9",)).addresses == ("192.0.2.9",)


def test_the_pods_layer_learns_the_same(tmp_path: Path) -> None:
    settings = Settings(
        "edge-1",
        Broker("b", 1),
        Topics(),
        tmp_path,
        tmp_path,
        "process",
        cluster_dns=("10.96.0.10",),
    )
    handlers = (Handler(), Handler("kata"))
    info = RuntimeInfo(
        "cri-o", "1.30", handlers=handlers, cgroup_driver="systemd", strict_groups=True
    )
    facts = node_facts(settings, DEVICE, WELL, info)
    assert (facts.name, facts.ips) == ("edge-1", WELL.addresses)
    assert (facts.runtime_name, facts.handlers, facts.cgroup_driver) == (
        *("cri-o", handlers),
        "systemd",
    )
    assert facts.allocatable["cpu"] == 4
    assert facts.cluster_dns == ("10.96.0.10",)
    assert facts.strict_groups


def test_of_the_devices_addresses_pods_learn_one_of_each_family(tmp_path: Path) -> None:
    settings = Settings("edge-1", Broker("b", 1), Topics(), tmp_path, tmp_path, "process")
    many = replace(WELL, addresses=("192.0.2.7", "198.51.100.7", "2001:db8::7"))
    assert node_facts(settings, DEVICE, many, RuntimeInfo("c", "1")).ips == (
        *("192.0.2.7", "2001:db8::7"),
    )


def test_resolv_conf_is_read_as_the_resolver_does() -> None:
    text = (
        "# c\nnameserver 1.1.1.1\nnameserver 9.9.9.9 ; x\nsearch a b\ndomain c\noptions ndots:2\n"
    )
    assert parse_resolv_conf(text) == DnsConfig(("1.1.1.1", "9.9.9.9"), ("c",), ("ndots:2",))


def test_a_search_list_without_domains_is_none_and_no_domain_ends_with_a_dot() -> None:
    assert parse_resolv_conf("search .\n").searches == ()
    assert parse_resolv_conf("search a.test. . b.test\n").searches == ("a.test", "b.test")
