"""Cgroups of pods that nobody knows go when they are empty, and nothing else does.

On this machine's own cgroups, of both versions where it has them, each test below one of its own.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgeagent.housekeeping.orphan_cgroups import OrphanCgroups
from edgeagent.housekeeping.orphans import Orphans
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.model.paths import PodPaths
from edgeagent.pods.resources import cgroups
from edgeagent.pods.resources.cgroup_files import CgroupFiles
from edgeagent.pods.resources.slices import Slices
from edgeagent.runtime.memory import MemoryRuntime
from edgeagent.runtime.memory_device import MemoryDevice
from edgeagent.runtime.port import SandboxConfig
from shared.clock import SystemClock
from tests.edge_housekeeping.household import Hands, Pods, at_once
from tests.edge_housekeeping.test_orphans import Listed
from tests.parts.dbus import PrivateBus
from tests.parts.systemd1 import Systemd1

TOP = Path("/sys/fs/cgroup")
LOST = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"
OTHER = LOST.replace("1b9d", "2b9d")
STATIC = "0123456789abcdef0123456789abcdef"
NODE = NodeFacts("edge-1", runtime_version="1.7")
CLASSES: tuple[list[str], ...] = ([], ["burstable"], ["besteffort"])
_numbers = itertools.count()


def hierarchies(version: int) -> list[Path]:
    if version == 1:
        return [one for one in TOP.iterdir() if (one / "cgroup.procs").exists() and one.is_dir()]
    return [one for one in (TOP, TOP / "unified") if (one / "cgroup.controllers").exists()]


class Machine:
    """Below a cgroup of its own; an agent without a database starts on it."""

    def __init__(self, folder: Path, roots: list[Path], node: NodeFacts, bus: str) -> None:
        self.node = node
        self.top = folder / "cgroup"
        self.own = [one / f"kubetide-test-{os.getpid()}-{next(_numbers)}" for one in roots]
        for one in self.own:
            one.mkdir()
        if node.cgroup_version == 1:
            self.top.mkdir()
            for one in self.own:
                (self.top / one.parent.name).symlink_to(one)
        else:
            self.top.symlink_to(self.own[0])
        self.processes: list[subprocess.Popen[bytes]] = []
        self.pods, self.listed = Pods(), Listed()
        self.device = MemoryDevice(SystemClock())
        self.orphans = Orphans(
            MemoryRuntime(self.device),
            pods=self.pods,
            desired=self.listed,
            clock=Hands(),
            paths=PodPaths(folder / "data", folder / "logs"),
            offload=at_once,
            cgroups=OrphanCgroups(
                CgroupFiles(self.top), Slices(bus), node=lambda: self.node, offload=at_once
            ),
        )

    def path(self, uid: str, quality: list[str]) -> str:
        return cgroups.path(["kubepods", *quality, f"pod{uid}"], self.node.cgroup_driver)

    def leave(self, uid: str = LOST, *, quality: list[str] | None = None) -> str:
        """A pod's cgroup, with those of its sandbox and of a container's processes in it."""
        path = self.path(uid, CLASSES[1] if quality is None else quality)
        self.make(f"{path}/sandbox")
        self.make(f"{path}/container/below")
        return path

    def make(self, path: str) -> None:
        for one in self.own:
            (one / path.lstrip("/")).mkdir(parents=True)

    def there(self, path: str) -> list[bool]:
        """In each hierarchy."""
        return [(one / path.lstrip("/")).exists() for one in self.own]

    def begin_in(self, path: str) -> None:
        """A process, in one hierarchy alone."""
        process = subprocess.Popen(["sleep", "600"])
        self.processes.append(process)
        able = next(one for one in self.own if "cpuset" not in str(one))
        (able / path.lstrip("/") / "cgroup.procs").write_text(str(process.pid))

    async def look_twice(self) -> None:
        await self.orphans.clean()
        assert await self.orphans.clean()

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        for one in self.own:
            for where, _, _ in os.walk(one, topdown=False):
                os.rmdir(where)


Make = Callable[..., Machine]


@pytest.fixture(params=[1, 2], ids=["v1", "v2"])
def version(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    if not hierarchies(number) or not os.access(hierarchies(number)[0], os.W_OK):
        pytest.skip(f"this machine has no cgroups of version {number} to write to")
    return number


def made(tmp_path: Path, version: int, driver: str, bus: str) -> Iterator[Machine]:
    node = replace(NODE, cgroup_version=version, cgroup_driver=driver)
    machine = Machine(tmp_path, hierarchies(version), node, bus)
    try:
        yield machine
    finally:
        machine.close()


@pytest.fixture
def machine(tmp_path: Path, version: int) -> Iterator[Machine]:
    yield from made(tmp_path, version, "cgroupfs", "")


@pytest.fixture
def with_systemd(tmp_path: Path, version: int, private_bus: PrivateBus) -> Iterator[Machine]:
    yield from made(tmp_path, version, "systemd", private_bus.address)


@pytest.mark.parametrize("uid", [LOST, STATIC], ids=["of the API", "static"])
@pytest.mark.parametrize("quality", CLASSES, ids=["Guaranteed", "Burstable", "BestEffort"])
async def test_an_empty_cgroup_of_a_pod_that_nobody_knows_goes(
    machine: Machine, quality: list[str], uid: str
) -> None:
    path = machine.leave(uid, quality=quality)
    assert all(machine.there(path))
    await machine.look_twice()
    assert not any(machine.there(path))
    assert all(machine.there(path.rpartition("/")[0])), "those of the classes stay"


async def test_it_goes_only_when_it_was_empty_a_minute_ago_too(machine: Machine) -> None:
    """Whoever makes a pod's cgroup puts something into it some seconds later."""
    path = machine.leave()
    assert not await machine.orphans.clean(), "to be looked at again"
    assert all(machine.there(path))
    machine.begin_in(f"{path}/container/below")
    assert await machine.orphans.clean()
    assert all(machine.there(path))


@pytest.mark.parametrize("where", ["", "/sandbox", "/container/below"])
async def test_a_cgroup_with_a_process_in_or_below_it_is_not_touched_in_any_hierarchy(
    machine: Machine, where: str
) -> None:
    path = machine.leave()
    machine.begin_in(path + where)
    await machine.look_twice()
    assert all(machine.there(f"{path}/sandbox")) and all(machine.there(f"{path}/container/below"))


async def test_what_is_known_to_anybody_stays(machine: Machine) -> None:
    remembered, listed, lost = machine.leave(OTHER), machine.leave(STATIC), machine.leave()
    machine.pods.remembered = {OTHER}
    config = SandboxConfig("web", "default", STATIC, 0, "web", "/logs")
    await MemoryRuntime(machine.device).start_sandbox(config)
    await machine.look_twice()
    assert all(machine.there(f"{remembered}/sandbox")) and all(machine.there(f"{listed}/sandbox"))
    assert not any(machine.there(lost))


async def test_a_pod_that_becomes_known_between_two_looks_stays(machine: Machine) -> None:
    path = machine.leave()
    assert not await machine.orphans.clean()
    machine.pods.remembered = {LOST}
    assert await machine.orphans.clean()
    assert all(machine.there(f"{path}/sandbox"))


@pytest.mark.parametrize("missing", ["list", "memory", "runtime", "driver"])
async def test_without_all_the_evidence_nothing_goes(machine: Machine, missing: str) -> None:
    path = machine.leave()
    if missing == "list":
        machine.listed.complete = False
    elif missing == "memory":
        machine.pods.adopted = False
    elif missing == "runtime":
        machine.device.go_away()
    else:
        machine.node = replace(machine.node, runtime_version="")
    for _ in range(3):
        assert not await machine.orphans.clean()
    assert all(machine.there(f"{path}/sandbox"))


async def test_names_that_no_pod_of_ours_has_are_somebody_elses(machine: Machine) -> None:
    names = [
        *("/kubepods/burstable/podinfo", f"/kubepods/burstable/{LOST}", f"/other/pod{LOST}"),
        *(f"/kubepods/burstable/pod{LOST.upper()}", f"/kubepods/deeper/here/pod{LOST}"),
        f"/kubepods/burstable/pod{LOST.replace('-', '_')}",
        f"/kubepods.slice/kubepods-pod{LOST.replace('-', '_')}.slice",
    ]
    for name in names:
        machine.make(name)
    await machine.look_twice()
    for name in names:
        assert all(machine.there(name)), name


async def test_with_the_driver_systemd_the_slice_goes_after_its_cgroup(
    with_systemd: Machine, systemd1: Systemd1
) -> None:
    machine = with_systemd
    lost, used = machine.leave(LOST), machine.leave(OTHER)
    machine.begin_in(f"{used}/sandbox")
    units = {one.rpartition("/")[2] for one in (lost, used)}
    systemd1.units = {*units, "kubepods.slice", "kubepods-burstable.slice"}
    systemd1.cgroups = machine.own[0]
    await machine.look_twice()
    assert not any(machine.there(lost)) and all(machine.there(f"{used}/container/below"))
    assert systemd1.asked == [(lost.rpartition("/")[2], "replace")]
    assert not systemd1.in_use


async def test_a_slice_goes_though_systemd_has_removed_its_cgroup_already(
    with_systemd: Machine, systemd1: Systemd1
) -> None:
    machine = with_systemd
    lost, known = machine.path(LOST, []), machine.path(OTHER, [])
    machine.make("/kubepods.slice")
    systemd1.units = {one.rpartition("/")[2] for one in (lost, known)}
    machine.pods.remembered = {OTHER}
    await machine.look_twice()
    assert systemd1.units == {known.rpartition("/")[2]}


async def test_where_cgroups_cannot_be_seen_no_slice_is_stopped(
    with_systemd: Machine, systemd1: Systemd1
) -> None:
    systemd1.units = {with_systemd.path(LOST, []).rpartition("/")[2]}
    await with_systemd.look_twice()
    assert systemd1.asked == []


async def test_without_a_bus_the_cgroup_goes_all_the_same(
    with_systemd: Machine, private_bus: PrivateBus
) -> None:
    path = with_systemd.leave()
    private_bus.stop()
    await with_systemd.look_twice()
    assert not any(with_systemd.there(path))
