"""When a token is renewed and when it has expired, on clocks that may be wrong."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.pods.model.view import Moment
from edgeagent.token_life import Held, Token, from_record, to_record
from shared.asking import TokenAnswer
from tests.wire.test_asking import requests

WALL = 1_800_000_000.0
NOW = Moment(WALL, 500.0)
TOKEN = Token.of(TokenAnswer("abc", int(WALL) + 3600, 3600), WALL)


@pytest.mark.parametrize(
    ("life", "renewed_after"), [(600, 480), (3600, 2880), (7 * 86400, 86400)], ids=str
)
def test_a_token_is_renewed_at_eighty_percent_of_its_life_or_after_a_day(
    life: int, renewed_after: int
) -> None:
    held = Held.fresh(replace(TOKEN, life=float(life)), NOW, early=0.0)
    assert held.renew_at == NOW.monotonic + renewed_after
    assert held.expires_at == NOW.monotonic + life
    early = Held.fresh(replace(TOKEN, life=float(life)), NOW, early=1.0)
    assert 0 < held.renew_at - early.renew_at <= 10


def test_after_a_restart_its_age_counts_on() -> None:
    later = Moment(WALL + 1000, 7.0)
    held = Held.revived(TOKEN, later, early=0.0)
    assert (held.renew_at, held.expires_at) == (7.0 + 1880, 7.0 + 2600)
    assert held.stored


@pytest.mark.parametrize("wall", [10.0, WALL - 5000], ids=["never set", "went back"])
def test_with_a_clock_that_cannot_be_right_it_is_renewed_at_once_and_not_expired(
    wall: float,
) -> None:
    held = Held.revived(TOKEN, Moment(wall, 7.0), early=0.5)
    assert held.renew_at <= 7.0
    assert held.expires_at == math.inf


def test_a_token_that_came_before_the_clock_was_set_goes_by_its_end() -> None:
    came_in_1970 = replace(TOKEN, got=20.0)
    held = Held.revived(came_in_1970, Moment(WALL + 1000, 7.0), early=0.0)
    assert held.expires_at == 7.0 + 2600
    over = Held.revived(came_in_1970, Moment(WALL + 5000, 7.0), early=0.0)
    assert over.expires_at < 7.0


@given(requests, st.floats(0, 2**40), st.integers(0, 2**40), st.integers(1, 2**32))
def test_a_record_comes_back(request_: object, got: float, expires: int, life: int) -> None:
    token = Token("abc", got, expires, float(life))
    assert from_record(to_record(request_, token)) == (request_, token)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [{}, {"pod": 7}, {"token": ["secret", "x", 1, 1]}], ids=str)
def test_a_damaged_record_is_refused_without_a_word_of_it(bad: dict[str, object]) -> None:
    request = {"pod": ["a", "b", "c"], "account": "d", "audiences": [], "seconds": 600}
    good = {**request, "token": ["secret", 1.0, 1, 1.0]}
    assert from_record(good)
    with pytest.raises(ValueError, match="not the record") as caught:
        from_record({**good, **bad} if bad else {})
    assert "secret" not in str(caught.value)
