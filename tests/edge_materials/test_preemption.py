"""Which pods make room for a critical one: as few as possible, and of the lower class first."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from edgeagent.pods.admission import preemption, refusals
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.resources import kernel
from shared.objects import Json

NODE = NodeFacts(
    "edge-1", allocatable={"cpu": Fraction(4), "memory": Fraction(4 * 2**30), "pods": Fraction(6)}
)
SYSTEM = 2_000_000_000


def a_pod(
    uid: str, cpu: str = "", memory: str = "", *, exact: bool = False, **spec: object
) -> Json:
    requests = {"cpu": cpu, "memory": memory}
    asked: Json = {"requests": {name: amount for name, amount in requests.items() if amount}}
    if exact:
        asked["limits"] = asked["requests"]
    container = {"name": "main", "image": "app:1", "resources": asked}
    metadata = {"name": uid, "namespace": "default", "uid": uid}
    return {"metadata": metadata, "spec": {"containers": [container], **spec}}


def critical(cpu: str = "", memory: str = "", priority: int = SYSTEM) -> Json:
    return a_pod("critical", cpu, memory, priority=priority)


def in_the_way(pod: Json, *others: Json, leaving: tuple[str, ...] = ()) -> set[str]:
    return preemption.in_the_way(pod, others, leaving, NODE)


def test_nobody_goes_for_a_pod_that_fits_or_is_not_critical() -> None:
    other = a_pod("other", "2")
    assert in_the_way(critical("2"), other) == set()
    assert in_the_way(a_pod("pod", "3", priority=SYSTEM - 1), other) == set()
    assert in_the_way(critical("3"), other) == {"other"}


def test_a_static_pod_is_critical() -> None:
    pod = a_pod("static", "3")
    pod["metadata"]["annotations"] = {"kubernetes.io/config.source": "file"}
    assert in_the_way(pod, a_pod("other", "2")) == {"other"}


def test_the_pod_that_comes_nearest_to_what_is_missing_goes_and_of_two_the_smaller() -> None:
    others = a_pod("small", "500m"), a_pod("fitting", "1"), a_pod("large", "2")
    assert in_the_way(critical("1"), *others) == {"small"}
    assert in_the_way(critical("1500m"), *others) == {"fitting"}
    assert in_the_way(critical("2500m"), *others) == {"large"}


def test_a_burstable_pod_goes_before_a_guaranteed_one() -> None:
    guaranteed = a_pod("guaranteed", "2", "1Gi", exact=True)
    assert kernel.qos_class(guaranteed) == "Guaranteed"
    assert in_the_way(critical("2"), guaranteed, a_pod("burstable", "2")) == {"burstable"}
    both = {"guaranteed", "burstable"}
    assert in_the_way(critical("4"), guaranteed, a_pod("burstable", "2")) == both


def test_a_pod_without_requests_goes_only_for_its_place() -> None:
    idle = [a_pod(f"idle-{number}") for number in range(4)]
    busy = a_pod("busy", "3")
    assert in_the_way(critical("2"), *idle, busy) == {"busy"}
    assert len(in_the_way(critical(), *idle, busy, a_pod("more"))) == 1
    assert "busy" not in in_the_way(critical(), *idle, busy, a_pod("more"))


def test_critical_pods_stay_but_for_one_of_higher_priority() -> None:
    other = a_pod("other", "3", priority=SYSTEM)
    assert in_the_way(critical("2"), other) == set()
    assert in_the_way(critical("2", priority=SYSTEM + 1000), other) == {"other"}


def test_what_is_leaving_anyway_is_waited_for_before_anybody_else_is_sent_away() -> None:
    others = a_pod("leaves", "2"), a_pod("stays", "2")
    assert in_the_way(critical("2"), *others, leaving=("leaves",)) == {"leaves"}
    assert in_the_way(critical("3"), *others, leaving=("leaves",)) == {"leaves", "stays"}


def test_where_nobody_can_make_the_room_nobody_goes_and_the_pod_is_refused() -> None:
    other = a_pod("other", "1")
    assert in_the_way(critical("5"), other) == set()
    refused = preemption.refusal(critical("4500m"), [other], NODE)
    assert refused is not None
    assert refused.reason == "UnexpectedAdmissionError"
    assert refused.message == (
        "Unexpected error while attempting to recover from admission failure: preemption: error"
        " finding a set of pods to preempt: no set of running pods found to reclaim resources:"
        " [(res: cpu, q: 500), ]"
    )


AMOUNTS = st.sampled_from(["", "100m", "1", "1500m", "3"])
SIZES = st.sampled_from(["", "16Mi", "1Gi", "3Gi"])
PRIORITIES = st.sampled_from([None, 0, 1000, SYSTEM, SYSTEM + 1000])


@st.composite
def pods(draw: st.DrawFn, uid: str) -> Json:
    pod = a_pod(uid, draw(AMOUNTS), draw(SIZES), exact=draw(st.booleans()))
    if (priority := draw(PRIORITIES)) is not None:
        pod["spec"]["priority"] = priority
    return pod


OTHERS = st.integers(0, 7).flatmap(lambda most: st.tuples(*(pods(f"p{n}") for n in range(most))))


@given(pods("new"), OTHERS, st.sets(st.sampled_from([f"p{n}" for n in range(7)])))
def test_when_they_are_gone_the_pod_fits_and_none_of_them_may_stay(
    pod: Json, others: tuple[Json, ...], leaving: set[str]
) -> None:
    going = preemption.in_the_way(pod, others, leaving, NODE)
    left = [one for one in others if one["metadata"]["uid"] not in going]
    if going:
        assert not refusals.shortage(pod, left, NODE)
    elif kernel.is_critical(pod) and refusals.shortage(pod, others, NODE):
        stay = [one for one in others if not preemption.preemptable(pod, one)]
        stay = [one for one in stay if one["metadata"]["uid"] not in leaving]
        assert refusals.shortage(pod, stay, NODE), "somebody could have made the room"
    for one in others:
        if one["metadata"]["uid"] in going - leaving:
            assert preemption.preemptable(pod, one)
            assert not preemption.preemptable(one, pod)
    assert preemption.in_the_way(pod, others, leaving | going, NODE) <= going | leaving
