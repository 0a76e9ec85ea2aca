"""Quantities as the API reference describes them."""

from __future__ import annotations

import contextlib
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.pods.resources.quantities import BadQuantity, milli, parse, whole
from edgeagent.pods.resources.quantities import text as as_text

SUFFIXES = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
MOST = 2**63 - 1


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0", 0),
        ("100m", Fraction(1, 10)),
        ("0.1", Fraction(1, 10)),
        (".5", Fraction(1, 2)),
        ("1.", 1),
        ("+5", 5),
        ("-5", -5),
        ("128974848", 128974848),
        ("129e6", 129_000_000),
        ("129M", 129_000_000),
        ("123Mi", 123 * 1024**2),
        ("1e3", 1000),
        ("1E3", 1000),
        ("1E", 10**18),
        ("1Ei", 1024**6),
        ("1e-3", Fraction(1, 1000)),
        ("500n", Fraction(500, 10**9)),
        (2, 2),
        (0.5, Fraction(1, 2)),
    ],
)
def test_a_quantity_is_a_number_with_a_suffix(text: object, amount: Fraction) -> None:
    assert parse(text) == amount


@pytest.mark.parametrize(
    "text",
    ["", "m", "1 Gi", "1K", "1ki", "1mi", "1.2.3", "0x10", "1e", "1ei", "1e999", "1e999999999"],
)
def test_anything_else_is_refused_and_quickly(text: object) -> None:
    with pytest.raises(BadQuantity):
        parse(text)


@pytest.mark.parametrize(
    "text",
    ["9" * 100, "--1", "1Gi\n", "\u0661", None, True, [], {}, float("inf"), float("nan")],
)
def test_what_was_meant_to_harm_is_refused_too(text: object) -> None:
    with pytest.raises(BadQuantity):
        parse(text)


@given(st.integers(0, 10**12), st.integers(0, 10**6), st.sampled_from(SUFFIXES))
def test_a_fraction_is_kept_exactly(integer: int, decimals: int, suffix: str) -> None:
    text = f"{integer}.{decimals:06d}"
    assert parse(text + suffix) == min(Fraction(text) * parse("1" + suffix), MOST)


@given(st.text(max_size=80))
def test_every_text_is_a_quantity_or_refused(text: str) -> None:
    with contextlib.suppress(BadQuantity):
        assert isinstance(parse(text), Fraction)


def test_rounding_is_away_from_zero() -> None:
    assert (whole(parse("1.1")), whole(parse("-1.1")), milli(parse("0.0001"))) == (2, -2, 1)


@pytest.mark.parametrize("text", ["8Ei", "1000E", "9223372036854775808", "1e30"])
def test_nothing_is_more_than_can_be_counted(text: str) -> None:
    assert (parse(text), parse(f"-{text}")) == (MOST, -MOST)
    assert (whole(parse(text) * 3), whole(parse(f"-{text}") * 3)) == (MOST, -MOST)
    assert as_text(parse(text), binary=True) == str(MOST), "and written back as that"
