"""The tests of pods on containerd, unchanged, on a kernel with what this machine's may lack.

Cgroup version 2 with all controllers below a real systemd, and AppArmor. Each line here is a test
run in the guest; a skip there is a failure here, because it would show nothing.
"""

from __future__ import annotations

import re

import pytest

from tests.parts.guest import Guest

pytestmark = pytest.mark.machine

MINUTES = 60.0


def passes(guest: Guest, *arguments: str, within: float = 40 * MINUTES) -> str:
    """Runs tests in the guest; returns what they printed."""
    plain = ["-m", "pytest", "-q", "-rs", "--tb=short", "-p", "no:cacheprovider"]
    done = guest.python(*plain, "--timeout", "1200", *arguments, within=within)
    print(done.text)
    assert done.code == 0, done.text[-8000:]
    assert not re.search(r"\d+ (skipped|xfailed)", done.text), done.text[-3000:]
    return done.text


def test_the_guest_has_only_version_2_and_enforces_apparmor(guest: Guest) -> None:
    """Else the tests below would show what the others have shown already."""
    assert guest.sh("findmnt --noheadings --output FSTYPE /sys/fs/cgroup") == "cgroup2"
    controllers = set(guest.sh("cat /sys/fs/cgroup/cgroup.controllers").split())
    assert {"cpuset", "cpu", "io", "memory", "pids"} <= controllers
    assert guest.sh("cat /sys/module/apparmor/parameters/enabled") == "Y"
    assert guest.sh("ps -p 1 -o comm=") == "systemd"


def test_requests_limits_qos_classes_and_oom_scores(guest: Guest) -> None:
    passes(guest, "tests/edge_materials/test_resources_on_containerd.py")


def test_the_cgroup_of_a_pod_whose_sandbox_cannot_start(guest: Guest) -> None:
    passes(guest, "tests/edge_pods/test_pod_cgroups_on_containerd.py")


def test_admission_status_and_resize(guest: Guest) -> None:
    chosen = "fit or qos_class or resize"
    passes(guest, "tests/edge_pods/test_clauses_on_containerd.py", "-k", chosen)
    passes(guest, "tests/edge_pods/test_resize_on_containerd.py")


def test_huge_pages(guest: Guest) -> None:
    """Set aside here, because the guest is ours; nobody else's device is asked for any."""
    guest.sh("echo 16 > /proc/sys/vm/nr_hugepages")
    passes(guest, "tests/edge_pods/test_huge_pages_on_containerd.py")


def test_ends_by_lack_of_memory(guest: Guest) -> None:
    passes(guest, "tests/edge_materials/test_oom_group_on_containerd.py")
    passes(guest, "tests/edge_pods/test_status_on_containerd.py", "-k", "memory")
    passes(guest, "tests/edge_pods/test_stopping_on_containerd.py", "-k", "memory")


def test_what_the_runtime_isolates(guest: Guest) -> None:
    passes(guest, "tests/runtime_contract/test_isolation.py", "-k", "cri")


def test_volumes_in_memory(guest: Guest) -> None:
    passes(guest, "tests/edge_materials/test_volumes_on_containerd.py", "-k", "medium")


def test_measuring_and_eviction(guest: Guest) -> None:
    passes(guest, "tests/edge_housekeeping/test_on_containerd.py")


def test_apparmor_profiles(guest: Guest) -> None:
    passes(guest, "tests/edge_materials/test_apparmor_on_containerd.py")
