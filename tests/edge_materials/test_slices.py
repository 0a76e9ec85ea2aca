"""With the cgroup driver systemd, a pod's slice is made with its limits, and goes with the pod.

systemd is played, on a real D-Bus; the cgroups are plain folders. Both are real in
``tests/machine/test_service.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from edgeagent.pods.images.pulling import Images
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.model.paths import PodPaths
from edgeagent.pods.podmaterials import PodMaterials
from edgeagent.pods.resources import cgroups
from edgeagent.pods.resources.cgroup_files import CgroupFiles
from edgeagent.pods.resources.slices import Slices
from edgeagent.pods.volumes.making import Volumes
from edgeagent.runtime.memory import MemoryDevice, MemoryRuntime
from tests.edge_materials.making import NODE, UID, Objects, SteppedClock, container, pod
from tests.parts.dbus import PrivateBus
from tests.parts.systemd1 import Systemd1

WITH_SYSTEMD = replace(NODE, cgroup_driver="systemd", cgroup_version=2)
SLICE = f"kubepods-besteffort-pod{UID.replace('-', '_')}.slice"
SLICE_OF_WHOLE = SLICE.replace("-besteffort", "")
OTHER = SLICE.replace("1b9d6bcd", "2b9d6bcd")
ASKED = container(resources={"requests": {"cpu": "1"}})
WHOLE = container(resources={"limits": {"cpu": "1", "memory": "1Gi"}})

Make = Callable[..., PodMaterials]


@pytest.fixture
def materials(tmp_path: Path, private_bus: PrivateBus) -> Make:
    def make(node: NodeFacts = WITH_SYSTEMD) -> PodMaterials:
        clock, paths = SteppedClock(), PodPaths(tmp_path / "data", tmp_path / "logs")
        return PodMaterials(
            paths=paths,
            volumes=Volumes(paths, clock),
            images=Images(MemoryRuntime(MemoryDevice(clock)), clock),
            sources=Objects(),
            node=node,
            others=lambda: (),
            cgroup_files=CgroupFiles(tmp_path / "cgroup"),
            slices=Slices(private_bus.address),
        )

    return make


@pytest.fixture
def of_pod(tmp_path: Path) -> Path:
    """The pod's cgroup."""
    path = cgroups.parent(pod(), "systemd").lstrip("/")
    folder = tmp_path / "cgroup" / path
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    ("whole", "unit"),
    [
        (pod(), SLICE),
        (pod(ASKED), SLICE.replace("besteffort", "burstable")),
        (pod(WHOLE), SLICE_OF_WHOLE),
    ],
    ids=["BestEffort", "Burstable", "Guaranteed"],
)
def test_a_unit_is_named_as_the_last_part_of_the_cgroup(
    whole: dict[str, object], unit: str
) -> None:
    assert cgroups.unit(whole, "systemd") == unit
    assert cgroups.unit(whole, "cgroupfs") == ""


NO_LIMIT = 2**64 - 1


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (1, {"CPUShares": 1024, "CPUQuotaPerSecUSec": 1_000_000, "MemoryLimit": 1 << 30}),
        (2, {"CPUWeight": 39, "CPUQuotaPerSecUSec": 1_000_000, "MemoryMax": 1 << 30}),
    ],
)
async def test_the_slice_of_a_pod_is_made_with_its_limits_before_its_sandbox(
    materials: Make, systemd1: Systemd1, version: int, expected: dict[str, object]
) -> None:
    node = replace(WITH_SYSTEMD, cgroup_version=version)
    await materials(node).before_sandbox(pod(WHOLE), [].append)
    made = systemd1.properties.pop(SLICE_OF_WHOLE)
    assert expected.items() <= made.items()
    assert made["Wants"] == ["kubepods.slice"]
    assert not made["DefaultDependencies"]
    assert all(made[f"{one}Accounting"] for one in ("CPU", "Memory", "Tasks"))
    await materials(node).before_sandbox(pod(ASKED), [].append)
    burstable = systemd1.properties.pop(SLICE.replace("besteffort", "burstable"))
    assert burstable["Wants"] == ["kubepods-burstable.slice"]
    assert burstable["CPUQuotaPerSecUSec"] == NO_LIMIT
    assert not systemd1.properties, "those above it systemd makes itself"


async def test_a_slice_that_is_there_gets_the_limits(
    materials: Make, systemd1: Systemd1, of_pod: Path
) -> None:
    """The runtime made it, or the pod is resized; what is written there is not put back then."""
    one = materials()
    systemd1.units = {SLICE, SLICE_OF_WHOLE}
    await one.before_sandbox(pod(), [].append)
    assert set(systemd1.properties[SLICE]) == {"CPUWeight", "CPUQuotaPerSecUSec", "MemoryMax"}
    await one.limit_pod(pod(WHOLE), only_wider=True)
    assert set(systemd1.properties) == {SLICE}
    await one.limit_pod(pod(WHOLE))
    assert systemd1.properties[SLICE_OF_WHOLE]["MemoryMax"] == 1 << 30


@pytest.mark.parametrize(
    ("version", "limit", "usage", "name"),
    [
        (1, "memory/{}/memory.limit_in_bytes", "memory/{}/memory.usage_in_bytes", "MemoryLimit"),
        (2, "{}/memory.max", "{}/memory.current", "MemoryMax"),
    ],
)
async def test_no_limit_on_memory_is_told_below_what_is_used(
    materials: Make,
    systemd1: Systemd1,
    tmp_path: Path,
    *,
    version: int,
    limit: str,
    usage: str,
    name: str,
) -> None:
    """The kernel would kill for it: a resize lowered one container's limit, which uses more still,
    and another one has been resized already."""
    one, unit = materials(replace(WITH_SYSTEMD, cgroup_version=version)), SLICE_OF_WHOLE
    path = cgroups.parent(pod(WHOLE), "systemd").lstrip("/")
    file, used = (tmp_path / "cgroup" / one.format(path) for one in (limit, usage))
    file.parent.mkdir(parents=True)
    file.write_text(str(2 << 30))
    used.write_text(str(1 << 30))
    systemd1.units = {unit}
    trouble = await one.limit_pod(pod(WHOLE))
    assert f"({1 << 30}) below current usage" in trouble
    assert name not in systemd1.properties[unit] and file.read_text() == str(2 << 30)
    assert systemd1.properties[unit]["CPUQuotaPerSecUSec"] == 1_000_000, "of all else it is told"
    used.write_text(str((1 << 30) - 1))
    assert await one.limit_pod(pod(WHOLE)) == ""
    assert systemd1.properties[unit][name] == 1 << 30


async def test_of_a_quota_the_slice_knows_whole_percents(
    materials: Make, systemd1: Systemd1
) -> None:
    """The kernel's file is exact, as soon as a container starts."""
    finer = container(resources={"limits": {"cpu": "55m", "memory": "64Mi"}})
    await materials().before_sandbox(pod(finer), [].append)
    assert systemd1.properties[SLICE_OF_WHOLE]["CPUQuotaPerSecUSec"] == 60_000


async def test_a_pod_begins_though_systemd_makes_no_slice(
    materials: Make, systemd1: Systemd1, tmp_path: Path
) -> None:
    systemd1.refuses = True
    with capture_logs() as said:
        await materials().before_sandbox(pod(), [].append)
    assert [line["log_level"] for line in said] == ["warning"]
    assert PodPaths(tmp_path / "data", tmp_path / "logs").log_directory(pod()).is_dir()


async def test_the_unit_of_a_pod_goes_after_its_cgroup_and_no_other(
    materials: Make, systemd1: Systemd1, of_pod: Path, tmp_path: Path
) -> None:
    systemd1.units = {SLICE, OTHER, "kubepods-besteffort.slice", "kubepods.slice"}
    systemd1.cgroups = tmp_path / "cgroup"
    await materials().remove(pod())
    assert systemd1.asked == [(SLICE, "replace")]
    assert not systemd1.in_use
    assert systemd1.units == {OTHER, "kubepods-besteffort.slice", "kubepods.slice"}
    assert not of_pod.exists() and of_pod.parent.exists()


async def test_a_slice_with_something_in_it_is_left_alone_until_it_is_empty(
    materials: Make, systemd1: Systemd1, of_pod: Path
) -> None:
    (of_pod / "cri-containerd-1.scope").mkdir()
    await materials().remove(pod())
    assert systemd1.asked == []
    (of_pod / "cri-containerd-1.scope").rmdir()
    await materials().forget(pod())
    assert systemd1.asked == [(SLICE, "replace")]


async def test_what_a_crash_left_between_cgroup_and_unit_is_made_up_for(
    materials: Make, systemd1: Systemd1, of_pod: Path
) -> None:
    of_pod.rmdir()
    systemd1.units = {SLICE}
    await materials().forget(pod())
    assert not systemd1.units


async def test_where_cgroups_cannot_be_seen_nothing_is_stopped(
    materials: Make, systemd1: Systemd1
) -> None:
    """As in a container that has a cgroup tree of its own."""
    await materials().remove(pod())
    assert systemd1.asked == []


async def test_without_the_driver_systemd_it_is_not_asked(
    materials: Make, systemd1: Systemd1, tmp_path: Path
) -> None:
    folder = tmp_path / "cgroup" / "memory" / "kubepods" / "besteffort" / f"pod{UID}"
    folder.mkdir(parents=True)
    await materials(NODE).remove(pod())
    assert not folder.exists()
    assert systemd1.asked == []


async def test_a_unit_that_is_gone_already_is_nothing_to_speak_of(
    private_bus: PrivateBus, systemd1: Systemd1
) -> None:
    with capture_logs() as said:
        await Slices(private_bus.address).stop(SLICE)
    assert (systemd1.asked, said) == ([(SLICE, "replace")], [])


async def test_that_systemd_refuses_is_said_once_and_harms_no_pod(
    materials: Make, systemd1: Systemd1, of_pod: Path
) -> None:
    systemd1.refuses = True
    one = materials()
    with capture_logs() as said:
        await one.remove(pod())
        await one.forget(pod())
    assert len(systemd1.asked) == 2
    assert [line["log_level"] for line in said] == ["warning"]
    assert "systemd refused: org.freedesktop.DBus.Error.AccessDenied" in said[0]["reason"]
    assert not of_pod.exists()


async def test_without_a_bus_the_cgroup_goes_all_the_same(
    materials: Make, private_bus: PrivateBus, of_pod: Path
) -> None:
    private_bus.stop()
    one = materials()
    with capture_logs() as said:
        await one.remove(pod())
        await one.forget(pod())
    assert not of_pod.exists()
    assert [line["event"] for line in said] == ["systemd does not see to the slices of pods"]


async def test_on_a_machine_without_any_bus_nothing_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DBUS_SYSTEM_BUS_ADDRESS", raising=False)
    monkeypatch.setattr("edgeagent.systembus._SOCKET", Path("/nonexistent"))
    with capture_logs() as said:
        await Slices().stop(SLICE)
    assert said[0]["reason"] == "there is no D-Bus on this machine"
