"""Hypothesis strategies for everything that travels."""

from __future__ import annotations

from hypothesis import strategies as st

from shared import codec
from shared.messages import Entry, Inventory
from shared.objects import NO_NAMESPACE, ObjectKey

names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,10}[a-z0-9])?(\.[a-z0-9]{1,5})?", fullmatch=True)
keys = st.builds(
    ObjectKey,
    st.sampled_from(["Pod", "ConfigMap", "Secret", "Node"]),
    st.one_of(names, st.just(NO_NAMESPACE)),
    names,
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=12,
)
json_objects = st.dictionaries(st.text(max_size=12), json_values, max_size=6)
bodies = json_objects.map(codec.pack)
revisions = st.integers(0, 2**53 - 1)
graces = st.one_of(st.none(), st.integers(0, 86400))
desired = st.dictionaries(keys, st.tuples(bodies, graces), max_size=8)


def inventory_of(revision: int, wanted: dict[ObjectKey, tuple[bytes, int | None]]) -> Inventory:
    entries = {key: Entry(codec.digest(body), grace) for key, (body, grace) in wanted.items()}
    return Inventory(revision, entries)
