"""Who is evicted first, and what is said about it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.housekeeping.deciding import (
    beyond_limits,
    has_storage_limits,
    ranking,
    victim,
    words,
)
from edgeagent.housekeeping.signals import THRESHOLDS, Shortage, met, part_of
from edgeagent.housekeeping.usage import ContainerUse, PodUse, binary
from edgeagent.node.device import Room
from edgeagent.pods.model.specs import CRITICAL_PRIORITY
from shared.objects import Json
from tests.edge_housekeeping.household import a_pod

MIB = 1 << 20


def use(name: str, memory: int, *, request: str = "0", priority: int = 0) -> PodUse:
    pod = a_pod(name, priority=priority, resources={"requests": {"memory": request}})
    return PodUse(f"uid-{name}", pod, {"main": ContainerUse(memory=memory)})


def order(*pods: PodUse) -> list[str]:
    return [one.uid.removeprefix("uid-") for one in ranking("memory", pods)]


def test_pods_beyond_their_request_go_before_all_others() -> None:
    within = use("within", 90 * MIB, request="100Mi", priority=-5)
    beyond = use("beyond", 11 * MIB, request="10Mi", priority=1000)
    assert order(within, beyond) == ["beyond", "within"]


def test_then_the_lower_priority_goes_first() -> None:
    assert order(use("high", 99, priority=10), use("low", 1, priority=1)) == ["low", "high"]


def test_then_who_exceeds_its_request_the_most() -> None:
    much, little = use("much", 30 * MIB, request="10Mi"), use("little", 30 * MIB, request="20Mi")
    assert order(little, much) == ["much", "little"]


def test_critical_and_static_pods_are_never_evicted() -> None:
    critical = use("critical", 99 * MIB, priority=CRITICAL_PRIORITY)
    static = use("static", 99 * MIB)
    static.pod["metadata"]["annotations"] = {"kubernetes.io/config.source": "file"}
    assert order(critical, static) == []
    assert order(critical, static, use("web", 0)) == ["web"]


def test_of_two_disks_the_one_that_is_short_says_who_goes() -> None:
    one, two = use("layers", 0), use("folders", 0)
    layers = PodUse(one.uid, one.pod, {"main": ContainerUse(layer=9 * MIB, inodes=1)})
    in_folders = {"main": ContainerUse(layer=MIB, logs=MIB)}
    folders = PodUse(two.uid, two.pod, in_folders, {"x": 5 * MIB}, inodes=7)

    def first(signal: str, *, apart: bool) -> str:
        threshold = next(one for one in THRESHOLDS if one.signal == signal)
        part = part_of(threshold, apart=apart)
        found = victim(Shortage(threshold, 2, 1), [layers, folders], part)
        return found.uid if found else ""

    assert first("nodefs.available", apart=False) == "uid-layers"
    assert first("nodefs.available", apart=True) == "uid-folders"
    assert first("imagefs.available", apart=True) == "uid-layers"
    assert first("nodefs.inodesFree", apart=False) == "uid-folders"
    assert first("nodefs.inodesFree", apart=True) == "uid-folders"
    assert first("imagefs.inodesFree", apart=True) == "uid-layers"


def test_a_pod_that_asks_as_a_whole_is_judged_as_a_whole() -> None:
    low = use("low", 60 * MIB, request="10Mi")
    low.pod["spec"]["resources"] = {"requests": {"memory": "100Mi"}}
    high = use("high", 60 * MIB, request="100Mi", priority=1)
    high.pod["spec"]["resources"] = {"requests": {"memory": "50Mi"}}
    assert order(low, high) == ["high", "low"]
    (shortage,) = met({"memory.available": Room(1 << 30, 51200)})
    assert words(shortage, high).endswith(
        "Pod high was using 60Mi, request is 50Mi, has larger consumption of memory. "
    )


def test_overhead_counts_only_for_a_pod_that_asks_for_something() -> None:
    nothing, little = use("nothing", 40 * MIB), use("little", 40 * MIB, request="5Mi")
    for one in (nothing, little):
        one.pod["spec"]["overhead"] = {"memory": "50Mi"}
    assert [one.requested("memory") for one in (nothing, little)] == [0, 55 * MIB]
    assert order(little, nothing) == ["nothing", "little"]


def test_a_pod_that_asks_as_a_whole_asks_for_the_disk_by_its_containers() -> None:
    one = use("one", 0)
    one.pod["spec"]["resources"] = {"requests": {"memory": "1Mi"}}
    one.pod["spec"]["containers"][0]["resources"] = {"requests": {"ephemeral-storage": "3Mi"}}
    assert one.requested("ephemeral-storage") == 3 * MIB


pods = st.lists(
    st.tuples(st.integers(0, 200), st.integers(0, 200), st.integers(-3, 3), st.integers(0, 1)).map(
        lambda it: (it[0], it[1], it[2] + it[3] * CRITICAL_PRIORITY)
    )
)


@given(pods)
def test_the_order_is_total_and_holds_between_any_two(drawn: list[tuple[int, int, int]]) -> None:
    every = [
        use(f"p{at}", memory, request=str(request), priority=priority)
        for at, (memory, request, priority) in enumerate(drawn)
    ]
    ranked = ranking("memory", every)
    assert ranked == ranking("memory", reversed(every))
    assert len(ranked) == sum(priority < CRITICAL_PRIORITY for _, _, priority in drawn)
    for first, second in pairwise(ranked):
        over = [one.of("memory") - one.requested("memory") for one in (first, second)]
        exceeds = [one > 0 for one in over]
        assert exceeds[0] >= exceeds[1]
        if exceeds[0] == exceeds[1]:
            priorities = [one.pod["spec"]["priority"] for one in (first, second)]
            assert priorities[0] <= priorities[1]
            if priorities[0] == priorities[1]:
                assert over[0] >= over[1]


def test_the_message_is_a_kubelets() -> None:
    (shortage,) = met({"memory.available": Room(1 << 30, 51200)})
    assert words(shortage, use("web", 30 * MIB, request="10Mi")) == (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Ki. "
        "Container main was using 30Mi, request is 10Mi, has larger consumption of memory. "
    )
    (shortage,) = met({"nodefs.available": Room(1001, 7)})
    assert words(shortage, use("web", 30 * MIB)) == (
        "The node was low on resource: ephemeral-storage. Threshold quantity: 100, available: 7. "
    )
    (shortage,) = met({"nodefs.inodesFree": Room(1000, 7)})
    assert words(shortage, use("web", 30 * MIB)).endswith("available: 7. ")


def test_amounts_of_a_spec_are_told_as_they_are_written_there() -> None:
    (shortage,) = met({"memory.available": Room(1 << 30, 51200)})
    web = use("web", 300 * MIB, request="100M")
    assert words(shortage, web).endswith("was using 300Mi, request is 100M, has larger"
                                         " consumption of memory. ")  # fmt: skip
    web.pod["spec"]["containers"][0]["resources"] = {"limits": {"memory": "200M"}}
    assert "request is 200M, " in words(shortage, web)
    web.pod["spec"]["resources"] = {"requests": {"memory": "150M"}}
    assert "Pod web was using 300Mi, request is 150M, " in words(shortage, web)
    pod = a_storage_pod(limit="100M")
    pod["spec"]["containers"].append(
        {"name": "big", "resources": {"limits": {"ephemeral-storage": "1Mi"}}}
    )
    assert beyond(PodUse("u", pod, volumes={"x": 300 * MIB})).endswith("containers 101048576. ")
    pod["spec"]["containers"][1]["resources"]["limits"]["ephemeral-storage"] = "200M"
    assert beyond(PodUse("u", pod, volumes={"x": 300 * MIB})).endswith("of containers 300M. ")


def test_a_pod_that_asks_as_a_whole_is_told_of_also_within_its_request() -> None:
    (shortage,) = met({"memory.available": Room(1 << 30, 51200)})
    web = use("web", MIB, request="2Mi")
    web.pod["spec"]["resources"] = {"requests": {"memory": "50Mi"}}
    assert words(shortage, web).endswith(
        "50Ki. Pod web was using 1Mi, request is 50Mi, has larger consumption of memory. "
    )


def test_an_ephemeral_container_is_not_blamed() -> None:
    (shortage,) = met({"memory.available": Room(1 << 30, 51200)})
    web = use("web", MIB, request="2Mi")
    web.pod["spec"]["ephemeralContainers"] = [{"name": "debug"}]
    with_debug = PodUse(web.uid, web.pod, {**web.containers, "debug": ContainerUse(memory=MIB)})
    assert words(shortage, with_debug).endswith("available: 50Ki. ")


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0"),
        (1023, "1023"),
        (1024, "1Ki"),
        (1536, "1536"),
        (3 << 30, "3Gi"),
        (100 << 20, "100Mi"),
    ],
)
def test_amounts_are_written_as_kubernetes_writes_them(amount: int, text: str) -> None:
    assert binary(amount) == text


def beyond(use: PodUse, *, apart: bool = False) -> str:
    eviction = beyond_limits(use, apart=apart)
    return eviction.message if eviction else ""


def a_storage_pod(volume: Json | None = None, limit: str = "") -> Json:
    limits = {"ephemeral-storage": limit} if limit else {}
    pod = a_pod(resources={"limits": limits})
    pod["spec"]["volumes"] = [{"name": "x", "emptyDir": volume or {}}]
    return pod


def test_an_emptydir_beyond_its_size_limit_evicts_its_pod() -> None:
    pod = a_storage_pod({"sizeLimit": "1Mi"})
    assert has_storage_limits(pod)
    assert beyond_limits(PodUse("u", pod, volumes={"x": MIB}), apart=False) is None
    eviction = beyond_limits(PodUse("u", pod, volumes={"x": MIB + 1}), apart=False)
    assert eviction is not None
    assert eviction.message == 'Usage of EmptyDir volume "x" exceeds the limit "1Mi". '
    assert not eviction.disruption


def test_the_limits_of_pod_and_container_count_volumes_logs_and_the_writable_layer() -> None:
    pod = a_storage_pod(limit="2Mi")
    half = {"main": ContainerUse(layer=MIB)}
    assert beyond_limits(PodUse("u", pod, half, {"x": MIB}), apart=False) is None
    eviction = beyond_limits(PodUse("u", pod, half, {"x": MIB + 1}), apart=False)
    assert eviction is not None
    assert eviction.message == (
        "Pod ephemeral local storage usage exceeds the total limit of containers 2Mi. "
    )
    pod["spec"]["containers"].append(
        {"name": "big", "resources": {"limits": {"ephemeral-storage": "9Mi"}}}
    )
    eviction = beyond_limits(PodUse("u", pod, {"main": ContainerUse(layer=3 * MIB)}), apart=False)
    assert eviction is not None
    assert eviction.message == ('Container main exceeded its local ephemeral storage limit "2Mi". ')


def test_init_containers_and_sidecars_have_no_limit_of_their_own() -> None:
    pod = a_storage_pod(limit="9Mi")
    limited = {"resources": {"limits": {"ephemeral-storage": "1Mi"}}}
    pod["spec"]["initContainers"] = [{"name": "side", "restartPolicy": "Always", **limited}]
    assert not beyond(PodUse("u", pod, {"side": ContainerUse(layer=3 * MIB)}))


def test_a_limit_of_zero_is_none() -> None:
    pod = a_storage_pod(limit="0")
    assert not beyond(PodUse("u", pod, {"main": ContainerUse(layer=3 * MIB)}))


def test_what_is_on_the_disk_of_the_images_counts_for_the_pod_but_for_no_container() -> None:
    pod = a_storage_pod(limit="2Mi")
    pod["spec"]["containers"].append(
        {"name": "big", "resources": {"limits": {"ephemeral-storage": "2Mi"}}}
    )
    layers = PodUse("u", pod, {"main": ContainerUse(layer=3 * MIB, logs=MIB)})
    assert beyond(layers).startswith("Container main exceeded")
    assert not beyond(layers, apart=True)
    assert beyond(PodUse("u", pod, {"main": ContainerUse(logs=3 * MIB)}), apart=True)
    more = PodUse("u", pod, {"main": ContainerUse(layer=5 * MIB)})
    assert beyond(more, apart=True).startswith("Pod ephemeral local storage usage")


def test_without_limits_nothing_need_be_measured() -> None:
    assert not has_storage_limits(a_storage_pod())
    assert not has_storage_limits(a_storage_pod({"medium": "Memory", "sizeLimit": "1Mi"}))
    assert not has_storage_limits(a_storage_pod({"sizeLimit": "0"}))
    assert has_storage_limits(a_storage_pod(limit="1Gi"))
