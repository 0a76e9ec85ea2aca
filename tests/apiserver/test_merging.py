"""Patches as functions: laws that hold for every object, and the directives one by one."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devcluster.apiserver.patching import json_patch, merge_patch
from devcluster.apiserver.status import ApiError
from devcluster.apiserver.strategic import strategic_merge

_KEYS = st.sampled_from(["a", "b", "c", "d"])
_SCALARS = st.integers(0, 3) | st.sampled_from(["x", "y"]) | st.booleans()
_OBJECTS = st.dictionaries(
    _KEYS, st.recursive(_SCALARS, lambda inner: st.dictionaries(_KEYS, inner, max_size=3))
)
_NULLABLE = st.dictionaries(
    _KEYS, st.recursive(_SCALARS | st.none(), lambda part: st.dictionaries(_KEYS, part, max_size=3))
)


@given(_OBJECTS, _NULLABLE)
def test_a_merge_patch_applied_twice_is_applied_once(original: Any, patch: Any) -> None:
    once = merge_patch(original, patch)
    assert merge_patch(once, patch) == once


@given(_OBJECTS, _NULLABLE)
def test_on_plain_maps_a_strategic_patch_is_a_merge_patch(original: Any, patch: Any) -> None:
    assert strategic_merge(original, patch, "") == merge_patch(original, patch)


@given(_OBJECTS, _NULLABLE)
def test_a_patch_changes_nothing_that_it_was_given(original: Any, patch: Any) -> None:
    before = deepcopy((original, patch))
    merge_patch(original, patch)
    strategic_merge(original, patch, "")
    assert (original, patch) == before


_CONTAINERS = st.lists(
    st.fixed_dictionaries({"name": _KEYS, "image": st.sampled_from(["1", "2"])}),
    unique_by=lambda container: container["name"],
)


@given(_CONTAINERS, _CONTAINERS)
def test_containers_are_merged_by_name_in_their_order(before: Any, patch: Any) -> None:
    merged = strategic_merge({"containers": before}, {"containers": patch}, "V1PodSpec")
    images = {part["name"]: part["image"] for part in [*before, *patch]}
    assert {part["name"]: part["image"] for part in merged["containers"]} == images
    names = [part["name"] for part in merged["containers"]]
    assert names[: len(before)] == [part["name"] for part in before]


@given(_CONTAINERS, st.permutations(["a", "b", "c", "d"]))
def test_the_element_order_is_followed(before: Any, order: list[str]) -> None:
    patch = {"$setElementOrder/containers": [{"name": name} for name in order]}
    merged = strategic_merge({"containers": before}, patch, "V1PodSpec")
    names = [part["name"] for part in merged["containers"]]
    assert names == sorted((part["name"] for part in before), key=order.index)


def test_what_the_order_does_not_name_keeps_its_place() -> None:
    before = [{"name": name} for name in "abc"]
    patch = {"$setElementOrder/containers": [{"name": "c"}, {"name": "b"}]}
    merged = strategic_merge({"containers": before}, patch, "V1PodSpec")
    assert [part["name"] for part in merged["containers"]] == ["a", "c", "b"]


def test_a_keyed_item_can_be_deleted_and_the_list_replaced() -> None:
    spec = {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}
    drop = {"containers": [{"name": "a", "$patch": "delete"}]}
    assert strategic_merge(spec, drop, "V1PodSpec")["containers"] == spec["containers"][1:]
    replace = {"containers": [{"$patch": "replace"}, {"name": "c", "image": "2"}]}
    assert strategic_merge(spec, replace, "V1PodSpec") == {"containers": replace["containers"][1:]}


def test_retained_keys_drop_the_others() -> None:
    before = {"volumes": [{"name": "v", "emptyDir": {}}]}
    source = {"name": "v", "hostPath": {"path": "/x"}, "$retainKeys": ["name", "hostPath"]}
    merged = strategic_merge(before, {"volumes": [source]}, "V1PodSpec")
    assert merged == {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}


def test_a_map_can_be_replaced_or_deleted() -> None:
    before = {"labels": {"a": "1"}, "annotations": {"a": "1"}}
    patch = {"labels": {"b": "2", "$patch": "replace"}, "annotations": {"$patch": "delete"}}
    assert strategic_merge(before, patch, "V1ObjectMeta") == {"labels": {"b": "2"}}


def test_a_list_without_a_key_is_replaced_and_an_item_without_its_key_refused() -> None:
    merged = strategic_merge({"args": ["a"]}, {"args": ["b"]}, "V1Container")
    assert merged == {"args": ["b"]}
    with pytest.raises(ApiError, match="merge key: name"):
        strategic_merge({}, {"containers": [{"image": "x"}]}, "V1PodSpec")


@pytest.mark.parametrize(
    ("operation", "result"),
    [
        ({"op": "add", "path": "/list/1", "value": 9}, {"list": [1, 9, 2], "a~/b": 3}),
        ({"op": "add", "path": "/list/-", "value": 9}, {"list": [1, 2, 9], "a~/b": 3}),
        ({"op": "remove", "path": "/list/0"}, {"list": [2], "a~/b": 3}),
        ({"op": "replace", "path": "/a~0~1b", "value": 4}, {"list": [1, 2], "a~/b": 4}),
        ({"op": "copy", "from": "/list/0", "path": "/c"}, {"list": [1, 2], "a~/b": 3, "c": 1}),
        ({"op": "move", "from": "/list", "path": "/l"}, {"l": [1, 2], "a~/b": 3}),
    ],
    ids=lambda case: case.get("op", ""),
)
def test_the_operations_of_json_patch(operation: Any, result: Any) -> None:
    original = {"list": [1, 2], "a~/b": 3}
    assert json_patch(original, [operation]) == result
    assert original == {"list": [1, 2], "a~/b": 3}


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ({"op": "remove", "path": "/none"}, 422),
        ({"op": "replace", "path": "/none", "value": 1}, 422),
        ({"op": "add", "path": "/none/x", "value": 1}, 422),
        ({"op": "add", "path": "/list/9", "value": 1}, 422),
        ({"op": "test", "path": "/list/0", "value": 5}, 422),
        ({"op": "dance", "path": "/list"}, 400),
        ({"op": "add", "path": "list", "value": 1}, 400),
        ({"op": "add", "path": "/list"}, 400),
        ({"op": ["add"], "path": "/list"}, 400),
    ],
)
def test_an_operation_that_cannot_be_done_is_refused(operation: Any, code: int) -> None:
    with pytest.raises(ApiError) as refused:
        json_patch({"list": [1, 2]}, [operation])
    assert refused.value.code == code
