"""Selectors as predicates: against a slow reading of the same requirement, and on broken text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devcluster.apiserver.selectors import parse_fields, parse_labels
from devcluster.apiserver.status import ApiError

_WORDS = st.from_regex(r"[a-z][a-z0-9]{0,3}", fullmatch=True)
_LABELS = st.dictionaries(_WORDS, _WORDS, max_size=4)


def _obj(labels: dict[str, str]) -> dict[str, object]:
    return {"metadata": {"name": "x", "labels": labels}}


@given(_LABELS, _WORDS, st.sets(_WORDS, min_size=1))
def test_in_and_notin_are_opposites_that_agree_with_sets(
    labels: dict[str, str], key: str, values: set[str]
) -> None:
    listed = ",".join(values)
    inside = parse_labels(f"{key} in ({listed})")(_obj(labels))
    assert inside is (labels.get(key) in values)
    assert parse_labels(f"{key} notin ({listed})")(_obj(labels)) is not inside


@given(_LABELS, _WORDS, _WORDS)
def test_equality_and_existence(labels: dict[str, str], key: str, value: str) -> None:
    obj = _obj(labels)
    assert parse_labels(f"{key}={value}")(obj) is (labels.get(key) == value)
    assert parse_labels(f"{key} != {value}")(obj) is (labels.get(key) != value)
    assert parse_labels(key)(obj) is (key in labels)
    assert parse_labels(f"!{key}")(obj) is (key not in labels)


@given(_LABELS)
def test_every_label_of_an_object_together_selects_it(labels: dict[str, str]) -> None:
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    assert parse_labels(selector)(_obj(labels))


@given(st.text(max_size=20))
def test_any_text_is_a_selector_or_a_refusal(text: str) -> None:
    for parse in (parse_labels, lambda selector: parse_fields(selector, ("a",))):
        try:
            parse(text)(_obj({}))
        except ApiError as error:
            assert error.code == 400


def test_numbers_are_compared_as_numbers() -> None:
    assert parse_labels("n>9")(_obj({"n": "10"}))
    assert not parse_labels("n<9")(_obj({"n": "10"}))
    assert not parse_labels("n>9")(_obj({"n": "many"}))
    assert not parse_labels("n>9")(_obj({}))


def test_fields_are_read_by_path_and_an_absent_one_is_empty() -> None:
    obj = {"metadata": {"name": "x"}, "spec": {"nodeName": "edge-1", "hostNetwork": True}}
    allowed = ("spec.nodeName", "status.phase", "spec.hostNetwork", "metadata.name")
    assert parse_fields("spec.nodeName=edge-1,status.phase!=Failed", allowed)(obj)
    assert parse_fields("status.phase=", allowed)(obj)
    assert parse_fields("spec.hostNetwork=true", allowed)(obj)
    assert not parse_fields("spec.nodeName!=edge-1", allowed)(obj)


def test_a_field_that_is_not_offered_is_refused() -> None:
    with pytest.raises(ApiError, match="field label not supported: spec"):
        parse_fields("spec=x", ("metadata.name",))
