"""``$(NAME)`` in commands, arguments and values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.pods.materials.expansion import expand, missing

KNOWN = {"A": "1", "B": "$(A)", "EMPTY": "", "a-b.c": "odd"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(A)z", "x1y1z"),
        ("$(A)$(EMPTY)$(A)", "11"),
        ("$(a-b.c)", "odd"),
        # what a reference gives is not looked at again
        ("$(B)", "$(A)"),
        # unresolvable references are left unchanged
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$()", "$()"),
        # double $$ are reduced to a single $, which allows for escaping
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$$$$(A)", "$$(A)"),
        ("$$", "$"),
        ("a $$ b", "a $ b"),
        # what is no reference stays as it is
        ("$A", "$A"),
        ("${A}", "${A}"),
        ("$(A", "$(A"),
        ("$", "$"),
        ("A)", "A)"),
        ("$(A$(A)", "$(A$(A)"),
        ("", ""),
    ],
)
def test_references_are_expanded(text: str, expanded: str) -> None:
    assert expand(text, KNOWN) == expanded


def test_what_is_missing_is_named_in_order() -> None:
    assert missing("$(X)/$(A)/$$(Z)/$(Y)", KNOWN) == ["X", "Y"]


@given(st.text(alphabet="$()AXab ", max_size=40))
def test_escaping_every_dollar_gives_the_text_back(text: str) -> None:
    assert expand(text.replace("$", "$$"), KNOWN) == text


@given(st.text().filter(lambda text: "$" not in text))
def test_text_without_dollars_is_never_changed(text: str) -> None:
    assert expand(text, KNOWN) == text


@given(st.text(alphabet="$()AB", max_size=40), st.text(alphabet="$()x", max_size=5))
def test_every_text_is_expanded_without_a_fault(text: str, value: str) -> None:
    expand(text, {"A": value})
