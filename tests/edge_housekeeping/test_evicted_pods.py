"""A pod that is evicted ends as on a kubelet; the deciding has tests of its own."""

from __future__ import annotations

from edgeagent.pods.model.view import Eviction
from tests.edge_pods.world import World, a_container, a_pod
from tests.parts.virtual_time import virtual

SHORT = Eviction("The node was low on resource: memory. ")
OVER = Eviction('Usage of EmptyDir volume "x" exceeds the limit "1Mi". ', disruption=False)


@virtual
async def test_it_is_stopped_for_good_and_says_why() -> None:
    async with World() as world:
        uid = world.apply(a_pod("web", a_container("one"), a_container("two")))
        await world.passes(5)
        assert world.pods is not None
        world.pods.evict(uid, SHORT)
        await world.passes(5)
        status = world.status(uid)
        assert (status["phase"], status["reason"]) == ("Failed", "Evicted")
        assert status["message"] == SHORT.message
        disrupted = world.condition(uid, "DisruptionTarget")
        assert (disrupted["status"], disrupted["reason"]) == ("True", "TerminationByKubelet")
        assert disrupted["message"] == SHORT.message
        assert world.condition(uid, "Ready")["status"] == "False"
        assert world.messages(uid, "Evicted") == [SHORT.message]
        assert world.running() == []
        await world.restart_agent()
        await world.passes(700)
        assert world.running() == [], "not even a new agent starts it again"
        assert world.phase(uid) == "Failed"


@virtual
async def test_a_pod_that_broke_its_own_limit_is_no_disruption() -> None:
    async with World() as world:
        uid = world.apply(a_pod())
        await world.passes(5)
        assert world.pods is not None
        world.pods.evict(uid, OVER)
        await world.passes(5)
        assert world.status(uid)["reason"] == "Evicted"
        kinds = {one["type"] for one in world.status(uid)["conditions"]}
        assert "DisruptionTarget" not in kinds


@virtual
async def test_a_pod_that_is_being_deleted_is_not_evicted_as_well() -> None:
    async with World() as world:
        uid = world.apply(a_pod())
        await world.passes(5)
        world.delete(uid)
        await world.passes(5)
        assert world.pods is not None
        world.pods.evict(uid, SHORT)
        await world.passes(5)
        assert "reason" not in world.status(uid)
        assert world.reports.by_uid[uid].finished


@virtual
async def test_an_eviction_that_was_decided_outlives_the_agent() -> None:
    async with World() as world:
        uid = world.apply(a_pod())
        await world.passes(5)
        assert world.pods is not None
        world.device.latency["stop_container"] = 3600.0
        world.pods.evict(uid, SHORT)
        await world.passes(1)
        assert world.running() == ["main"]
        world.device.latency.clear()
        await world.restart_agent()
        await world.passes(5)
        assert world.status(uid)["reason"] == "Evicted"
        assert world.running() == []
