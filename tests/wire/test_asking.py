"""Asks and answers: round trips, hostile bytes refused at the door, and no token in a text."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import codec
from shared.asking import MAX_TOKEN, TokenAnswer, TokenRequest, requests_of
from shared.errors import WireError
from shared.objects import Json
from tests.wire.strategies import json_objects, names

requests = st.builds(
    TokenRequest,
    namespace=names,
    pod=names,
    uid=st.uuids().map(str),
    service_account=names,
    audiences=st.one_of(st.just(()), st.tuples(st.text(min_size=1, max_size=40))),
    expiration_seconds=st.integers(1, 2**32),
)
answers = st.one_of(
    st.builds(
        TokenAnswer,
        token=st.from_regex(r"[-_.A-Za-z0-9]{1,80}", fullmatch=True),
        expires_at=st.integers(0, 2**40),
        life=st.integers(1, 2**32),
    ),
    st.builds(
        TokenAnswer,
        error=st.text(max_size=80),
        permanent=st.booleans(),
        retry_after=st.integers(0, 86_400),
    ),
)
ASK = {"n": "default", "p": "web", "u": "uid-web", "s": "robot", "a": [], "t": 3607}
ANSWER = {"t": "abc", "x": 1, "l": 3600}
ERROR = {"e": "no", "p": True, "w": 0}


@given(requests)
def test_a_request_comes_back(request: TokenRequest) -> None:
    assert TokenRequest.decode(request.encode()) == request


@given(requests, requests)
def test_a_correlation_names_one_request(one: TokenRequest, other: TokenRequest) -> None:
    assert (one.correlation == other.correlation) == (one == other)


@given(answers)
def test_an_answer_comes_back(answer: TokenAnswer) -> None:
    assert TokenAnswer.decode(answer.encode()) == answer


@pytest.mark.parametrize("kind", [TokenRequest, TokenAnswer])
@given(st.one_of(st.binary(max_size=80), json_objects.map(codec.encode)))
def test_hostile_bytes_are_a_wire_error_or_a_message(kind: Any, payload: bytes) -> None:
    with contextlib.suppress(WireError):
        assert isinstance(kind.decode(payload), kind)


@pytest.mark.parametrize(
    "bad",
    [
        *({"n": "Default"}, {"n": ""}, {"p": "a/b"}, {"p": 7}, {"u": ""}, {"u": "x" * 65}),
        *({"s": "../other"}, {"s": None}, {"a": "api"}, {"a": [""]}, {"a": ["a", "b"]}),
        *({"a": ["x" * 1025]}, {"a": [1]}, {"t": 0}, {"t": -1}, {"t": True}, {"t": 2**33}),
    ],
    ids=str,
)
def test_a_request_with_a_bad_field_is_refused(bad: Json) -> None:
    assert TokenRequest.decode(codec.encode(ASK))
    with pytest.raises(WireError):
        TokenRequest.decode(codec.encode({**ASK, **bad}))


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        *((ANSWER, {"t": ""}), (ANSWER, {"t": "x" * (MAX_TOKEN + 1)}), (ANSWER, {"t": "a\nb"})),
        *((ANSWER, {"t": "ä"}), (ANSWER, {"l": 0}), (ANSWER, {"l": 2**40}), (ANSWER, {"x": "1"})),
        *((ERROR, {"e": "x" * 2000}), (ERROR, {"p": 1}), (ERROR, {"w": -1})),
    ],
    ids=lambda part: str(part)[:30],
)
def test_an_answer_with_a_bad_field_is_refused(good: Json, bad: Json) -> None:
    assert TokenAnswer.decode(codec.encode(good))
    with pytest.raises(WireError):
        TokenAnswer.decode(codec.encode({**good, **bad}))


def test_a_token_is_in_no_text() -> None:
    answer = TokenAnswer("s3cret", 1, 1)
    assert "s3cret" not in f"{answer} {answer!r} {[answer]}"


def test_the_tokens_of_a_pod_are_what_its_volumes_ask_for() -> None:
    token = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}}
    vault = {"serviceAccountToken": {"path": "vault", "audience": "vault"}}
    volumes = [
        {"name": "a", "projected": {"sources": [token, {"configMap": {"name": "ca"}}, vault]}},
        {"name": "b", "emptyDir": {}},
        {"name": "c", "projected": {}},
    ]
    pod = {
        "metadata": {"namespace": "default", "name": "web", "uid": "uid-web"},
        "spec": {"volumes": volumes, "serviceAccountName": "robot"},
    }
    assert list(requests_of(pod)) == [
        TokenRequest("default", "web", "uid-web", "robot", (), 3607),
        TokenRequest("default", "web", "uid-web", "robot", ("vault",), 3600),
    ]
