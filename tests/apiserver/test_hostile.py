"""Nonsense from outside: whatever the body, the answer is an object or a proper refusal."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devcluster.apiserver import schema
from devcluster.apiserver.decoding import decode, parse
from devcluster.apiserver.deleting import DeleteOptions
from devcluster.apiserver.housekeeping import create_first_objects
from devcluster.apiserver.objects import Objects, Target
from devcluster.apiserver.patching import PATCH_TYPES, apply
from devcluster.apiserver.protobuf import decode as decode_protobuf
from devcluster.apiserver.resources import NAMESPACES, PODS, RESOURCES, Resource
from devcluster.apiserver.status import ApiError
from devcluster.apiserver.store import Store
from devcluster.apiserver.tables import table
from shared.clock import SystemClock

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda part: (
        st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=5), part, max_size=3)
    ),
    max_leaves=20,
)
_SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "str": st.sampled_from(["", "a", "Always", "x/y", "é", "-1", "2026-01-02T03:04:05Z"]),
    "int": st.integers(-2, 70000),
    "bool": st.booleans(),
    "float": st.floats(allow_nan=False),
    "datetime": st.sampled_from(["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.123+02:00", "now"]),
    "bytes": st.sampled_from(["", "YQ==", "!"]),
    "object": _JSON,
}


@cache
def _of_type(kind: str, depth: int) -> st.SearchStrategy[Any]:
    """Values of a type of the schema, with nulls where an object or a list may be."""
    if element := schema.item_type(kind):
        return st.lists(_of_type(element, depth), max_size=2)
    if element := schema.value_type(kind):
        return st.dictionaries(
            st.sampled_from(["a", "B/c", ""]), _of_type(element, depth), max_size=2
        )
    if not schema.is_model(kind):
        return _SCALARS[kind]
    if depth == 0:
        return st.just({}) | st.none()
    fields = {
        field: _of_type(inner, depth - 1) | st.none()
        for field, inner in schema.fields_of(kind).items()
    }
    return st.lists(st.sampled_from(sorted(fields)), max_size=6, unique=True).flatmap(
        lambda chosen: st.fixed_dictionaries({field: fields[field] for field in chosen})
    )


def _objects() -> Objects:
    objects = Objects(Store(), SystemClock(), random_source=random.Random(1))
    create_first_objects(objects)
    return objects


def _check(resource: Resource, body: Any) -> None:
    """Create, show, update and delete it, or be refused on the way."""
    objects = _objects()
    namespace = "default" if resource.namespaced else ""
    try:
        created = objects.create(Target(resource, namespace, ""), decode(resource, body).obj)
        rows = table(resource.kind, [created], {}, now=0, include="", version="v1")["rows"]
        assert len(rows) == 1
        target = Target(resource, namespace, created["metadata"]["name"])
        objects.update(target, lambda obj: decode(resource, obj).obj)
        objects.delete(target, DeleteOptions())
    except ApiError as error:
        assert 400 <= error.code < 500 or error.code == 500
        assert error.as_json()["message"]


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda row: f"{row.plural}.{row.group}")
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_an_object_that_is_half_right(resource: Resource, data: st.DataObject) -> None:
    body = data.draw(_of_type(resource.model, 4))
    named = {"metadata": {"name": "x"} | ((body or {}).get("metadata") or {})}
    kind = {"kind": resource.kind, "apiVersion": resource.api_version}
    _check(resource, (body or {}) | named | kind)


@given(_JSON)
@settings(deadline=None)
def test_any_json_as_a_pod(body: Any) -> None:
    _check(PODS, body)
    _check(PODS, {"metadata": {"name": "x"}, "spec": body, "status": body})


@given(_JSON, st.sampled_from(PATCH_TYPES))
def test_any_json_as_a_patch(patch: Any, media: str) -> None:
    pod = {"metadata": {"name": "x"}, "spec": {"containers": [{"name": "a", "image": "i"}]}}
    for body in (patch, {"spec": patch}, {"spec": {"containers": patch}}, [patch]):
        try:
            decode(PODS, apply(pod, body, media=media, model="V1Pod"))
        except ApiError as error:
            assert error.code in (400, 422)


@given(st.binary(max_size=200), st.sampled_from(["application/json", "application/yaml"]))
def test_any_bytes_as_a_body(body: bytes, media: str) -> None:
    try:
        parse(body, media)
    except ApiError as error:
        assert error.code == 400


@given(st.binary(max_size=100), st.booleans())
def test_any_bytes_as_protobuf(body: bytes, enveloped: bool) -> None:
    try:
        decode(NAMESPACES, decode_protobuf((b"k8s\x00" if enveloped else b"") + body))
    except ApiError as error:
        assert error.code in (400, 415)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 100_000, b"\xff", b"1e400", b"NaN"])
def test_bodies_made_to_break_a_parser(body: bytes) -> None:
    with pytest.raises(ApiError):
        decode(PODS, parse(body, "application/json"))
