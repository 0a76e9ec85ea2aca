"""Requests and limits, QoS classes and the OOM score."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.pods.resources import cgroups
from edgeagent.pods.resources.kernel import (
    container_resources,
    oom_score_adj,
    qos_class,
)
from edgeagent.runtime.limits import Resources
from shared.objects import Json
from tests.edge_materials.making import NODE, UID, container, pod


def asking(name: str = "main", *, limits: Json | None = None, **requests: str) -> Json:
    return container(name, resources={"limits": limits or {}, "requests": requests})


def given_to(one: Json, *, version: int = 1) -> Resources:
    return container_resources(pod(one), one, replace(NODE, cgroup_version=version))


def test_a_cpu_limit_becomes_a_quota_of_each_period() -> None:
    found = given_to(asking(limits={"cpu": "1500m"}))
    assert (found.cpu_period, found.cpu_quota) == (100_000, 150_000)
    assert given_to(asking(limits={"cpu": "1m"})).cpu_quota == 1000  # the kernel's least
    assert given_to(container()).cpu_quota == 0


def test_a_cpu_request_becomes_shares() -> None:
    assert given_to(asking(cpu="500m")).cpu_shares == 512
    assert given_to(asking(limits={"cpu": "2"})).cpu_shares == 2048  # the limit is the request
    assert given_to(container()).cpu_shares == 2
    assert given_to(asking(cpu="100000")).cpu_shares == 262_144


def test_a_memory_limit_is_in_bytes() -> None:
    assert given_to(asking(limits={"memory": "64Mi"})).memory_limit_bytes == 64 * 1024**2


def test_a_container_gets_no_huge_pages_but_those_of_its_limit() -> None:
    sizes = {"hugepages-2Mi": Fraction(16 << 20), "hugepages-64Ki": Fraction(1 << 20)}
    none = {"hugepages-1Gi": Fraction(0)}
    device = replace(NODE, allocatable={"cpu": Fraction(4), **sizes, **none})
    asks, bare = asking(limits={"hugepages-2Mi": "4Mi"}), container()
    assert container_resources(pod(asks), asks, device).hugepages == {"2MB": 4 << 20, "64KB": 0}
    assert container_resources(pod(bare), bare, device).hugepages == {"2MB": 0, "64KB": 0}
    assert container_resources(pod(asks), asks, NODE).hugepages == {}


def test_on_cgroup_v2_the_whole_container_is_killed_when_memory_is_out() -> None:
    assert given_to(container(), version=2).unified == {"memory.oom.group": "1"}
    assert given_to(container(), version=1).unified == {}


def test_a_pod_does_not_swap_where_the_kernel_can_see_to_it() -> None:
    limited, bare = asking(limits={"memory": "64Mi"}), container()

    def swap(one: Json, version: int, *, counts: bool = True) -> tuple[int, str]:
        node = replace(NODE, cgroup_version=version, swap_limits=counts)
        found = container_resources(pod(one), one, node)
        return found.memory_swap_limit_bytes, found.unified.get("memory.swap.max", "")

    assert swap(limited, 2) == swap(bare, 2) == (0, "0")
    assert swap(limited, 1) == (64 << 20, "")
    assert swap(bare, 1) == (0, ""), "there is no limit to set it to"
    for version in (1, 2):
        assert swap(limited, version, counts=False) == (0, ""), "the runtime would refuse it"


GUARANTEED = {"cpu": "1", "memory": "1Gi"}


@pytest.mark.parametrize(
    ("containers", "quality"),
    [
        ([container()], "BestEffort"),
        ([asking(limits=GUARANTEED)], "Guaranteed"),
        ([asking(limits=GUARANTEED, cpu="1000m", memory="1024Mi")], "Guaranteed"),
        ([asking(limits=GUARANTEED, cpu="500m")], "Burstable"),
        ([asking(limits={"cpu": "1"})], "Burstable"),
        ([asking(memory="1Gi")], "Burstable"),
        ([asking(limits=GUARANTEED), container("other")], "Burstable"),
        ([asking(**{"ephemeral-storage": "1Gi"})], "BestEffort"),
    ],
)
def test_the_qos_class_follows_from_cpu_and_memory(containers: list[Json], quality: str) -> None:
    assert qos_class(pod(*containers)) == quality


def test_an_init_container_counts_for_the_qos_class() -> None:
    assert qos_class(pod(asking(limits=GUARANTEED), initContainers=[container("i")])) == "Burstable"


@pytest.mark.parametrize(
    ("one", "score"),
    [
        (asking(limits=GUARANTEED), -997),
        (container(), 1000),
        (asking(memory="1Gi"), 750),  # a quarter of the node
        (asking(cpu="1"), 999),
        (asking(memory="4Gi"), 3),
        (asking(memory="8Gi"), 3),
    ],
)
def test_the_oom_score_is_the_share_of_memory_asked_for(one: Json, score: int) -> None:
    assert oom_score_adj(pod(one), one, NODE) == score


def test_a_pod_that_is_critical_for_the_node_is_killed_last() -> None:
    """One that is so for the cluster, or static, goes by its class."""
    one = container()
    assert oom_score_adj(pod(one, priority=2_000_001_000), one, NODE) == -997
    assert oom_score_adj(pod(one, priority=2_000_000_000), one, NODE) == 1000
    static = pod(one, metadata={"annotations": {"kubernetes.io/config.source": "file"}})
    assert oom_score_adj(static, one, NODE) == 1000


def test_a_sidecar_is_not_killed_before_the_containers_it_serves() -> None:
    sidecar = {**container("s"), "restartPolicy": "Always"}
    whole = pod(asking(memory="1Gi"), initContainers=[sidecar])
    assert oom_score_adj(whole, sidecar, NODE) == 750


@given(st.integers(1, 10**7), st.integers(1, 10**7))
def test_who_asks_for_more_memory_is_killed_later(one: int, other: int) -> None:
    scores = []
    for amount in sorted((one, other)):
        asker = asking(memory=f"{amount}Ki")
        scores.append(oom_score_adj(pod(asker), asker, NODE))
    assert 999 >= scores[0] >= scores[1] >= 3


def test_cgroups_hang_where_a_kubelet_hangs_them() -> None:
    best, guaranteed = pod(container()), pod(asking(limits=GUARANTEED))
    assert cgroups.parent(best, "cgroupfs") == f"/kubepods/besteffort/pod{UID}"
    assert cgroups.parent(guaranteed, "cgroupfs") == f"/kubepods/pod{UID}"
    leaf = f"kubepods-besteffort-pod{UID.replace('-', '_')}.slice"
    assert cgroups.parent(best, "systemd") == (f"/kubepods.slice/kubepods-besteffort.slice/{leaf}")
