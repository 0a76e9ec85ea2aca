"""A pod's node selector and required node affinity, where a node's labels are known in part."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.pods.admission.nodelabels import labels_of
from shared.node_affinity import fits, keys_named
from shared.objects import Json

KEYS, VALUES = ("zone", "disk", "size"), ("", "a", "b", "4", "05", "1_0")
requirements = st.fixed_dictionaries(
    {
        "key": st.sampled_from(KEYS),
        "operator": st.sampled_from(("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt", "Near")),
        "values": st.lists(st.sampled_from(VALUES), max_size=2),
    }
)
on_fields = st.fixed_dictionaries(
    {
        "key": st.just("metadata.name"),
        "operator": st.sampled_from(("In", "NotIn")),
        "values": st.lists(st.sampled_from(("edge-1", "edge-2")), min_size=1, max_size=1),
    }
)
terms = st.fixed_dictionaries(
    {
        "matchExpressions": st.lists(requirements, max_size=2),
        "matchFields": st.lists(on_fields, max_size=1),
    }
)
selectors = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=2)
labels = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES))


def asking(selector: dict[str, str], terms: list[Json] | None) -> Json:
    rule = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    affinity = {} if terms is None else {"affinity": {"nodeAffinity": rule}}
    return {"spec": {"nodeSelector": selector, **affinity}}


pods = st.builds(asking, selectors, st.none() | st.lists(terms, max_size=3))


def whole(known: dict[str, str]) -> dict[str, str | None]:
    """All of a node's labels: what is not among them is known not to be there."""
    return {key: known.get(key) for key in KEYS}


@given(pods, labels)
def test_with_all_labels_known_a_pod_fits_where_the_scheduler_would_put_it(
    pod: Json, known: dict[str, str]
) -> None:
    assert fits(pod, whole(known), name="edge-1") is scheduled(pod["spec"], known)


def scheduled(spec: Json, known: dict[str, str]) -> bool:
    """The documentation in other words: all of the selector, and any one of the terms whole."""
    affinity = spec.get("affinity", {}).get("nodeAffinity", {})
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    chosen = required is None or any(
        term["matchExpressions"] + term["matchFields"]
        and all(meets(one, known) for one in term["matchExpressions"])
        and all(meets(one, {"metadata.name": "edge-1"}) for one in term["matchFields"])
        for term in required["nodeSelectorTerms"]
    )
    return set(spec["nodeSelector"].items()) <= set(known.items()) and chosen


def meets(one: Json, known: dict[str, str]) -> bool:
    there, values = one["key"] in known, one["values"]
    value = known.get(one["key"], "")
    numbers = {"4": 4, "05": 5}
    both = value in numbers and len(values) == 1 and values[0] in numbers
    return {
        "In": there and value in values,
        "NotIn": not (there and value in values),
        "Exists": there,
        "DoesNotExist": not there,
        "Gt": both and numbers[value] > numbers[values[0]],
        "Lt": both and numbers[value] < numbers[values[0]],
        "Near": False,
    }[one["operator"]]


@given(pods, labels, st.sets(st.sampled_from(KEYS)))
def test_a_label_that_is_not_known_never_refuses_a_pod(
    pod: Json, known: dict[str, str], unknown: set[str]
) -> None:
    """Whoever fits by all labels fits by some of them."""
    some = {key: value for key, value in whole(known).items() if key not in unknown}
    if fits(pod, whole(known), name="edge-1"):
        assert fits(pod, some, name="edge-1")


@given(pods, labels)
def test_the_labels_that_a_pod_names_decide_as_all_labels_do(
    pod: Json, known: dict[str, str]
) -> None:
    named = {key: known.get(key) for key in keys_named(pod)}
    assert fits(pod, named, name="edge-1") is fits(pod, whole(known), name="edge-1")


@pytest.mark.parametrize(
    ("operator", "values", "absent"),
    [
        ("In", ["a"], False),
        ("NotIn", ["a"], True),
        ("Exists", [], False),
        ("DoesNotExist", [], True),
        ("Gt", ["1"], False),
        ("Lt", ["1"], False),
    ],
)
def test_a_label_that_the_node_does_not_have_is_not_one_that_nobody_knows(
    operator: str, values: list[str], absent: bool
) -> None:
    pod = asking(
        {}, [{"matchExpressions": [{"key": "zone", "operator": operator, "values": values}]}]
    )
    assert fits(pod, {"zone": None}, name="edge-1") is absent
    assert fits(pod, {}, name="edge-1")


def test_of_a_told_node_only_labels_of_the_right_form_count() -> None:
    rows: dict[Any, Any] = {"zone": "a", "disk": None, "size": 5, 7: "x", "list": ["a"]}
    assert labels_of({"metadata": {"name": "edge-1", "labels": rows}}) == {
        "zone": "a",
        "disk": None,
    }
    nothing: list[Any] = [None, {}, {"metadata": None}, {"metadata": {"labels": ["zone"]}}]
    assert [labels_of(one) for one in nothing] == [{}] * 4
