"""How much containers and whole pods ask for, and what follows from it: sums, QoS, OOM scores.

A pod that asks as a whole is written here as ``spec.resources``; what the kernel makes of it is in
``test_resources_on_containerd.py``.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.pods.resources import amounts, cgroups, quantities
from edgeagent.pods.resources.kernel import container_resources, oom_score_adj, qos_class
from shared.objects import Json
from tests.edge_materials.making import NODE, container, pod

MIB = 1 << 20
BOTH = {"cpu": "100m", "memory": "100Mi"}
HALF = {"cpu": "50m", "memory": "50Mi"}
FREE: Json = {}


def asks(name: str = "main", *, limits: Json | None = None, **requests: str) -> Json:
    return container(name, resources={"limits": limits or {}, "requests": requests})


def whole(*containers: Json, limits: Json | None = None, **requests: str) -> Json:
    """A pod that asks as a whole; a container is given by its resources."""
    named = [container(f"c{at}", resources=one) for at, one in enumerate(containers)]
    of_pod = {kind: one for kind, one in (("limits", limits), ("requests", requests)) if one}
    return pod(*named, resources=of_pod)


def amount_of(**found: str) -> dict[str, Fraction]:
    return {name: quantities.parse(value) for name, value in found.items()}


# Pods that ask by their containers only


def test_a_pod_needs_what_its_hungriest_moment_needs() -> None:
    sidecar = {**asks("side", cpu="100m"), "restartPolicy": "Always"}
    one = pod(
        asks("a", cpu="200m", memory="10Mi"),
        asks("b", cpu="200m"),
        initContainers=[asks("first", cpu="400m"), sidecar, asks("last", cpu="450m")],
        overhead={"cpu": "50m"},
    )
    # last + sidecar = 550m > a + b + sidecar = 500m > first; and the overhead
    assert amounts.pod_requests(one) == {"cpu": Fraction(6, 10), "memory": 10 * MIB}


def test_a_pod_has_a_memory_limit_when_all_its_containers_have() -> None:
    limited = asks("a", limits={"memory": "10Mi"})
    both = pod(limited, asks("b", limits={"memory": "5Mi"}))
    assert amounts.whole_limit(both, "memory") == 15 * MIB
    assert amounts.whole_limit(pod(limited, container("b")), "memory") == 0
    assert amounts.whole_limit(pod(limited, initContainers=[container("i")]), "memory") == 0


def test_overhead_counts_with_limits_only_where_there_is_one() -> None:
    one = pod(asks(limits={"memory": "10Mi"}), overhead={"cpu": "1", "memory": "1Mi"})
    assert amounts.pod_limits(one) == {"memory": 11 * MIB}
    assert amounts.pod_requests(one) == {"cpu": 1, "memory": 11 * MIB}


# Pods that ask as a whole


@pytest.mark.parametrize(
    ("one", "quality", "requests", "limits"),
    [
        (whole(FREE, FREE, limits=BOTH, **BOTH), "Guaranteed", BOTH, BOTH),
        (whole(FREE, FREE, limits=BOTH), "Guaranteed", BOTH, BOTH),
        (whole({"requests": HALF}, FREE, limits=BOTH, **BOTH), "Guaranteed", BOTH, BOTH),
        (whole({"limits": HALF}, FREE, limits=BOTH), "Burstable", HALF, BOTH),
        (whole({"requests": HALF}, FREE, limits=BOTH), "Burstable", HALF, BOTH),
        (whole(FREE, FREE, **BOTH), "Burstable", BOTH, FREE),
        (whole({"limits": HALF}, {"limits": HALF}, **BOTH), "Burstable", BOTH, BOTH),
        (whole({"limits": HALF}, FREE, **BOTH), "Burstable", BOTH, FREE),
        (whole({"limits": HALF}, limits={"cpu": "1"}), "Burstable",
         {"cpu": "50m", "memory": "50Mi"}, {"cpu": "1", "memory": "50Mi"}),
        (whole({"limits": HALF}, FREE, limits={"cpu": "1"}), "Burstable", HALF, {"cpu": "1"}),
        (whole({"limits": BOTH}), "BestEffort", BOTH, BOTH),
        (pod(container(resources={"limits": BOTH})), "Guaranteed", BOTH, BOTH),
    ],
)  # fmt: skip
def test_what_a_pod_names_as_a_whole_stands_in_place_of_its_containers(
    one: Json, quality: str, requests: Json, limits: Json
) -> None:
    """A request that it does not name is that of its containers, or its limit if they have none;
    a limit that it does not name is there when every container has one."""
    assert qos_class(one) == quality
    assert amounts.pod_requests(one) == amount_of(**requests)
    found = {name: amounts.whole_limit(one, name) for name in ("cpu", "memory")}
    assert {name: limit for name, limit in found.items() if limit} == amount_of(**limits)


def test_only_cpu_memory_and_huge_pages_are_of_a_pod_as_a_whole() -> None:
    disk = {"ephemeral-storage": "1Gi"}
    one = whole({"requests": {"ephemeral-storage": "2Gi"}}, limits={**disk, **BOTH}, **disk)
    assert amounts.pod_requests(one)["ephemeral-storage"] == 2 << 30
    assert "ephemeral-storage" not in amounts.pod_limits(one)


def test_overhead_counts_with_what_a_pod_asks_for_as_a_whole() -> None:
    one = whole(FREE, limits=BOTH)
    one["spec"]["overhead"] = {"cpu": "10m", "memory": "1Mi"}
    assert amounts.pod_requests(one) == amount_of(cpu="110m", memory="101Mi")
    assert amounts.whole_limit(one, "memory") == 101 * MIB


def test_init_containers_and_sidecars_are_within_what_the_pod_asks_for() -> None:
    sidecar = {**asks("side", cpu="40m"), "restartPolicy": "Always"}
    one = whole({"requests": {"cpu": "50m"}}, limits={"cpu": "200m"})
    one["spec"]["initContainers"] = [sidecar, asks("init", cpu="60m")]
    assert amounts.pod_requests(one) == amount_of(cpu="100m")
    one["spec"]["resources"]["requests"] = {"cpu": "150m"}
    assert amounts.pod_requests(one) == amount_of(cpu="150m")


def test_a_container_without_a_limit_has_that_of_the_pod() -> None:
    one = whole(FREE, {"limits": {"memory": "10Mi"}}, limits={"cpu": "500m", "memory": "100Mi"})
    free, bound = (container_resources(one, each, NODE) for each in one["spec"]["containers"])
    assert (free.cpu_quota, free.memory_limit_bytes) == (50_000, 100 * MIB)
    assert (bound.cpu_quota, bound.memory_limit_bytes) == (50_000, 10 * MIB)
    assert free.cpu_shares == 512, "a limit without a request is the request"
    one["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "100m"}}
    assert container_resources(one, one["spec"]["containers"][0], NODE).cpu_shares == 102


def test_a_container_may_have_all_huge_pages_of_its_pod_unless_it_names_its_own() -> None:
    name = "hugepages-2Mi"
    device = replace(NODE, allocatable={**NODE.allocatable, name: Fraction(64 * MIB)})
    one = whole(FREE, {"limits": {name: "2Mi"}}, {"limits": {name: "0"}}, limits={name: "8Mi"})
    found = [container_resources(one, each, device) for each in one["spec"]["containers"]]
    assert [each.hugepages for each in found] == [{"2MB": 8 * MIB}, {"2MB": 2 * MIB}, {"2MB": 0}]
    assert amounts.pod_requests(one) == {name: 8 * MIB}, "never more asked for than is limited"


@pytest.mark.parametrize(
    ("version", "files"),
    [
        (1, ["hugetlb/hugetlb.2MB.limit_in_bytes", "hugetlb/hugetlb.2MB.rsvd.limit_in_bytes"]),
        (2, ["hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"]),
    ],
)
def test_huge_pages_of_a_pod_are_limited_as_a_whole(version: int, files: list[str]) -> None:
    name = "hugepages-2Mi"
    device = replace(NODE, cgroup_version=version, allocatable={name: Fraction(64 * MIB)})
    one = whole(FREE, FREE, limits={name: "8Mi"})
    found = cgroups.of_pod(one, device)
    assert {file: found[file] for file in files} == dict.fromkeys(files, str(8 * MIB))
    assert cgroups.of_pod(pod(), device)[files[0]] == "0"
    assert not set(files) & set(cgroups.of_pod(one, NODE)), "of a device that has none"


@pytest.mark.parametrize(
    ("one", "scores"),
    [
        # 2 GiB of 4 as a whole; 1 GiB is left over, half of it for each of the two
        (whole({"requests": {"memory": "1Gi"}}, FREE, memory="2Gi"), [625, 875]),
        (whole(FREE, FREE, memory="2Gi"), [750, 750]),
        (whole({"requests": {"memory": "1Gi"}}, FREE, memory="1Gi"), [750, 999]),
        (whole({"requests": {"memory": "1Gi"}}, FREE, cpu="1"), [750, 999]),
        (whole(FREE, FREE, limits={"memory": "2Gi"}), [750, 750]),
        (whole(FREE, FREE, limits={"cpu": "1", "memory": "2Gi"}), [-997, -997]),
    ],
)
def test_memory_that_no_container_asked_for_protects_all_of_them_alike(
    one: Json, scores: list[int]
) -> None:
    found = [oom_score_adj(one, each, NODE) for each in one["spec"]["containers"]]
    assert found == scores


def test_init_containers_have_their_part_of_what_is_left_over() -> None:
    sidecar = {**container("side"), "restartPolicy": "Always"}
    one = whole({"requests": {"memory": "1Gi"}}, memory="3Gi")
    one["spec"]["initContainers"] = [sidecar]
    assert oom_score_adj(one, one["spec"]["containers"][0], NODE) == 500
    assert oom_score_adj(one, sidecar, NODE) == 500, "as the container that it serves"


AMOUNTS = st.dictionaries(
    st.sampled_from(["cpu", "memory", "hugepages-2Mi"]), st.sampled_from(["0", "2Mi", "64Mi", "1"])
)
SIZES = st.builds(
    lambda requests, limits: {"requests": requests, "limits": limits}, AMOUNTS, AMOUNTS
)


@given(st.lists(SIZES, min_size=1, max_size=3), SIZES)
def test_no_container_has_a_wider_limit_than_its_pod_lends_it(
    containers: list[Json], of_pod: Json
) -> None:
    one = whole(*containers, limits=of_pod["limits"], **of_pod["requests"])
    for each in one["spec"]["containers"]:
        own, has = amounts.of(each, "limits"), amounts.limits(one, each)
        for name in {*own, *has}:
            assert has[name] in (own.get(name), amounts.of_pod(one, "limits").get(name))
            assert not own.get(name) or has[name] == own[name]
        again = {**each, "resources": amounts.given(one, each)}
        assert amounts.given(one, again) == amounts.given(one, each)
    total, named = amounts.pod_requests(one), amounts.of_pod(one, "requests")
    assert {name: total[name] for name in named} == named


@given(st.integers(0, 10**15), st.booleans())
def test_an_amount_is_written_so_that_it_reads_the_same(thousandths: int, binary: bool) -> None:
    amount = Fraction(thousandths, 1000)
    written = quantities.text(amount, binary=binary)
    assert quantities.parse(written) == amount


def test_amounts_are_written_as_the_api_server_writes_them() -> None:
    """Else each report would look like a change."""
    found = amount_of(cpu="1500m", memory="1024Mi")
    assert amounts.as_json(found) == {"cpu": "1500m", "memory": "1Gi"}
    others = {"hugepages-2Mi": "4Mi", "example.com/a": "3"}
    found = amount_of(cpu="2000", memory="1024000", **others)
    assert amounts.as_json(found) == {
        "cpu": "2k", "example.com/a": "3", "hugepages-2Mi": "4Mi", "memory": "1000Ki",
    }  # fmt: skip
    assert amounts.as_json(amount_of(memory="1001")) == {"memory": "1001"}
