"""What is stored of a pod outlives the agent that stored it, in both directions."""

from __future__ import annotations

import json

import pytest

from edgeagent.pods.model.causes import Cause
from edgeagent.pods.model.facts import ContainerFacts, PodFacts


def stored(cause: Cause) -> dict[str, object]:
    facts = PodFacts().with_container("main", ContainerFacts(1, "id", "sandbox", killed=cause))
    record: dict[str, object] = json.loads(json.dumps(facts.to_json()))
    return record


@pytest.mark.parametrize("cause", Cause)
def test_why_a_container_was_killed_is_read_as_it_was_written(cause: Cause) -> None:
    known = PodFacts.from_json(stored(cause)).container("main")
    assert known is not None and known.killed is cause


def test_a_cause_that_only_a_newer_agent_knows_is_none_and_loses_nothing_else() -> None:
    record = json.loads(json.dumps(stored(Cause.HOOK)).replace('"hook"', '"solar flare"'))
    known = PodFacts.from_json(record).container("main")
    assert known is not None and (known.id, known.killed) == ("id", Cause.NONE)
