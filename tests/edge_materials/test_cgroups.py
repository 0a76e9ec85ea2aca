"""What cgroups of pods are given, on both versions, and how it is written.

The files are a tree of plain ones here; a real kernel's are in ``test_resources_on_containerd.py``,
of the version that the machine has.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.pods.resources import cgroups, kernel, unit_properties
from edgeagent.pods.resources.cgroup_files import CgroupFiles
from shared.objects import Json
from tests.edge_materials.making import NODE, UID, container, pod

V1 = NODE
V2 = replace(NODE, cgroup_version=2, cgroup_driver="systemd")
LIMITED: Json = {"requests": {"cpu": "250m"}, "limits": {"cpu": "500m", "memory": "64Mi"}}
OTHER = pod(container(resources={"requests": {"cpu": "1"}}), metadata={"uid": "other"})
BOUND = pod(
    container(resources={"requests": {"cpu": "1"}, "limits": {"cpu": "1", "memory": "1Gi"}})
)


def limited(**more: Json) -> Json:
    return pod(container(resources=LIMITED), *(container(n, **f) for n, f in more.items()))


def test_on_version_1_shares_quota_and_memory_have_folders_of_their_own() -> None:
    assert cgroups.settings(limited(), [OTHER, BOUND], V1) == {
        "/kubepods": {"cpu/cpu.shares": "2048"},
        "/kubepods/burstable": {"cpu/cpu.shares": "1280"},
        f"/kubepods/burstable/pod{UID}": {
            "cpu/cpu.shares": "256",
            "cpu/cpu.cfs_period_us": "100000",
            "cpu/cpu.cfs_quota_us": "50000",
            "memory/memory.limit_in_bytes": str(64 * 1024**2),
        },
    }


def test_on_version_2_the_same_is_a_weight_and_a_maximum() -> None:
    leaf = f"kubepods-burstable-pod{UID.replace('-', '_')}.slice"
    assert cgroups.settings(limited(), [OTHER], V2) == {
        "/kubepods.slice": {"cpu.weight": "79"},
        "/kubepods.slice/kubepods-burstable.slice": {"cpu.weight": "49"},
        f"/kubepods.slice/kubepods-burstable.slice/{leaf}": {
            "cpu.weight": "10",
            "cpu.max": "50000 100000",
            "memory.max": str(64 * 1024**2),
        },
    }


@pytest.mark.parametrize(
    ("shares", "weight"), [(2, 1), (1024, 39), (2048, 79), (10240, 391), (262144, 10000)]
)
def test_shares_become_the_weights_that_runtimes_make_of_them(shares: int, weight: int) -> None:
    assert cgroups.weight(shares) == weight


def test_a_pod_with_one_container_without_limits_has_none_as_a_whole() -> None:
    free = {"resources": {"limits": {"memory": "1Mi"}}}
    assert cgroups.of_pod(limited(free=free), V1)["cpu/cpu.cfs_quota_us"] == "-1"
    assert cgroups.of_pod(limited(free=free), V1)["memory/memory.limit_in_bytes"] == str(65 << 20)
    assert cgroups.of_pod(limited(free={}), V2) == {
        "cpu.weight": "10",
        "cpu.max": "max 100000",
        "memory.max": "max",
    }


@pytest.mark.parametrize("amount", ["1e30", "8Ei", "200000000"])
def test_more_than_a_kernel_takes_is_no_limit(amount: str) -> None:
    """Also where limits add up: no number is longer than D-Bus and the runtime take."""
    own = {"resources": {"limits": {"cpu": amount, "memory": "1e30"}}}
    huge = pod(container(**own), container("b", **own), container("c", **own))
    first, second = cgroups.of_pod(huge, V1), cgroups.of_pod(huge, V2)
    assert (first["cpu/cpu.cfs_quota_us"], second["cpu.max"]) == ("-1", "max 100000")
    assert first["memory/memory.limit_in_bytes"] == second["memory.max"] == str(2**63 - 1)
    assert not cgroups.differs(second["memory.max"], "max"), "which is none to the kernel"
    assert dict(unit_properties.limits(second))["CPUQuotaPerSecUSec"] == ("t", 2**64 - 1)
    assert kernel.sandbox_resources(huge).memory_limit_bytes == 2**63 - 1
    assert kernel.sandbox_resources(huge).cpu_quota == 0


def test_best_effort_pods_share_the_least_and_guaranteed_ones_have_no_class() -> None:
    best = cgroups.settings(pod(container()), [OTHER], V1)
    assert best["/kubepods/besteffort"] == {"cpu/cpu.shares": "2"}
    assert best[f"/kubepods/besteffort/pod{UID}"]["cpu/cpu.shares"] == "2"
    assert list(cgroups.settings(BOUND, [OTHER], V1)) == ["/kubepods", f"/kubepods/pod{UID}"]


def test_a_burstable_pod_that_goes_gives_its_share_back() -> None:
    burstable = "/kubepods/burstable"
    assert cgroups.left_behind(limited(), [OTHER], V1) == {burstable: {"cpu/cpu.shares": "1024"}}
    assert cgroups.left_behind(limited(), [], V1) == {burstable: {"cpu/cpu.shares": "2"}}
    assert cgroups.left_behind(BOUND, [OTHER], V1) == {}


def test_what_the_device_has_is_not_guessed() -> None:
    assert "/kubepods" not in cgroups.settings(pod(), [], replace(V1, allocatable={}))


PATH = "/kubepods/pod1"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Version 2: one folder with all files."""
    folder = tmp_path / PATH.lstrip("/")
    folder.mkdir(parents=True)
    (folder / "cpu.max").write_text("max 100000\n")
    (folder / "memory.max").write_text("1048576\n")
    return tmp_path


def written(tree: Path, name: str) -> str:
    return (tree / PATH.lstrip("/") / name).read_text().strip()


def a_hierarchy(top: Path, *below: str, has: str = "") -> Path:
    """Folders as the kernel shows them; on version 2 with what each has of controllers."""
    for folder in (top, *(top / one for one in below)):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup.procs").touch()
        if has:
            (folder / "cgroup.controllers").write_text(has)
            (folder / "cgroup.subtree_control").touch()
    return top


BURSTABLE_POD = f"/kubepods/burstable/pod{UID}"


def test_on_version_1_the_hierarchies_that_limit_a_pod_get_its_cgroup(tmp_path: Path) -> None:
    for controller in ("cpu", "memory", "pids"):
        a_hierarchy(tmp_path / controller)
    wanted = cgroups.settings(limited(), [], V1)
    for _ in range(2):
        assert CgroupFiles(tmp_path).ensure(BURSTABLE_POD, wanted) == ""
    made = sorted(str(one.relative_to(tmp_path)) for one in tmp_path.rglob(f"pod{UID}"))
    assert made == [f"{controller}{BURSTABLE_POD}" for controller in ("cpu", "memory")]


def test_where_no_cgroups_are_mounted_no_folder_is_made(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    wanted = cgroups.settings(limited(), [], V1)
    assert CgroupFiles(tmp_path).ensure(BURSTABLE_POD, wanted) == ""
    assert list(tmp_path.rglob("*")) == [tmp_path / "memory"]


def test_on_version_2_each_cgroup_above_a_pods_hands_down_what_limits_it(tmp_path: Path) -> None:
    top = a_hierarchy(tmp_path, "kubepods", has="cpuset cpu io memory pids")
    (top / "kubepods" / "cgroup.subtree_control").write_text("cpu io")
    wanted = cgroups.settings(limited(), [], replace(V2, cgroup_driver="cgroupfs"))
    CgroupFiles(top).ensure(BURSTABLE_POD, wanted)
    assert (top / "cgroup.subtree_control").read_text() == "+cpu +memory"
    assert (top / "kubepods" / "cgroup.subtree_control").read_text() == "+memory", "it lacked"
    assert (top / BURSTABLE_POD.lstrip("/")).is_dir()


def test_a_cgroup_that_cannot_be_made_is_told_and_the_others_are(tmp_path: Path) -> None:
    for controller in ("cpu", "memory"):
        a_hierarchy(tmp_path / controller)
    (tmp_path / "cpu" / "kubepods").touch()
    wanted = cgroups.settings(limited(), [], V1)
    assert "Not a directory" in CgroupFiles(tmp_path).ensure(BURSTABLE_POD, wanted)
    assert (tmp_path / "memory" / BURSTABLE_POD.lstrip("/")).is_dir()


def test_no_limit_is_not_written_where_the_kernel_shows_none(tree: Path) -> None:
    file = tree / PATH.lstrip("/") / "memory.max"
    file.write_text("9223372036854771712")
    CgroupFiles(tree).apply({PATH: {"memory.max": "-1"}})
    assert written(tree, "memory.max") == "9223372036854771712"


def test_only_what_differs_is_written_and_only_where_a_cgroup_is(tree: Path) -> None:
    files = CgroupFiles(tree)
    (tree / PATH.lstrip("/") / "memory.max").chmod(0o444)
    files.apply({PATH: {"cpu.max": "50000 100000", "memory.max": "1048576"}})
    files.apply({"/kubepods/pod2": {"cpu.max": "1"}, PATH: {"cpu.weight": "5"}})
    assert written(tree, "cpu.max") == "50000 100000"
    assert sorted(one.name for one in (tree / "kubepods").rglob("*")) == [
        *("cpu.max", "memory.max", "pod1")
    ]


def test_before_containers_grow_nothing_shrinks(tree: Path) -> None:
    files = CgroupFiles(tree)
    wanted = {PATH: {"cpu.max": "50000 100000", "memory.max": "2097152"}}
    files.apply(wanted, only_wider=True)
    assert (written(tree, "cpu.max"), written(tree, "memory.max")) == ("max 100000", "2097152")
    files.apply(wanted)
    assert written(tree, "cpu.max") == "50000 100000"
    files.apply({PATH: {"memory.max": "max"}}, only_wider=True)
    assert written(tree, "memory.max") == "max"


@pytest.mark.parametrize(
    ("limit", "usage"),
    [("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")],
)
def test_no_limit_on_memory_is_set_below_what_is_used(tree: Path, limit: str, usage: str) -> None:
    """The kernel would kill for it. Whoever resizes has looked, but a container of the same pod may
    be resized or started meanwhile."""
    folder, files = tree / PATH.lstrip("/"), CgroupFiles(tree)
    (folder / limit).write_text("2097152")
    (folder / usage).write_text("1572864\n")
    words = f"attempting to set {limit} (1048576) below current usage (1572864)"
    assert files.apply({PATH: {limit: "1048576"}}) == words
    assert written(tree, limit) == "2097152"
    assert files.apply({PATH: {limit: "1572865"}}) == ""
    assert files.apply({PATH: {limit: "4194304"}}) == ""
    assert written(tree, limit) == "4194304"
    assert files.apply({PATH: {limit: "max"}}) == ""


def test_what_the_kernel_does_not_take_harms_nobody(tree: Path) -> None:
    (tree / PATH.lstrip("/") / "pids.max").mkdir()
    CgroupFiles(tree).apply({PATH: {"pids.max": "1", "memory.max": "2"}})
    assert written(tree, "memory.max") == "2"


def test_a_cgroup_goes_when_it_is_empty(tree: Path) -> None:
    files = CgroupFiles(tree)
    files.remove(PATH, version=2)
    assert (tree / PATH.lstrip("/")).exists(), "it has something in it"
    for file in (tree / PATH.lstrip("/")).iterdir():
        file.unlink()
    files.remove(PATH, version=2)
    assert not (tree / PATH.lstrip("/")).exists()
    files.remove(PATH, version=2)
    for controller in ("cpu", "memory"):
        (tree / controller / PATH.lstrip("/")).mkdir(parents=True)
    files.remove(PATH, version=1)
    assert not list(tree.glob("*/kubepods/pod1"))


UIDS = st.uuids().map(str) | st.uuids().map(lambda one: one.hex)
WHOLES = st.sampled_from([pod(container()), limited(), BOUND])


@given(UIDS, WHOLES, st.sampled_from(["cgroupfs", "systemd"]))
def test_a_cgroup_tells_whose_it_is(uid: str, whole: Json, driver: str) -> None:
    path = cgroups.parent({**whole, "metadata": {**whole["metadata"], "uid": uid}}, driver)
    assert cgroups.uid_in(path, driver) == uid
    other = {"cgroupfs": "systemd", "systemd": "cgroupfs"}[driver]
    assert cgroups.uid_in(path, other) == ""
    assert path.rpartition("/")[0] in cgroups.places(driver)


@given(st.text(), st.sampled_from(["cgroupfs", "systemd"]))
def test_of_any_other_name_it_is_nobodys(name: str, driver: str) -> None:
    for place in cgroups.places(driver):
        assert cgroups.uid_in(f"{place}/{name}", driver) == ""


def test_what_is_no_cgroup_may_have_processes(tree: Path) -> None:
    files = CgroupFiles(tree)
    assert files.in_use(PATH, version=2), "it has no list of them"
    (tree / PATH.lstrip("/") / "cgroup.procs").touch()
    assert not files.in_use(PATH, version=2)
    (tree / PATH.lstrip("/") / "below").mkdir()
    assert files.in_use(PATH, version=2)
    assert not files.in_use("/kubepods/pod2", version=2), "it is not there"
    assert files.in_use("/nowhere/pod1", version=2), "nothing can be seen of it"
    assert not files.remove_empty(PATH, version=2)
    assert (tree / PATH.lstrip("/") / "below").exists()
