"""What a pod is granted of the resources that it asks for: laws that hold for any pod."""

from __future__ import annotations

import copy
import json
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from edgeagent.pods.model.facts import PodFacts
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.model.view import Refusal
from edgeagent.pods.rules import resizing
from shared.objects import Json

NODE = NodeFacts("edge-1", allocatable={"cpu": Fraction(2), "memory": Fraction(2**30)})
AMOUNTS = st.fixed_dictionaries(
    {},
    optional={
        "cpu": st.sampled_from(["100m", "1", "1500m", "3"]),
        "memory": st.sampled_from(["16Mi", "512Mi", "2Gi"]),
    },
)


@st.composite
def resources(draw: st.DrawFn) -> Json | None:
    return draw(st.none() | st.fixed_dictionaries({"requests": AMOUNTS, "limits": AMOUNTS}))


@st.composite
def pods(draw: st.DrawFn) -> Json:
    """Always the same containers, as an update leaves them."""

    def container(name: str, **fields: object) -> Json:
        wanted = draw(resources())
        return {"name": name, **({} if wanted is None else {"resources": wanted}), **fields}

    inits = [container("init"), container("sidecar", restartPolicy="Always")]
    mains = [container("one"), container("two", image=draw(st.sampled_from(["app:1", "app:2"])))]
    metadata = {"name": "web", "generation": draw(st.integers(1, 9))}
    return {"metadata": metadata, "spec": {"initContainers": inits, "containers": mains}}


@settings(max_examples=200)
@given(pods(), pods())
def test_what_is_not_granted_is_everything_of_the_new_spec_but_its_resources(
    before: Json, asked: Json
) -> None:
    kept = resizing.with_resources_of(before, asked)
    assert not resizing.differs(before, kept)
    assert resizing.with_resources_of(asked, kept) == asked
    if not resizing.differs(before, asked):
        assert kept == asked


@settings(max_examples=200)
@given(pods(), pods(), st.lists(pods(), max_size=3))
def test_nobody_is_refused_what_he_has_or_less(
    before: Json, asked: Json, others: list[Json]
) -> None:
    assert resizing.refusal(before, before, others, NODE) is None
    less = copy.deepcopy(before)
    for one in (*less["spec"]["containers"], *less["spec"]["initContainers"]):
        one.pop("resources", None)
    assert resizing.refusal(before, less, others, NODE) is None
    refused = resizing.refusal(before, asked, others, NODE)
    if refused is not None and refused.reason == resizing.INFEASIBLE:
        assert resizing.refusal(before, asked, [], NODE) == refused, "not for the sake of others"
    if resizing.refusal(before, asked, [], NODE) is None and refused is not None:
        assert refused.reason.startswith("OutOf"), "for now"


@given(pods(), st.sampled_from(["", "much", "1e99999999999", None, {}, ["1"]]))
def test_what_is_no_amount_is_infeasible(before: Json, amount: object) -> None:
    asked = copy.deepcopy(before)
    asked["spec"]["containers"][0]["resources"] = {"requests": {"cpu": amount}}
    refused = resizing.refusal(before, asked, [], NODE)
    assert refused is not None
    assert refused.reason == resizing.INFEASIBLE


@settings(max_examples=100)
@given(pods(), st.sampled_from([None, "Deferred", "Infeasible"]))
def test_what_was_decided_is_stored_and_told(asked: Json, reason: str | None) -> None:
    refused = None if reason is None else Refusal(reason, "no room")
    facts, event = resizing.decided(PodFacts(pod=asked), asked, refused)
    assert PodFacts.from_json(json.loads(json.dumps(facts.to_json()))) == facts
    assert event.reason == ("ResizeStarted" if reason is None else f"Resize{reason}")
    generation = asked["metadata"]["generation"]
    assert json.loads(event.message.partition(": ")[2])["generation"] == generation
    if facts.resize is None:
        assert facts.resizing == generation
    else:
        assert (facts.resize.generation, facts.resizing) == (generation, 0)
