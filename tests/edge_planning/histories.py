"""Random histories of a pod: what happens to it, drawn so that troubles meet each other."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.edge_planning.happenings import DEATH, LIFE, Happening

_PROGRESS = (
    ("an_operation_succeeds",) * 6 + ("every_operation_succeeds",) * 4 + ("time_passes",) * 3
)


@st.composite
def lives(draw: st.DrawFn, *chosen: str, longest: int = 30) -> list[Happening]:
    """While the pod is wanted. A few kinds of trouble at a time, so that they meet each other."""
    kinds = [*chosen] or draw(st.lists(st.sampled_from([*LIFE]), min_size=4, max_size=4))
    return _some(draw, [*_PROGRESS, *(2 * kinds)], longest)


@st.composite
def deaths(draw: st.DrawFn, longest: int = 12) -> list[Happening]:
    """Whatever can happen, more often than not about its end."""
    kinds = draw(st.lists(st.sampled_from([*LIFE]), min_size=3, max_size=3))
    return _some(draw, [*_PROGRESS, *kinds, *DEATH, *DEATH], longest)


def _some(draw: st.DrawFn, names: list[str], longest: int) -> list[Happening]:
    """As often long as short: left alone, lists are mostly short."""
    count = draw(st.integers(0, longest))
    one = st.tuples(st.sampled_from(names), st.integers(0, 29))
    return draw(st.lists(one, min_size=count, max_size=count))
