"""Random histories of one pod: every plan in them is put before the judge (``rules.py``)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.objects import Json
from tests.edge_planning import properties
from tests.edge_planning.happenings import Happening
from tests.edge_planning.histories import deaths, lives
from tests.edge_planning.random_pods import pods

ADMITTED = st.integers(0, 9).map(bool)


@settings(max_examples=150, deadline=None)
@given(pods(), lives(), deaths(), ADMITTED)
def test_whatever_happens_no_plan_breaks_a_rule_and_an_unwanted_pod_ends(
    pod: Json, life: list[Happening], death: list[Happening], admitted: bool
) -> None:
    properties.an_unwanted_pod_ends(pod, life, death, admitted=admitted)


@settings(max_examples=150, deadline=None)
@given(pods(), lives(), ADMITTED)
def test_whatever_happened_a_wanted_pod_comes_to_rest_with_all_running_that_should(
    pod: Json, life: list[Happening], admitted: bool
) -> None:
    properties.a_wanted_pod_comes_to_rest_with_all_running_that_should(
        pod, life, [], admitted=admitted
    )


@settings(max_examples=100, deadline=None)
@given(pods(), lives(), deaths(), ADMITTED)
def test_whatever_happened_a_pod_that_is_wanted_after_all_comes_to_rest(
    pod: Json, life: list[Happening], death: list[Happening], admitted: bool
) -> None:
    properties.a_pod_that_is_wanted_after_all_comes_to_rest(pod, life, death, admitted=admitted)


@settings(max_examples=100, deadline=None)
@given(pods(), lives(), st.sampled_from([None, 0, 5, 60]))
def test_whatever_happened_a_deleted_pod_ends_and_says_so(
    pod: Json, life: list[Happening], grace: int | None
) -> None:
    properties.a_deleted_pod_ends_and_says_so(pod, life, [], grace=grace)
