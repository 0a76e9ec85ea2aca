"""Which pods are kept from eviction, and what is changed in them for it."""

from __future__ import annotations

import pytest

from cloudhub.nodes.tolerating import KEEP_OUT, TAINTS, unbounded
from shared.objects import Json

NOT_READY, UNREACHABLE = TAINTS


def toleration(key: str, seconds: int | None = 300, **more: object) -> Json:
    given = {"key": key, "operator": "Exists", "effect": "NoExecute", **more}
    return given if seconds is None else given | {"tolerationSeconds": seconds}


def pod(*tolerations: Json, labels: Json | None = None) -> Json:
    return {"metadata": {"labels": labels or {}}, "spec": {"tolerations": list(tolerations)}}


FOR_EVER = [toleration(NOT_READY, None), toleration(UNREACHABLE, None)]


def test_the_seconds_that_the_server_gives_every_pod_are_taken_away() -> None:
    given = pod(toleration("edge"), toleration(NOT_READY), toleration(UNREACHABLE))
    assert unbounded(given) == [toleration("edge"), *FOR_EVER]


def test_what_is_missing_is_added() -> None:
    assert unbounded({"metadata": {}, "spec": {}}) == FOR_EVER


@pytest.mark.parametrize(
    "tolerations",
    [
        FOR_EVER,
        [{"operator": "Exists"}],
        [{"operator": "Exists", "effect": "NoExecute"}],
        [toleration(NOT_READY, 60), toleration(UNREACHABLE, 0)],
    ],
)
def test_who_tolerates_it_for_ever_or_for_a_time_of_his_own_is_left_alone(
    tolerations: list[Json],
) -> None:
    assert unbounded(pod(*tolerations)) is None


def test_every_toleration_that_matches_counts_because_kubernetes_takes_the_first() -> None:
    given = pod({"operator": "Exists", "tolerationSeconds": 300}, *FOR_EVER)
    assert unbounded(given) == [{"operator": "Exists"}, *FOR_EVER]


def test_a_toleration_of_another_effect_or_value_does_not_count() -> None:
    other = [
        toleration(UNREACHABLE, effect="NoSchedule", seconds=None),
        {"key": NOT_READY, "operator": "Equal", "value": "x", "effect": "NoExecute"},
    ]
    assert unbounded(pod(*other)) == [*other, *FOR_EVER]


def test_the_label_lets_kubernetes_evict() -> None:
    assert unbounded(pod(labels={KEEP_OUT: "true"})) is None
    assert unbounded(pod(labels={KEEP_OUT: "false"})) == FOR_EVER
